//! An answer as a page shows it, with `…` for what differs each time, and whether another is like it.

use serde_json::{Deserializer, Value};

/// What a bare `…` is read as; no answer holds it.
const ANY: &str = "\u{0}any";

/// Reads what a page shows: JSON in which `…` may stand for a value, the rest of a list, or the rest of an object.
///
/// # Errors
/// JSON's own.
pub(crate) fn pattern(text: &str) -> Result<Value, serde_json::Error> {
    let mut json = String::new();
    let mut is_in_text = false;
    let mut is_escaped = false;
    let mut open = Vec::new();
    for character in text.chars() {
        match character {
            '"' if !is_escaped => is_in_text = !is_in_text,
            '{' | '[' if !is_in_text => open.push(character),
            '}' | ']' if !is_in_text => drop(open.pop()),
            _ => {}
        }
        is_escaped = character == '\\' && !is_escaped;
        if character != '…' || is_in_text {
            json.push(character);
            continue;
        }
        let any = serde_json::to_string(ANY)?;
        let is_member = open.last() == Some(&'{') && !json.trim_end().ends_with(':');
        json.push_str(&if is_member { format!("{any}:{any}") } else { any });
    }
    serde_json::from_str(&json)
}

/// The last JSON value in what a block has printed.
pub(crate) fn last(printed: &str) -> Option<Value> {
    // Answers follow each other without a line between them, and other commands print words before them.
    let starts = printed.char_indices().filter(|(_, character)| matches!(character, '{' | '[')).map(|(at, _)| at);
    let values = starts.filter_map(|at| {
        let all: Result<Vec<Value>, _> = Deserializer::from_str(printed.get(at..)?).into_iter().collect();
        all.ok().and_then(|mut values| values.pop())
    });
    values.into_iter().next()
}

/// Where an answer is not like the pattern.
pub(crate) fn difference(pattern: &Value, found: &Value) -> Option<String> {
    differs("", pattern, found)
}

fn differs(at: &str, pattern: &Value, found: &Value) -> Option<String> {
    let place = || if at.is_empty() { "the answer".to_owned() } else { at.to_owned() };
    let other = || Some(format!("{} is {found}, not {}", place(), pattern.to_string().replace("\\u0000any", "…")));
    match (pattern, found) {
        (Value::String(text), _) if text == ANY => None,
        (Value::String(text), Value::String(found)) => {
            if is_like(text, found) {
                None
            } else {
                other()
            }
        }
        (Value::Array(wanted), Value::Array(found)) => {
            let (wanted, is_open) = match wanted.split_last() {
                Some((last, rest)) if last == ANY => (rest, true),
                _ => (wanted.as_slice(), false),
            };
            if found.len() < wanted.len() || (!is_open && found.len() > wanted.len()) {
                return Some(format!("{} has {} items, not {}", place(), found.len(), wanted.len()));
            }
            (0..)
                .zip(wanted)
                .zip(found)
                .find_map(|((index, wanted), found)| differs(&format!("{at}[{index}]"), wanted, found))
        }
        (Value::Object(wanted), Value::Object(found)) => {
            let name = |key: &str| if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
            let is_open = wanted.contains_key(ANY);
            if let Some(key) = found.keys().find(|key| !is_open && !wanted.contains_key(*key)) {
                return Some(format!("{} is not on the page", name(key)));
            }
            wanted.iter().filter(|(key, _)| *key != ANY).find_map(|(key, wanted)| match found.get(key) {
                Some(found) => differs(&name(key), wanted, found),
                None => Some(format!("{} is missing", name(key))),
            })
        }
        (pattern, found) if pattern == found => None,
        _ => other(),
    }
}

/// Whether a text is one in which each `…` stands for any characters.
fn is_like(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some((_, behind)) = rest.split_once(part) else { return false };
        rest = behind;
    }
    false
}

#[test]
fn what_stands_for_anything_and_what_does_not() {
    use serde_json::json;
    let difference = |page: &str, found: Value| difference(&pattern(page).unwrap(), &found);
    assert_eq!(difference(r#"{"a":…,"b":"x…z","c":[1,…],…}"#, json!({"a":[],"b":"xyz","c":[1,2,3],"d":0})), None);
    assert_eq!(difference(r#"{"a":{…},"b":[…],"c":"…"}"#, json!({"a":{"x":1},"b":[],"c":"any"})), None);
    for (page, found, says) in [
        (r#"{"a":1}"#, json!({"a":2}), "a is 2, not 1"),
        (r#"{"a":1}"#, json!({"a":1,"b":1}), "b is not on the page"),
        (r#"{"a":1,"b":…}"#, json!({"a":1}), "b is missing"),
        (r#"{"a":[1]}"#, json!({"a":[1,2]}), "a has 2 items, not 1"),
        (r#"{"a":[{"b":"x…"}]}"#, json!({"a":[{"b":"yx"}]}), r#"a[0].b is "yx", not "x…""#),
        (r#"{"a":"…"}"#, json!({"a":1}), r#"a is 1, not "…""#),
    ] {
        assert_eq!(difference(page, found).as_deref(), Some(says), "{page}");
    }
}

#[test]
fn the_last_answer_is_found_behind_words_and_other_answers() {
    assert_eq!(last("billing gets x\n{\"a\":1}{\"b\":2}\n"), Some(serde_json::json!({"b":2})));
    assert_eq!(last("nobody subscribes\n"), None);
}
