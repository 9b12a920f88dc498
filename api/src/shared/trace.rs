//! Where the current request stands in a trace.
//!
//! It owns the header's way in and out, and what requests that are made for this one carry. It refuses to be a reason
//! for anything: a trace is there to be read later.

use super::ambient;
use http::{HeaderMap, HeaderName};
use kisum_events::TraceParent;

/// The header that carries the trace (W3C Trace Context).
pub const TRACEPARENT: HeaderName = HeaderName::from_static(TraceParent::HEADER);

tokio::task_local! {
    /// Set while a request is in work; what it spawns has none, since nobody waits for that.
    static CURRENT: TraceParent;
}

/// The trace of a request. One that is not of the standard's form is dropped, as the standard asks; so is one that was
/// sent twice.
pub fn of_headers(headers: &HeaderMap) -> Option<TraceParent> {
    let mut sent = headers.get_all(TRACEPARENT).iter();
    let (Some(value), None) = (sent.next(), sent.next()) else { return None };
    TraceParent::parse(value.to_str().ok()?)
}

/// The first step of a trace that begins here.
pub fn begin(is_sampled: bool) -> TraceParent {
    TraceParent::begin(ambient::new_trace_id(), ambient::new_span_id(), is_sampled)
}

/// Where the request in work stands; none outside of requests.
pub fn current() -> Option<TraceParent> {
    CURRENT.try_with(|here| *here).ok()
}

/// The step of a request that is made now: the next one behind the request in work, or the first of a trace that is
/// not recorded, since what asks on its own account asks for ever.
pub fn step() -> TraceParent {
    current().map_or_else(|| begin(false), next)
}

/// The next step behind one.
pub fn next(parent: TraceParent) -> TraceParent {
    parent.child(ambient::new_span_id())
}

/// Runs the work of a request that stands at `here`.
pub async fn within<F: Future>(here: TraceParent, work: F) -> F::Output {
    CURRENT.scope(here, work).await
}

#[cfg(test)]
mod tests {
    use super::{TRACEPARENT, begin, current, of_headers, step, within};
    use http::{HeaderMap, HeaderValue};

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_trace_is_read_only_where_it_was_sent_once_and_in_the_standard_s_form() {
        let mut headers = HeaderMap::new();
        assert_eq!(of_headers(&headers), None);
        headers.insert(TRACEPARENT, HeaderValue::from_static(TRACE));
        assert_eq!(of_headers(&headers).map(|trace| trace.to_string()).as_deref(), Some(TRACE));
        headers.append(TRACEPARENT, HeaderValue::from_static(TRACE));
        assert_eq!(of_headers(&headers), None);
        headers.insert(TRACEPARENT, HeaderValue::from_static("00-0-0-0"));
        assert_eq!(of_headers(&headers), None);
    }

    #[tokio::test]
    async fn what_a_request_asks_for_is_a_step_of_its_trace_and_anything_else_is_not_recorded() {
        let here = begin(true);
        let asked = within(here, async { step() }).await;
        assert_eq!(asked.trace_id().to_string(), here.trace_id().to_string());
        assert!(asked != here && asked.is_sampled());
        assert_eq!(current(), None);
        assert!(!step().is_sampled());
    }
}
