//! The envelope to the letter: relays compare what was published with what the log says, byte by byte.

use kisum_events::{Envelope, TraceParent};

const UNTRACED: &str = include_str!("envelope/untraced.json");
const TRACED: &str = include_str!("envelope/traced.json");

fn read(golden: &str) -> Envelope {
    serde_json::from_str(golden).unwrap_or_else(|error| panic!("{error}"))
}

fn written(envelope: &Envelope) -> String {
    serde_json::to_string(envelope).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn an_envelope_without_a_trace_has_the_bytes_that_it_always_had() {
    let envelope = read(UNTRACED);
    assert_eq!(envelope.meta.traceparent, None);
    assert_eq!(written(&envelope), UNTRACED.trim_end());
}

#[test]
fn an_envelope_with_a_trace_keeps_it_to_the_letter() {
    let envelope = read(TRACED);
    let trace = TraceParent::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    assert_eq!(envelope.meta.traceparent, trace);
    assert_eq!(written(&envelope), TRACED.trim_end());
}

#[test]
fn a_trace_that_cannot_be_read_is_none_and_stops_no_reader() {
    for broken in [r#""nonsense""#, "7", "null", r#"{"trace":1}"#] {
        let text = TRACED.replace(r#""00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01""#, broken);
        assert_eq!(read(&text).meta.traceparent, None, "{broken}");
    }
}
