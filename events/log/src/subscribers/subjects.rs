//! What a subscriber may ask for: events of one log, by class, company and type.

use kisum_events::Log;
use uuid::Uuid;

/// Why subjects are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubjectsError {
    /// There are none.
    #[error("say at least one subject")]
    None,
    /// Not a log's events.
    #[error(
        "{0} is no subject of a log's events: kisum.{{auth|core}}.v1.{{access|info}}.{{company id|_|*}}.{{event type|>}}, \
         or kisum.{{auth|core}}.v1.{{access|info}}.>"
    )]
    Foreign(String),
    /// Of both logs.
    #[error("subjects of both logs: a consumer reads one, so add one subscriber for each")]
    BothLogs,
}

/// Checked subjects of one log, in order and each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriberSubjects {
    log: Log,
    subjects: Vec<String>,
}

impl SubscriberSubjects {
    /// Checks them.
    ///
    /// # Errors
    /// [`SubjectsError`].
    pub fn parse(texts: &[String]) -> Result<Self, SubjectsError> {
        let mut log = None;
        for text in texts {
            let of = log_of(text).ok_or_else(|| SubjectsError::Foreign(text.clone()))?;
            if *log.get_or_insert(of) != of {
                return Err(SubjectsError::BothLogs);
            }
        }
        let mut subjects = texts.to_vec();
        subjects.sort();
        subjects.dedup();
        Ok(Self { log: log.ok_or(SubjectsError::None)?, subjects })
    }

    /// Everything that a log's relay publishes.
    pub(super) fn everything(log: Log) -> Self {
        Self { log, subjects: ["access", "info"].map(|class| format!("kisum.{log}.v1.{class}.>")).to_vec() }
    }

    /// The log.
    pub const fn log(&self) -> Log {
        self.log
    }

    /// The subjects.
    pub fn all(&self) -> &[String] {
        &self.subjects
    }

    /// What a consumer is to filter by; nothing when it is to get everything that there is.
    pub(super) fn filter(&self) -> &[String] {
        if *self == Self::everything(self.log) { &[] } else { &self.subjects }
    }
}

/// The log whose events the subject selects.
fn log_of(subject: &str) -> Option<Log> {
    let rest = subject.strip_prefix("kisum.")?;
    let (log, rest) = rest.split_once(".v1.")?;
    let log = [Log::Auth, Log::Core].into_iter().find(|known| known.name() == log)?;
    let rest = rest.strip_prefix("access.").or_else(|| rest.strip_prefix("info."))?;
    let is_fine = rest == ">"
        || rest.split_once('.').is_some_and(|(company, event_type)| is_company(company) && is_type(event_type));
    is_fine.then_some(log)
}

fn is_company(token: &str) -> bool {
    // Another spelling of the same id would select nothing, for ever and without a word.
    matches!(token, "_" | "*") || Uuid::try_parse(token).is_ok_and(|id| id.hyphenated().to_string() == token)
}

fn is_type(text: &str) -> bool {
    let word =
        |token: &str| token == "*" || (!token.is_empty() && token.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
    match text.rsplit_once('.') {
        None => text == ">" || word(text),
        Some((before, last)) => before.split('.').all(word) && (last == ">" || word(last)),
    }
}

#[cfg(test)]
mod tests {
    use super::{SubjectsError, SubscriberSubjects};
    use kisum_events::Log;

    fn parse(subjects: &[&str]) -> Result<SubscriberSubjects, SubjectsError> {
        SubscriberSubjects::parse(&subjects.iter().map(|&subject| subject.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_class_a_company_and_a_type_can_be_selected() {
        let company = "01a203ee-9522-7680-a371-a989163926d6";
        for subject in [
            "kisum.core.v1.access.>".to_owned(),
            format!("kisum.core.v1.access.{company}.entitlement.changed"),
            format!("kisum.core.v1.info.{company}.>"),
            "kisum.core.v1.access.*.entitlement.changed".to_owned(),
            "kisum.core.v1.access.*.entitlement.*".to_owned(),
            "kisum.core.v1.info._.module.defined".to_owned(),
        ] {
            assert_eq!(parse(&[&subject]).map(|subjects| subjects.log()), Ok(Log::Core), "{subject}");
        }
    }

    #[test]
    fn nothing_but_the_events_of_a_log_can_be_selected() {
        for subject in [
            "",
            ">",
            "kisum.>",
            "kisum.*.v1.access.>",
            "kisum.core.v1.>",
            "kisum.core.v1.*.>",
            "kisum.core.v1.head",
            "kisum.core.v1.access",
            "kisum.core.v1.access.",
            "kisum.core.v1.access.*",
            "kisum.core.v1.access.acme-live.entitlement.changed",
            "kisum.core.v1.access.01A203EE-9522-7680-A371-A989163926D6.entitlement.changed",
            "kisum.core.v1.access.*.>.changed",
            "kisum.core.v1.access.*..changed",
            "kisum.core.v1.access.*.entitlement changed",
            "kisum.core.v2.access.>",
            "kisum.retired.core.1.>",
            "$JS.API.>",
            "_INBOX.>",
        ] {
            assert_eq!(parse(&[subject]), Err(SubjectsError::Foreign(subject.to_owned())));
        }
        assert_eq!(parse(&[]), Err(SubjectsError::None));
        assert_eq!(parse(&["kisum.core.v1.access.>", "kisum.auth.v1.access.>"]), Err(SubjectsError::BothLogs));
    }

    #[test]
    fn everything_needs_no_filter() {
        let both = parse(&["kisum.auth.v1.info.>", "kisum.auth.v1.access.>", "kisum.auth.v1.info.>"]);
        assert_eq!(both.as_ref().map(SubscriberSubjects::filter), Ok(&[] as &[String]));
        let one = parse(&["kisum.auth.v1.access.>"]);
        assert_eq!(one.as_ref().map(|one| one.filter().len()), Ok(1));
    }
}
