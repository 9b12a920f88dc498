//! What a question to Auth is asked for: the label and the trace of the request behind it.
//!
//! It owns what travels on to Auth. It refuses to decide anything by it: both are there to be read later.

use crate::clock;
use http::{HeaderMap, HeaderName, HeaderValue};
use kisum_events::TraceParent;

/// The header that carries a request's label.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The header that carries its trace.
const TRACEPARENT: HeaderName = HeaderName::from_static(TraceParent::HEADER);

/// Longest label (contract, *HTTP*).
const LABEL_LEN_MAX: usize = 64;

/// The request behind a question; nothing where the guard asks on its own account.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cause {
    /// Its label, where it is of the contract's form.
    pub(crate) label: Option<HeaderValue>,
    /// Where it stands in a trace.
    pub(crate) trace: Option<TraceParent>,
}

impl Cause {
    /// Reads a request's headers.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let label = headers.get(X_REQUEST_ID).filter(|value| value.to_str().is_ok_and(is_label)).cloned();
        let trace = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()).and_then(TraceParent::parse);
        Self { label, trace }
    }

    /// The label as text, `-` where there is none.
    pub(crate) fn label(&self) -> &str {
        self.label.as_ref().and_then(|value| value.to_str().ok()).unwrap_or("-")
    }

    /// The next step of the trace. One that nothing asked for begins a trace that is not recorded: heads are asked for
    /// every second.
    pub(crate) fn step(&self) -> TraceParent {
        match self.trace {
            Some(trace) => trace.child(clock::new_span_id()),
            None => TraceParent::begin(clock::new_trace_id(), clock::new_span_id(), false),
        }
    }
}

/// The headers of a request that is made at this step.
pub(crate) fn trace_header(step: TraceParent) -> (HeaderName, String) {
    (TRACEPARENT, step.to_string())
}

/// The contract's form of a request label.
pub(crate) fn is_label(text: &str) -> bool {
    (1..=LABEL_LEN_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::Cause;
    use http::{HeaderMap, HeaderValue};

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn cause(label: &'static str, trace: &'static str) -> Cause {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", HeaderValue::from_static(label));
        headers.insert("traceparent", HeaderValue::from_static(trace));
        Cause::of(&headers)
    }

    #[test]
    fn a_step_stays_in_the_request_s_trace_and_is_another_one_each_time() {
        let cause = cause("web-7", TRACE);
        let (one, other) = (cause.step(), cause.step());
        assert_eq!(cause.label(), "web-7");
        assert_eq!(one.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(one.is_sampled() && one != other && Some(one) != cause.trace);
    }

    #[test]
    fn what_has_neither_form_does_not_travel_on_and_begins_a_trace_that_nobody_records() {
        let cause = cause("two words", "nonsense");
        assert_eq!((cause.label(), cause.trace), ("-", None));
        assert!(!cause.step().is_sampled());
    }
}
