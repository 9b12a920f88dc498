//! Texts that people type: trimmed, of a bounded length, without control characters.

use crate::shared::problem::Problem;

/// Checks a text of `field`; the length counts characters, as the database's checks do.
pub(super) fn checked(field: &str, text: &str, chars_max: usize) -> Result<String, Problem> {
    let text = text.trim();
    let length = text.chars().count();
    if !(1..=chars_max).contains(&length) || text.chars().any(char::is_control) {
        return Err(Problem::validation(format!("The field {field} is not a line of 1 to {chars_max} characters.")));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::checked;

    #[test]
    fn a_text_is_one_line_of_a_bounded_length() {
        assert_eq!(checked("title", "  Réunion  ", 7).as_deref().ok(), Some("Réunion"));
        for bad in ["", "   ", "a\nb", "a\u{0}b", "too long!"] {
            assert!(checked("title", bad, 7).is_err(), "{bad}");
        }
    }
}
