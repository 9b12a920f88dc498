//! What a request carries, read once and refused as a problem.
//!
//! It owns media type, JSON shape, unknown fields, path and query. It refuses to know what a value means, and to echo
//! what a parser says of it: a parser's message repeats the value, and the value may be a password.

use axum::{
    body::Bytes,
    extract::{
        FromRequest, FromRequestParts, Path, Query, Request,
        rejection::{BytesRejection, FailedToBufferBody},
    },
};
use http::{HeaderMap, header, request::Parts};
use kisum_guard::Problem;
use serde::de::DeserializeOwned;

/// Characters of a field path that are repeated to the client.
const PATH_LEN_MAX: usize = 100;

/// A JSON body. 415 without `application/json`, 413 over the listener's limit, 400 for malformed JSON, an unknown or
/// missing field or a wrong type, naming the field.
#[derive(Clone, Copy, Debug)]
pub struct ApiJson<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for ApiJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::unsupported_media_type());
        }
        let bytes = body_bytes(request, state).await?;
        read_json(&bytes).map(Self)
    }
}

/// Parameters of the path; 400 when one is not of its form.
#[derive(Clone, Copy, Debug)]
pub struct ApiPath<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for ApiPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let refused = || Problem::validation("A part of the path is not of the documented form.");
        if holds_encoded_nul(parts.uri.path()) {
            return Err(refused());
        }
        Path::from_request_parts(parts, state).await.map(|Path(value)| Self(value)).map_err(|_| refused())
    }
}

/// Parameters of the query; 400 when one is not of its form.
#[derive(Clone, Copy, Debug)]
pub struct ApiQuery<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let refused = || Problem::validation("A query parameter is not of the documented form.");
        if parts.uri.query().is_some_and(holds_encoded_nul) {
            return Err(refused());
        }
        Query::from_request_parts(parts, state).await.map(|Query(value)| Self(value)).map_err(|_| refused())
    }
}

/// A header that must hold text, if it stands there; 400 when it is not visible ASCII or stands twice.
pub fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(Problem::validation(format!("The header {name} stands more than once.")));
    }
    let Some(value) = first else { return Ok(None) };
    value.to_str().map(Some).map_err(|_| Problem::validation(format!("The header {name} is not readable text.")))
}

/// The whole body, within the listener's limit.
pub(super) async fn body_bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|rejection| match rejection {
        BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => Problem::too_large(),
        _ => Problem::validation("The request body broke off."),
    })
}

/// Whether the request says that its body is JSON.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(text)) = headers.get(header::CONTENT_TYPE).map(|value| value.to_str()) else { return false };
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Reads JSON strictly: every field must be one that `T` knows, and no text may hold U+0000, which Postgres cannot
/// store and which would stop a relay.
pub(super) fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if holds_escaped_nul(bytes) {
        return Err(Problem::validation("The body holds a NUL character."));
    }
    // A list would be read as the fields of a struct, in order: no document says so, and none is named.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        return Err(Problem::validation("The body is not of the documented shape."));
    }
    let mut unknown = None;
    let mut note = |path: serde_ignored::Path<'_>| {
        unknown.get_or_insert_with(|| shorten(&path.to_string()));
    };
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let mut track = serde_path_to_error::Track::new();
    let watched = serde_ignored::Deserializer::new(&mut json, &mut note);
    let read = T::deserialize(serde_path_to_error::Deserializer::new(watched, &mut track));
    let value = read.map_err(|error| shape_problem(&track.path().to_string(), &error))?;
    json.end().map_err(|_| Problem::validation("The body is not valid JSON."))?;
    match unknown {
        Some(path) => Err(Problem::validation(format!("The field {path} is not known here."))),
        None => Ok(value),
    }
}

fn shape_problem(path: &str, error: &serde_json::Error) -> Problem {
    if !error.is_data() {
        return Problem::validation("The body is not valid JSON.");
    }
    let text = error.to_string();
    // These two messages quote names alone; every other one may quote the value.
    if let Some(name) = quoted_after(&text, "missing field `") {
        let parent = if path == "." { String::new() } else { format!(" in {}", shorten(path)) };
        return Problem::validation(format!("The field {name} is missing{parent}."));
    }
    if let Some(name) = quoted_after(&text, "unknown field `") {
        return Problem::validation(format!("The field {} is not known here.", shorten(name)));
    }
    match path {
        "." => Problem::validation("The body is not of the documented shape."),
        path => Problem::validation(format!("The field {} is not of the documented form.", shorten(path))),
    }
}

fn quoted_after<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    text.strip_prefix(start)?.split('`').next()
}

fn shorten(path: &str) -> String {
    path.chars().filter(|c| !c.is_control()).take(PATH_LEN_MAX).collect()
}

fn holds_encoded_nul(text: &str) -> bool {
    text.contains("%00")
}

/// Finds `\u0000` in JSON text; `\\u0000`, a backslash followed by five characters, is another thing.
pub(super) fn holds_escaped_nul(bytes: &[u8]) -> bool {
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        if *byte == b'\\' {
            if rest.as_slice().starts_with(b"u0000") {
                return true;
            }
            rest.next();
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Address {
        street: String,
        number: u16,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Order {
        password: String,
        address: Address,
    }

    fn refusal(body: &str) -> String {
        match read_json::<Order>(body.as_bytes()) {
            Ok(order) => panic!("accepted {order:?}"),
            Err(problem) => {
                assert_eq!((problem.status.as_u16(), problem.code), (400, "validation_error"));
                problem.message
            }
        }
    }

    #[test]
    fn a_body_of_the_right_shape_is_read() {
        let body = br#"{"password":"a\\u0000b","address":{"street":"x","number":7}}"#;
        let order: Order = read_json(body).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(order.password, "a\\u0000b");
    }

    #[test]
    fn a_refusal_names_the_field_and_never_the_value() {
        assert_eq!(
            refusal(r#"{"password":{"secret":"hunter2"},"address":{"street":"x","number":7}}"#),
            "The field password is not of the documented form."
        );
        assert_eq!(
            refusal(r#"{"password":"hunter2","address":{"street":"x","number":"hunter2"}}"#),
            "The field address.number is not of the documented form."
        );
        assert_eq!(refusal(r#"{"password":"p","address":{"street":"x"}}"#), "The field number is missing in address.");
    }

    #[test]
    fn an_unknown_field_is_refused_at_any_depth() {
        assert_eq!(
            refusal(r#"{"password":"p","address":{"street":"x","number":7,"companyId":"y"}}"#),
            "The field address.companyId is not known here."
        );
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for bad in ["", "{", "{}}", "nonsense", "{\"password\":\"\u{1}\"}"] {
            assert!(refusal(bad).starts_with("The body is not valid JSON") || bad == "{}}", "{bad}");
        }
    }

    #[test]
    fn a_list_of_values_is_no_object() {
        assert_eq!(refusal(r#" ["p",{"street":"x","number":7}]"#), "The body is not of the documented shape.");
    }

    #[test]
    fn a_nul_character_never_gets_in() {
        assert_eq!(refusal(r#"{"password":"a\u0000"}"#), "The body holds a NUL character.");
    }

    #[tokio::test]
    async fn a_body_of_another_media_type_is_refused_before_it_is_read() {
        for media_type in ["text/plain", "application/x-www-form-urlencoded", "jsonp", ""] {
            let request = Request::builder()
                .header(header::CONTENT_TYPE, media_type)
                .body(Body::from("{}"))
                .unwrap_or_else(|e| panic!("{e}"));
            let refused = ApiJson::<serde_json::Value>::from_request(request, &()).await;
            assert_eq!(refused.map(|ApiJson(body)| body), Err(Problem::unsupported_media_type()), "{media_type}");
        }
    }

    #[tokio::test]
    async fn json_with_parameters_or_a_suffix_is_json() {
        for media_type in ["application/json", "application/JSON; charset=utf-8", "application/merge-patch+json"] {
            let request = Request::builder()
                .header(header::CONTENT_TYPE, media_type)
                .body(Body::from("{}"))
                .unwrap_or_else(|e| panic!("{e}"));
            assert!(ApiJson::<serde_json::Value>::from_request(request, &()).await.is_ok(), "{media_type}");
        }
    }
}
