//! Instants, in microseconds UTC.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{fmt, str::FromStr, time::Duration};

/// An instant in microseconds since 1970-01-01T00:00:00Z; RFC 3339 with `Z` on the wire.
///
/// The log stores the number, so that hashing and comparing never depend on a text form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// 0001-01-01T00:00:00Z and 9999-12-30T22:00:00Z: what every zone can write as RFC 3339, and what jiff reads back
/// from microseconds.
const RANGE: (i64, i64) = (-62_135_596_800_000_000, 253_402_207_200_000_000);

impl Timestamp {
    /// The instant that many microseconds after 1970; clamped to what RFC 3339 can write.
    pub const fn from_micros(micros: i64) -> Self {
        if micros < RANGE.0 {
            Self(RANGE.0)
        } else if micros > RANGE.1 {
            Self(RANGE.1)
        } else {
            Self(micros)
        }
    }

    /// Microseconds since 1970.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, rounded down: the unit of JWT claims (RFC 7519 §2, NumericDate).
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This instant and a span later; stops at year 9999.
    pub fn plus(self, span: Duration) -> Self {
        Self::from_micros(self.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// This instant and a span earlier; stops at year 1.
    pub fn minus(self, span: Duration) -> Self {
        Self::from_micros(self.0.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero when it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(instant) => write!(f, "{instant:.6}"),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = jiff::Error;
    fn from_str(text: &str) -> Result<Self, jiff::Error> {
        text.parse::<jiff::Timestamp>().map(|instant| Self::from_micros(instant.as_microsecond()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn an_instant_is_written_as_rfc_3339_and_read_back() {
        let instant = Timestamp::from_micros(1_700_000_000_123_456);
        assert_eq!(instant.to_string(), "2023-11-14T22:13:20.123456Z");
        assert_eq!("2023-11-14T22:13:20.123456Z".parse::<Timestamp>().ok(), Some(instant));
    }

    #[test]
    fn arithmetic_stops_at_the_ends_of_the_calendar() {
        let end = Timestamp::from_micros(i64::MAX);
        assert_eq!(end.plus(std::time::Duration::MAX), end);
        assert_eq!(end.to_string(), "9999-12-30T22:00:00.000000Z");
        let start = Timestamp::from_micros(i64::MIN);
        assert_eq!(start.minus(std::time::Duration::MAX), start);
        assert_eq!(start.to_string(), "0001-01-01T00:00:00.000000Z");
    }
}
