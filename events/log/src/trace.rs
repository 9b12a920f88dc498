//! Traces through the log: what an event carries of the request that wrote it, and what it causes further on.
//!
//! A span of this platform says where it stands by its fields `trace_id`, `span_id`, `parent_span_id`, `span_kind`,
//! `sampled` and `links`; a log line carries the first two, and whoever exports spans reads all of them. It refuses to
//! know whether anybody does.

use crate::ambient;
use kisum_events::{Envelope, TraceParent};
use std::fmt::Write as _;

/// Other traces that one step is linked to at most.
const LINKS_MAX: usize = 16;

/// A step that events of the log cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caused {
    /// The step itself.
    pub here: TraceParent,
    /// What it is a part of: the step that wrote the first event that carries one.
    pub parent: TraceParent,
    /// The steps that wrote others of the events, in other traces, separated by spaces.
    pub links: String,
}

impl Caused {
    /// The step that these events cause together; none when none of them carries a trace.
    pub fn by<'a>(events: impl IntoIterator<Item = &'a Envelope>) -> Option<Self> {
        let mut events = events.into_iter().filter_map(|event| event.meta.traceparent);
        let parent = events.next()?;
        let mut others: Vec<TraceParent> = Vec::new();
        for other in events {
            if others.len() < LINKS_MAX && other != parent && !others.contains(&other) {
                others.push(other);
            }
        }
        let mut links = String::new();
        for (n, other) in others.iter().enumerate() {
            // Writing to a String does not fail.
            let _ = write!(links, "{}{other}", if n == 0 { "" } else { " " });
        }
        Some(Self { here: parent.child(ambient::new_span_id()), parent, links })
    }
}

/// The next step behind this one.
pub(crate) fn step(parent: TraceParent) -> TraceParent {
    parent.child(ambient::new_span_id())
}

#[cfg(test)]
mod tests {
    use super::{Caused, LINKS_MAX};
    use kisum_events::{Envelope, TraceParent};

    fn event(position: u64, trace: Option<TraceParent>) -> Envelope {
        let json = serde_json::json!({
            "id": uuid::Uuid::nil(), "log": "auth", "epoch": 1, "position": position, "previousAccessPosition": 0,
            "stream": "s", "version": 1, "type": "t.t", "schema": 1, "effect": "none",
            "recordedAt": "2026-03-01T12:00:00.000000Z", "data": {},
            "meta": { "actor": "system", "requestId": uuid::Uuid::nil(), "traceparent": trace },
        });
        // Through text, as it arrives: a raw value cannot be taken from a parsed tree.
        serde_json::from_str(&json.to_string()).unwrap()
    }

    fn trace(n: u64) -> TraceParent {
        TraceParent::begin(u128::from(n), n, true)
    }

    #[test]
    fn events_of_one_trace_cause_a_step_of_it_and_others_are_linked_once() {
        let events = [event(1, None), event(2, Some(trace(7))), event(3, Some(trace(9))), event(4, Some(trace(9)))];
        let caused = Caused::by(&events).unwrap();
        assert_eq!(caused.parent, trace(7));
        assert_eq!(caused.here.trace_id().to_string(), trace(7).trace_id().to_string());
        assert_ne!(caused.here, caused.parent);
        assert_eq!(caused.links, trace(9).to_string());
    }

    #[test]
    fn untraced_events_cause_no_step_and_links_are_bounded() {
        assert_eq!(Caused::by(&[event(1, None)]), None);
        let many: Vec<Envelope> = (1..100).map(|n| event(n, Some(trace(n)))).collect();
        assert_eq!(Caused::by(&many).unwrap().links.split(' ').count(), LINKS_MAX);
    }
}
