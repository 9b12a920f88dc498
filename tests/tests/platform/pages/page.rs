//! A page as far as it can be run: its `sh` blocks, the requests in them, and the answers that it shows.

use super::answer;
use serde_json::Value;

/// What can be run.
pub(crate) struct Page {
    pub(crate) blocks: Vec<Block>,
}

/// A block that is run.
pub(crate) struct Block {
    /// The line of its fence.
    pub(crate) line: usize,
    pub(crate) text: String,
    /// Each request that can be seen in it: its line, and what it is to be answered.
    pub(crate) requests: Vec<(usize, Expected)>,
    /// What the block prints last: the line of the page, and the answer.
    pub(crate) answer: Option<(usize, Value)>,
}

/// What a request is to be answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Success,
    /// Status, code, reason.
    Words(String),
}

/// Commands that make one request each; all but the first are functions of the pages.
const REQUESTS: [&str; 3] = ["curl", "ask", "sign_in"];

impl Page {
    /// Reads a page.
    ///
    /// # Errors
    /// Line and fault: JSON that cannot be read, or that nothing verifies.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut lines = (1..).zip(text.lines());
        while let Some((line, fence)) = lines.next() {
            let Some(language) = fence.strip_prefix("```") else { continue };
            let content: Vec<_> = lines.by_ref().take_while(|(_, line)| *line != "```").collect();
            let text = content.iter().map(|(_, line)| format!("{line}\n")).collect::<String>();
            match language {
                "sh" => blocks.push(Block { line, text, requests: requests(&content), answer: None }),
                "json" => {
                    let expected = answer::pattern(&text).map_err(|error| format!("{line}: {error}"))?;
                    let block = blocks.last_mut().filter(|block| block.answer.is_none());
                    let block = block.ok_or_else(|| format!("{line}: nothing prints this answer"))?;
                    block.answer = Some((line + 1, expected));
                }
                "rust" | "jsonc" | "console" | "" => {}
                other => return Err(format!("{line}: is {other} to be run? say sh or console")),
            }
        }
        Ok(Self { blocks })
    }
}

/// The requests of a block: one a command, outside functions, lines that go on taken together.
fn requests(content: &[(usize, &str)]) -> Vec<(usize, Expected)> {
    let mut found = Vec::new();
    let mut is_in_function = false;
    let mut command: Option<(usize, String)> = None;
    for (line, text) in content {
        if is_in_function || text.contains("() {") {
            is_in_function = *text != "}";
            continue;
        }
        let (_, whole) = command.get_or_insert_with(|| (*line, String::new()));
        whole.push_str(text.trim_end_matches('\\'));
        if text.ends_with('\\') {
            continue;
        }
        if let Some((line, whole)) = command.take()
            && is_request(&whole)
        {
            found.push((line, expected(&whole)));
        }
    }
    found
}

fn is_request(command: &str) -> bool {
    let starts = ["", "$("].into_iter().flat_map(|before| REQUESTS.map(|name| format!("{before}{name} ")));
    starts
        .into_iter()
        .any(|start| if start.starts_with('$') { command.contains(&start) } else { command.starts_with(&start) })
}

/// `… # 403 forbidden missing_permission: and why`.
fn expected(command: &str) -> Expected {
    let comment = command.rsplit_once(" # ").map(|(_, comment)| comment.split(':').next().unwrap_or_default().trim());
    let is_status =
        |comment: &&str| comment.split(' ').next().is_some_and(|word| word.len() == 3 && word.parse::<u16>().is_ok());
    comment.filter(is_status).map_or(Expected::Success, |words| Expected::Words(words.to_owned()))
}

#[test]
fn requests_are_seen_over_lines_and_not_in_functions() {
    let text = "```sh\nask() {\n  curl -s $1\n}\nA=$(ask x | jq .)\ncurl -s y \\\n  -d '{}'   # 403 forbidden x: why\nkisum list\n```\n";
    let page = Page::read(text).unwrap();
    let words = Expected::Words("403 forbidden x".to_owned());
    assert_eq!(page.blocks[0].requests, [(5, Expected::Success), (6, words)]);
}

#[test]
fn an_answer_that_nothing_verifies_is_refused() {
    assert!(Page::read("```json\n{}\n```\n").is_err());
    assert!(Page::read("```sh\ntrue\n```\n```json\n{}\n```\n```json\n{}\n```\n").is_err());
    assert!(Page::read("```bash\ntrue\n```\n").is_err());
    assert!(Page::read("```sh\ntrue\n```\n```json\n{\"a\":}\n```\n").is_err());
}
