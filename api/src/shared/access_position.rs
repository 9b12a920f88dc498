//! `X-Access-Position`: what a command answers and a later request may carry back (`consistency.md`, *Read your own
//! write*).
//!
//! It owns the text form. It refuses to know how a reader waits for a position.

use http::HeaderName;
use kisum_events::{Cursor, Log};
use kisum_log::Receipt;
use std::{fmt, str::FromStr};

/// The header's name.
pub const X_ACCESS_POSITION: HeaderName = HeaderName::from_static("x-access-position");

/// `{log}.{epoch}.{position}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessPosition {
    /// The log that was written.
    pub log: Log,
    /// Where.
    pub cursor: Cursor,
}

impl From<&Receipt> for AccessPosition {
    fn from(receipt: &Receipt) -> Self {
        Self { log: receipt.log, cursor: Cursor { epoch: receipt.epoch, position: receipt.last } }
    }
}

impl fmt::Display for AccessPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.log, self.cursor.epoch, self.cursor.position)
    }
}

/// The text is not `{log}.{epoch}.{position}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an access position is {{log}}.{{epoch}}.{{position}}")]
pub struct InvalidAccessPosition;

impl FromStr for AccessPosition {
    type Err = InvalidAccessPosition;
    fn from_str(text: &str) -> Result<Self, InvalidAccessPosition> {
        let mut parts = text.split('.');
        let (Some(log), Some(epoch), Some(position), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidAccessPosition);
        };
        let log = log.parse().map_err(|_| InvalidAccessPosition)?;
        let epoch = epoch.parse().map_err(|_| InvalidAccessPosition)?;
        let position = position.parse().map_err(|_| InvalidAccessPosition)?;
        Ok(Self { log, cursor: Cursor { epoch, position } })
    }
}

#[cfg(test)]
mod tests {
    use super::AccessPosition;

    #[test]
    fn a_position_is_written_and_read_back() {
        let position: AccessPosition = "core.2.117".parse().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(position.to_string(), "core.2.117");
        for bad in ["", "core", "core.1", "market.1.2", "core.1.2.3", "core.-1.2"] {
            assert!(bad.parse::<AccessPosition>().is_err(), "{bad}");
        }
    }
}
