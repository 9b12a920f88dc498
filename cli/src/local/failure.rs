//! A failure of the local machine, as one line: what happened, and what to do about it.

use std::{fmt, io};

/// What happened and what the reader should do; printed as one line, without a chain of causes behind it.
#[derive(Debug)]
pub struct Failure {
    what: String,
    advice: String,
}

impl Failure {
    /// A failure and the way out of it. Neither ends with a full stop.
    pub fn new(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what: what.into(), advice: advice.into() }
    }

    /// A failure to read, write or run `subject`; a full disk and a lack of rights get advice of their own.
    pub fn io(doing: impl fmt::Display, error: &io::Error) -> Self {
        let advice = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "the disk is full: free some space (`./dev reset` drops this project's own data) and try again"
            }
            io::ErrorKind::PermissionDenied => {
                "run it as the user who owns the project folder, or give that user the rights"
            }
            io::ErrorKind::NotFound => "run `./dev up`, which installs and creates what is missing",
            _ => "try again; if it stays, `./dev reset` starts afresh",
        };
        Self::new(format!("{doing}: {error}"), advice)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", one_line(&self.what), one_line(&self.advice))
    }
}

impl std::error::Error for Failure {}

/// An error and its causes as one text. Some libraries repeat a cause in their own message; it is said once.
pub fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

/// Joins lines, so that a failure stays greppable.
fn one_line(text: &str) -> String {
    text.split('\n').map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::{Failure, with_causes};
    use std::io;

    #[derive(Debug, thiserror::Error)]
    #[error("the disk said: {0}")]
    struct Wordy(#[from] io::Error);

    #[test]
    fn a_cause_that_is_quoted_already_is_not_said_again() {
        let error = Wordy(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(with_causes(&error), "the disk said: no storage space");
    }

    #[test]
    fn a_failure_is_one_line_whatever_it_quotes() {
        let failure = Failure::new("nats stopped:\n  port in use\n", "free it");
        assert_eq!(failure.to_string(), "nats stopped: | port in use; free it");
    }

    #[test]
    fn a_full_disk_is_named_as_one() {
        let failure = Failure::io("writing x", &io::Error::from(io::ErrorKind::StorageFull));
        assert!(failure.to_string().contains("the disk is full"), "{failure}");
    }
}
