//! Answers as they are compared.

use super::people::{COMPANY, Signed};
use crate::platform::{Answer, Ask, Platform};
use anyhow::Result;
use serde_json::Value;

/// Finance's route.
pub(super) const BILLS: &str = "/api/bills";

/// The Finance request that most checks are about.
pub(super) async fn bills(platform: &Platform, person: &Signed, from: Option<&str>) -> Result<Answer> {
    let ask = Ask::get(BILLS).company(COMPANY).from_position(from);
    platform.public(&platform.addresses().finance, Some(&person.token), ask).await
}

/// What a refusal is told by: the status, and the reason or, where there is none, the code.
pub(super) fn refusal(answer: &Answer) -> (u16, &str) {
    (answer.status, if answer.reason().is_empty() { answer.code() } else { answer.reason() })
}

/// An answer as text, without what may differ between two answers that say the same: when it was generated.
pub fn comparable(answer: &Answer) -> String {
    let mut body = answer.body.clone();
    drop_moments(&mut body);
    format!("{} {} {body}", answer.asked, answer.status)
}

fn drop_moments(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("generatedAt");
            fields.remove("asOf");
            fields.values_mut().for_each(drop_moments);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_moments),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, comparable, refusal};
    use serde_json::json;

    fn answer(body: serde_json::Value) -> Answer {
        Answer { asked: "GET /".to_owned(), status: 403, body, position: None }
    }

    #[test]
    fn answers_that_differ_only_in_when_they_were_generated_are_the_same() {
        let at = |time| answer(json!({ "data": { "meta": { "generatedAt": time, "accessVersion": 3 } } }));
        assert_eq!(comparable(&at("1")), comparable(&at("2")));
        assert_ne!(comparable(&at("1")), comparable(&answer(json!({ "data": { "meta": { "accessVersion": 4 } } }))));
    }

    #[test]
    fn a_refusal_is_told_by_its_reason_or_else_its_code() {
        let problem = |error| answer(json!({ "error": error }));
        assert_eq!(refusal(&problem(json!({ "code": "forbidden", "reason": "suspended" }))), (403, "suspended"));
        assert_eq!(refusal(&problem(json!({ "code": "session_revoked" }))), (403, "session_revoked"));
    }
}
