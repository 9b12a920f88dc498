//! The pages of `docs/api/` and the README say what is true: their `sh` blocks are run in order against a demo, and what
//! comes back is compared with what the page says.
//!
//! A comment `# 403 forbidden missing_permission` behind a request is its status, code and reason; without one it
//! succeeds. A `json` block is what the last request before it answers: `…` in a text stands for any characters, alone
//! for any value, at the end of a list or an object for whatever else is there. Blocks for reading alone are `console`.

mod answer;
mod page;

use kisum::local::{Stack, env_file, stack::binary_beside_this};
use kisum_tests::demo::Demo;
use page::{Block, Expected, Page};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};
use tokio::process::Command;

const PAGES: [&str; 5] =
    ["README.md", "docs/api/browser.md", "docs/api/backend.md", "docs/api/subscriber.md", "docs/api/errors.md"];

/// Notes each request that a page makes: its answer's head and body, by number.
const PRELUDE: &str = r#"
set -eo pipefail
printf 0 >"$NOTES/count"
curl() {
  local number=$(($(<"$NOTES/count") + 1))
  printf %s "$number" >"$NOTES/count"
  command curl --no-progress-meter -D "$NOTES/$number.head" "$@" | tee "$NOTES/$number.body"
}
"#;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| panic!("the crate has a parent")).to_owned()
}

/// An answer that a page's request got.
struct Answered {
    status: u16,
    body: Value,
}

impl Answered {
    fn read(notes: &Path, number: usize) -> Self {
        let text = |kind: &str| fs::read_to_string(notes.join(format!("{number}.{kind}"))).unwrap_or_default();
        let head = text("head");
        let status = head.lines().rfind(|line| line.starts_with("HTTP/")).and_then(|line| line.split(' ').nth(1));
        let status = status.and_then(|status| status.parse().ok()).unwrap_or(0);
        Self { status, body: serde_json::from_str(&text("body")).unwrap_or(Value::Null) }
    }

    /// Status, code and reason.
    fn words(&self) -> String {
        let mut words = vec![self.status.to_string()];
        let error = |name: &str| self.body["error"][name].as_str().map(str::to_owned);
        words.extend([error("code"), error("reason")].into_iter().flatten());
        words.join(" ")
    }
}

/// What a page got wrong.
async fn faults(stack: &Stack, name: &str, page: &Page) -> Vec<String> {
    let home = stack.layout().root().join("pages").join(name.replace('/', "-"));
    let notes = home.join("notes");
    let made = fs::create_dir_all(&notes).and_then(|()| symlink(stack.layout().root(), home.join(".kisum")));
    made.unwrap_or_else(|error| panic!("{}: {error}", home.display()));
    let mut script = PRELUDE.to_owned();
    for (index, block) in page.blocks.iter().enumerate() {
        let Block { text, .. } = block;
        script.push_str(&format!(
            "{text}\ncp \"$NOTES/count\" \"$NOTES/block-{index}\"\nprintf '\\n' >&2\nprintf '\\n'\nexec >\"$NOTES/out-{}\"\n",
            index + 1
        ));
    }
    let script = script.replacen("set -eo pipefail", "set -eo pipefail\nexec >\"$NOTES/out-0\"", 1);
    let kisum = binary_beside_this().unwrap_or_else(|failure| panic!("{failure}"));
    let path = std::env::join_paths(
        kisum.parent().map(Path::to_owned).into_iter().chain(std::env::split_paths(&search_path())),
    );
    let mut command = Command::new("bash");
    command.arg("-c").arg(&script).current_dir(&home).env_clear().env("NOTES", &notes);
    command.env("PATH", path.unwrap_or_else(|error| panic!("{error}"))).env("HOME", &home);
    let output = command.output().await.unwrap_or_else(|error| panic!("bash: {error}"));
    if !output.status.success() {
        let done =
            page.blocks.iter().enumerate().take_while(|(index, _)| notes.join(format!("block-{index}")).exists());
        let line = page.blocks.get(done.count()).map_or(0, |block| block.line);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return vec![format!("{name}:{line}: a command of this block failed: {}", said.trim())];
    }
    let mut faults = Vec::new();
    let mut before = 0;
    for (index, block) in page.blocks.iter().enumerate() {
        let count = fs::read_to_string(notes.join(format!("block-{index}"))).unwrap_or_default();
        let until: usize = count.trim().parse().unwrap_or(0);
        if until - before != block.requests.len() {
            let (made, seen) = (until - before, block.requests.len());
            faults.push(format!("{name}:{}: {made} requests were made, {seen} can be seen", block.line));
        }
        for (number, (line, expected)) in (before + 1..=until).zip(&block.requests) {
            let answered = Answered::read(&notes, number);
            let is_right = match expected {
                Expected::Success => (200..300).contains(&answered.status),
                Expected::Words(words) => answered.words() == *words,
            };
            if !is_right {
                faults.push(format!("{name}:{line}: answered {}, not {expected:?}", answered.words()));
            }
        }
        if let Some((line, expected)) = &block.answer {
            let printed = fs::read_to_string(notes.join(format!("out-{index}"))).unwrap_or_default();
            match answer::last(&printed) {
                Some(found) => faults.extend(
                    answer::difference(expected, &found)
                        .map(|difference| format!("{name}:{line}: {difference} in {found}")),
                ),
                None => faults.push(format!("{name}:{line}: the block prints no JSON: {printed}")),
            }
        }
        before = until;
    }
    faults
}

#[expect(clippy::disallowed_methods, reason = "pages run programs that stand in PATH")]
fn search_path() -> String {
    std::env::var("PATH").unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_the_pages_does_what_the_page_says() {
    let pages: Vec<_> = PAGES
        .iter()
        .map(|name| {
            let text = fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
            (*name, Page::read(&text).unwrap_or_else(|fault| panic!("{name}:{fault}")))
        })
        .collect();
    let requests: usize = pages.iter().flat_map(|(_, page)| &page.blocks).map(|block| block.requests.len()).sum();
    assert!(requests > 40, "only {requests} requests were found in the pages");
    let demo = Demo::start().await;
    env_file::write(&demo.stack.ground()).unwrap_or_else(|failure| panic!("{failure}"));
    let mut found = Vec::new();
    for (name, page) in &pages {
        found.extend(faults(&demo.stack, name, page).await);
    }
    demo.stack.stop().await;
    assert!(found.is_empty(), "the pages are wrong:\n{}", found.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_wrong_is_found_out() {
    let text = "```sh\nsource .kisum/env\ncurl -s $AUTH_URL/health\n```\n\n```json\n\
                {\"success\":true,\"data\":{\"status\":\"dead\"}}\n```\n\n```sh\n\
                curl -s $AUTH_URL/auth/me   # 403 forbidden\ncurl -s $AUTH_URL/nowhere\n```\n";
    let stack = kisum_tests::servers::start(&[kisum::local::Part::Auth]).await;
    env_file::write(&stack.ground()).unwrap_or_else(|failure| panic!("{failure}"));
    let page = Page::read(text).unwrap_or_else(|fault| panic!("{fault}"));
    let found = faults(&stack, "wrong.md", &page).await;
    let broken = Page::read("```sh\nfalse\n```\n").unwrap_or_else(|fault| panic!("{fault}"));
    let broken = faults(&stack, "broken.md", &broken).await;
    stack.stop().await;
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].starts_with("wrong.md:7: data.status is \"alive\", not \"dead\""), "{found:?}");
    assert!(found[1].starts_with("wrong.md:11: answered 401 unauthorized, not"), "{found:?}");
    assert!(found[2].starts_with("wrong.md:12: answered 404 not_found, not Success"), "{found:?}");
    assert!(broken[0].starts_with("broken.md:1: a command of this block failed"), "{broken:?}");
}
