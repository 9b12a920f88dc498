//! The one error shape that every service answers with: `application/problem+json` (RFC 9457) carrying the
//! platform's `success` and `error` members.
//!
//! It owns codes, reasons and titles exactly as the contract's table has them. It refuses to know what went wrong
//! inside: a driver's or library's message never becomes part of a problem.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use std::fmt;

/// Where the documentation of a code stands; the code is appended.
const TYPE_BASE: &str = "https://docs.kisum.io/problems/";

/// Seconds that a caller is asked to wait after a 503 (contract; `consistency.md`, the ladder).
const UNAVAILABLE_RETRY_S: u32 = 1;

/// Reasons of a 403 (contract).
pub mod reason {
    /// The person is no member of the company, or there is no such company.
    pub const NOT_A_MEMBER: &str = "not_a_member";
    /// The person or the membership is suspended.
    pub const SUSPENDED: &str = "suspended";
    /// The company is pending, rejected or suspended.
    pub const COMPANY_NOT_ACTIVE: &str = "company_not_active";
    /// The company does not own the module.
    pub const MODULE_NOT_OWNED: &str = "module_not_owned";
    /// The membership is not granted the module.
    pub const MODULE_NOT_GRANTED: &str = "module_not_granted";
    /// The membership does not hold the permission.
    pub const MISSING_PERMISSION: &str = "missing_permission";
    /// The role is too low for the command.
    pub const ROLE_TOO_LOW: &str = "role_too_low";
    /// What is to be granted may not be granted by this person.
    pub const NOT_GRANTABLE: &str = "not_grantable";
    /// The route wants a fresh second factor.
    pub const STEP_UP_REQUIRED: &str = "step_up_required";
    /// The request carries a cookie and comes from an origin that is not allowed.
    pub const BAD_ORIGIN: &str = "bad_origin";
    /// Companies may not change their own purchases here.
    pub const SELF_SERVICE_DISABLED: &str = "self_service_disabled";
}

/// A refusal as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// HTTP status.
    pub status: StatusCode,
    /// Stable code from the contract's table.
    pub code: &'static str,
    /// Stable refinement of the code, where the contract has one.
    pub reason: Option<&'static str>,
    /// One sentence for the developer who reads it; never a driver's message.
    pub message: String,
    /// Seconds until trying again makes sense, for `Retry-After`.
    pub retry_after: Option<u32>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, reason: None, message: message.into(), retry_after: None }
    }

    /// 400: wrong shape; missing or malformed `x-org`; company in the path that is not the one of `x-org`.
    pub fn validation(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "validation_error", message)
    }

    /// 401: the token is missing, invalid, expired, or from a foreign issuer or for a foreign audience.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// 401: the token is genuine but its session is over.
    pub fn session_revoked() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "session_revoked", "The session has ended; sign in again.")
    }

    /// 403 with a reason from [`reason`], or none. Never for a bad token.
    pub fn forbidden(reason: impl Into<Option<&'static str>>, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), ..Self::new(StatusCode::FORBIDDEN, "forbidden", message) }
    }

    /// 404: there is none, or the caller may not know that there is one.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 409: refused in this state; the reason names which, such as `last_superadmin`.
    pub fn conflict(reason: impl Into<Option<&'static str>>, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), ..Self::new(StatusCode::CONFLICT, "conflict", message) }
    }

    /// 422: well-formed, and wrong whatever the state.
    pub fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unprocessable", message)
    }

    /// 429: too often; again after that many seconds.
    pub fn rate_limited(seconds: u32) -> Self {
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "Too many requests; try again later.");
        Self { retry_after: Some(seconds.max(1)), ..problem }
    }

    /// 503: access cannot be proven, or something needed is down.
    pub fn unavailable(message: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", message);
        Self { retry_after: Some(UNAVAILABLE_RETRY_S), ..problem }
    }

    /// 413: the body is larger than the route takes.
    pub fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The request body is too large.")
    }

    /// 415: the body is not of a media type that the route takes.
    pub fn unsupported_media_type() -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "Send application/json.")
    }

    /// 405: the path exists, the method does not.
    pub fn method_not_allowed() -> Self {
        let message = "This path does not answer to this method.";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    /// 408: the request did not arrive in time.
    pub fn request_timeout() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "The request did not arrive in time.")
    }

    /// 431: the headers are too many or too large.
    pub fn headers_too_large() -> Self {
        let message = "The request headers are too large.";
        Self::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", message)
    }

    /// 500: a defect of ours. What it was stands in the log, never here.
    pub fn internal() -> Self {
        let message = "Something went wrong on our side; it has been logged.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
    }

    /// The short human title that belongs to the code.
    pub fn title(&self) -> &'static str {
        match self.code {
            "validation_error" => "The request is not valid",
            "unauthorized" => "Authentication is required",
            "session_revoked" => "The session has ended",
            "forbidden" => "Access is denied",
            "not_found" => "Not found",
            "conflict" => "The current state does not allow this",
            "unprocessable" => "The request cannot be carried out",
            "rate_limited" => "Too many requests",
            "service_unavailable" => "Temporarily unavailable",
            "too_large" => "The body is too large",
            "unsupported_media_type" => "Unsupported media type",
            "method_not_allowed" => "Method not allowed",
            "request_timeout" => "Request time-out",
            "headers_too_large" => "The headers are too large",
            _ => "Internal error",
        }
    }

    /// The body as JSON.
    pub fn body(&self) -> Value {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let (Some(reason), Value::Object(members)) = (self.reason, &mut error) {
            members.insert("reason".to_owned(), Value::from(reason));
        }
        json!({
            "type": format!("{TYPE_BASE}{}", self.code),
            "title": self.title(),
            "status": self.status.as_u16(),
            "detail": self.message,
            "success": false,
            "error": error,
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            Some(reason) => write!(f, "{} {} ({reason}): {}", self.status.as_u16(), self.code, self.message),
            None => write!(f, "{} {}: {}", self.status.as_u16(), self.code, self.message),
        }
    }
}

impl std::error::Error for Problem {}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.body().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // For the access log: what was answered, without reading the body back.
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::{Problem, reason};
    use axum::response::IntoResponse;
    use http::header;
    use serde_json::json;

    #[test]
    fn a_problem_carries_both_the_rfc_s_members_and_the_platform_s() {
        let problem = Problem::forbidden(reason::MISSING_PERMISSION, "The permission finance.bills.read is missing.");
        assert_eq!(
            problem.body(),
            json!({
                "type": "https://docs.kisum.io/problems/forbidden",
                "title": "Access is denied",
                "status": 403,
                "detail": "The permission finance.bills.read is missing.",
                "success": false,
                "error": {
                    "code": "forbidden",
                    "message": "The permission finance.bills.read is missing.",
                    "reason": "missing_permission",
                },
            })
        );
    }

    #[test]
    fn a_problem_without_a_reason_has_no_reason_member() {
        assert!(Problem::not_found("No such bill.").body()["error"].get("reason").is_none());
        assert!(Problem::conflict(None, "Not now.").body()["error"].get("reason").is_none());
    }

    #[test]
    fn an_unavailable_problem_says_when_to_come_back_and_an_unauthorized_one_how() {
        let response = Problem::unavailable("Access cannot be proven.").into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        let response = Problem::session_revoked().into_response();
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
        assert!(response.headers().get(header::RETRY_AFTER).is_none());
    }
}
