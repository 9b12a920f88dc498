//! What names a request in logs: its label.
//!
//! It owns the form of `x-request-id`. A label is a label, never a key: nothing is looked up, stored
//! or decided by it.

use super::ambient;
use axum::extract::FromRequestParts;
use http::{HeaderMap, HeaderName, HeaderValue, request::Parts};
use std::{convert::Infallible, fmt};

/// The header that carries the label, both ways.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

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
}
