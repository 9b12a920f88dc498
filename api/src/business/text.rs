//! What people type: texts, trimmed, of a bounded length and without control characters; and spans of time.

use crate::shared::problem::Problem;
use kisum_events::Timestamp;
use serde::Serialize;

/// Checks a text of `field`; the length counts characters, as the database's checks do.
pub(super) fn checked(field: &str, text: &str, chars_max: usize) -> Result<String, Problem> {
    let text = text.trim();
    let length = text.chars().count();
    if !(1..=chars_max).contains(&length) || text.chars().any(char::is_control) {
        return Err(Problem::validation(format!("The field {field} is not a line of 1 to {chars_max} characters.")));
    }
    Ok(text.to_owned())
}

/// A span of time that a list is filtered by, open where no end is given.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Span {
    /// Its first instant.
    pub(super) from: Option<Timestamp>,
    /// The first instant behind it.
    pub(super) before: Option<Timestamp>,
}

/// Checks a span.
///
/// # Errors
/// 422 for one that ends before it starts.
pub(super) fn span(from: Option<Timestamp>, before: Option<Timestamp>) -> Result<Span, Problem> {
    match (from, before) {
        (Some(start), Some(end)) if start >= end => {
            Err(Problem::unprocessable("The span of time ends before it starts."))
        }
        _ => Ok(Span { from, before }),
    }
}

#[cfg(test)]
mod tests {
    use super::{checked, span};
    use kisum_events::Timestamp;

    #[test]
    fn a_span_has_a_start_before_its_end() {
        let at = |micros| Some(Timestamp::from_micros(micros));
        assert!(span(at(1), at(2)).is_ok() && span(at(2), None).is_ok() && span(None, None).is_ok());
        assert_eq!(span(at(2), at(2)).map(|_| ()).map_err(|problem| problem.status.as_u16()), Err(422));
    }

    #[test]
    fn a_text_is_one_line_of_a_bounded_length() {
        assert_eq!(checked("title", "  Réunion  ", 7).as_deref().ok(), Some("Réunion"));
        for bad in ["", "   ", "a\nb", "a\u{0}b", "too long!"] {
            assert!(checked("title", bad, 7).is_err(), "{bad}");
        }
    }
}
