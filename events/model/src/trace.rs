//! Where something stands in a trace (W3C Trace Context): what ties together everything that one request causes.
//!
//! It owns the form. It refuses to draw ids, and to be a reason for anything: a trace that cannot be read is none.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Characters of a `traceparent` of version 00.
const LEN: usize = 55;
/// The flag that asks for the trace to be recorded.
const SAMPLED: u8 = 0b01;
/// The flags that are ours to pass on: sampled, and that the trace's id is random (W3C Trace Context, level 2).
const KNOWN_FLAGS: u8 = 0b11;

/// A `traceparent`: a trace, and the step of it that causes what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceParent {
    trace: u128,
    span: u64,
    flags: u8,
}

impl TraceParent {
    /// The header of HTTP requests and of messages on the bus.
    pub const HEADER: &str = "traceparent";

    /// The first step of a new trace. Zero is no id, so it counts as one.
    pub const fn begin(trace: u128, span: u64, is_sampled: bool) -> Self {
        let flags = if is_sampled { SAMPLED } else { 0 };
        Self { trace: if trace == 0 { 1 } else { trace }, span: if span == 0 { 1 } else { span }, flags }
    }

    /// A step that this one causes.
    #[must_use]
    pub const fn child(self, span: u64) -> Self {
        Self { span: if span == 0 { 1 } else { span }, flags: self.flags & KNOWN_FLAGS, ..self }
    }

    /// Reads `00-{trace}-{span}-{flags}`; a later version is read as far as it says the same. Anything else is none,
    /// as the standard asks.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = if text.starts_with("00-") {
            text.len() == LEN
        } else {
            matches!(text.as_bytes().get(LEN), None | Some(b'-'))
        };
        let [version, trace, span, flags] =
            [text.get(..2)?, text.get(3..35)?, text.get(36..52)?, text.get(53..LEN)?].map(lower_hex);
        let separated = [2, 35, 52].iter().all(|at| text.as_bytes().get(*at) == Some(&b'-'));
        if !fits || !separated || version? == 0xff {
            return None;
        }
        let (trace, span) = (trace?, u64::try_from(span?).ok()?);
        (trace != 0 && span != 0).then_some(Self { trace, span, flags: u8::try_from(flags?).ok()? })
    }

    /// The trace's id, 32 hexadecimal digits.
    pub fn trace_id(self) -> impl fmt::Display {
        std::fmt::from_fn(move |f| write!(f, "{:032x}", self.trace))
    }

    /// The step's id, 16 hexadecimal digits.
    pub fn span_id(self) -> impl fmt::Display {
        std::fmt::from_fn(move |f| write!(f, "{:016x}", self.span))
    }

    /// Whether the trace is to be recorded.
    pub const fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }
}

fn lower_hex(text: &str) -> Option<u128> {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    is_hex.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

impl Serialize for TraceParent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads what is one, and nothing from anything else: no reader of a log may stop because of a trace.
pub(crate) fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TraceParent>, D::Error> {
    let value = Option::<serde_json::Value>::deserialize(deserializer)?;
    Ok(value.as_ref().and_then(serde_json::Value::as_str).and_then(TraceParent::parse))
}

#[cfg(test)]
mod tests {
    use super::TraceParent;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_trace_in_the_standard_s_form_is_kept_to_the_letter() {
        let trace = TraceParent::parse(GOOD).unwrap();
        assert_eq!(trace.to_string(), GOOD);
        assert_eq!(trace.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(trace.span_id().to_string(), "00f067aa0ba902b7");
        assert!(trace.is_sampled());
        assert!(!TraceParent::parse(&GOOD.replace("-01", "-00")).unwrap().is_sampled());
    }

    #[test]
    fn what_is_no_trace_is_none() {
        let zero = "0".repeat(32);
        for bad in [
            "",
            "00-0-0-0",
            "ff-x",
            &GOOD.replace("00-4", "ff-4"),
            &GOOD.to_uppercase(),
            &GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &zero),
            &GOOD.replace("00f067aa0ba902b7", "0000000000000000"),
            &GOOD.replace("00f067aa0ba902b7", "00f067aa0ba902bz"),
            &GOOD.replace("-01", "_01"),
            &format!("{GOOD}-more"),
            &format!("{GOOD} "),
            "00-4bf92f3577b34da6a3ce929d0e0e47366-0f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_says_the_same() {
        let later = format!("{}-more", GOOD.replacen("00", "01", 1));
        assert_eq!(TraceParent::parse(&later), TraceParent::parse(GOOD));
        assert_eq!(TraceParent::parse(&format!("{}more", GOOD.replacen("00", "01", 1))), None);
    }

    #[test]
    fn a_step_stays_in_its_trace_and_has_its_own_id() {
        let parent = TraceParent::parse(&GOOD.replace("-01", "-ff")).unwrap();
        let child = parent.child(0xab);
        assert_eq!(child.to_string(), "00-4bf92f3577b34da6a3ce929d0e0e4736-00000000000000ab-03");
        let begun = TraceParent::begin(0, 0, true);
        assert_eq!(TraceParent::parse(&begun.to_string()), Some(begun), "zero is never an id");
    }
}
