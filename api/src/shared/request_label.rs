//! What names a request in logs: its label and its trace.
//!
//! It owns the form of `x-request-id` and `traceparent`. A label is a label, never a key: nothing is looked up, stored
//! or decided by it.

use super::ambient;
use axum::extract::FromRequestParts;
use http::{HeaderMap, HeaderName, HeaderValue, request::Parts};
use kisum_guard::Problem;
use std::{convert::Infallible, fmt};

/// The header that carries the label, both ways.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The header that carries the trace (W3C Trace Context).
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Characters of a label; contract, *HTTP*.
const LABEL_LEN_MAX: usize = 64;

/// The request's label: the caller's, where it is of the contract's form, else a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLabel(String);

impl RequestLabel {
    /// Reads the label of a request, or makes one.
    pub fn of(headers: &HeaderMap) -> Self {
        headers
            .get(X_REQUEST_ID)
            .and_then(|value| value.to_str().ok())
            .filter(|text| is_label(text))
            .map_or_else(|| Self(ambient::new_id().to_string()), |text| Self(text.to_owned()))
    }

    /// The label as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The label as a header's value.
    pub fn header_value(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.0).ok()
    }
}

impl fmt::Display for RequestLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_label(text: &str) -> bool {
    (1..=LABEL_LEN_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

impl<S: Sync> FromRequestParts<S> for RequestLabel {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(|| Self::of(&parts.headers)))
    }
}

/// A caller's trace, `00-{trace}-{span}-{flags}`, kept to be logged and sent on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceParent(String);

impl TraceParent {
    /// Reads the trace of a request. One that is not of version 00's form is dropped, as the standard asks.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(TRACEPARENT)?.to_str().ok()?;
        is_traceparent(text).then(|| Self(text.to_owned()))
    }

    /// The whole value, for a request that this one causes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The trace's id alone, 32 hexadecimal digits, for logs.
    pub fn trace_id(&self) -> &str {
        self.0.split('-').nth(1).unwrap_or_default()
    }
}

fn is_traceparent(text: &str) -> bool {
    let mut parts = text.split('-');
    let (Some("00"), Some(trace), Some(span), Some(flags), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let hex = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let not_zero = |part: &str| part.bytes().any(|b| b != b'0');
    hex(trace, 32) && not_zero(trace) && hex(span, 16) && not_zero(span) && hex(flags, 2)
}

impl<S: Sync> axum::extract::OptionalFromRequestParts<S> for TraceParent {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        Ok(Self::of(&parts.headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label_of(text: &'static str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_static(text));
        RequestLabel::of(&headers).to_string()
    }

    #[test]
    fn a_label_of_the_contract_s_form_is_kept_and_any_other_replaced() {
        assert_eq!(label_of("web-7.a_B"), "web-7.a_B");
        for bad in ["", "two words", "a/b", "x{y}", &*"a".repeat(65).leak()] {
            assert_ne!(label_of(bad), bad);
        }
    }

    #[test]
    fn a_trace_is_kept_only_in_the_standard_s_form() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_static(good));
        let trace = TraceParent::of(&headers).unwrap_or_else(|| panic!("a good trace was dropped"));
        assert_eq!((trace.as_str(), trace.trace_id()), (good, "4bf92f3577b34da6a3ce929d0e0e4736"));
        for bad in ["00-0-0-0", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "ff-x", ""] {
            headers.insert(TRACEPARENT, HeaderValue::from_static(bad));
            assert_eq!(TraceParent::of(&headers), None, "{bad}");
        }
    }
}
