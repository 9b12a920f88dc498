//! The answers of a route that went well (contract, *HTTP*).
//!
//! It owns the envelope, the statuses and `X-Access-Position`. It refuses to know what is answered.

use super::access_position::{AccessPosition, X_ACCESS_POSITION};
use super::problem;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The body of a success, for documents: `{"success":true,"data":…}`.
#[derive(Debug, Serialize, ToSchema)]
pub struct SuccessBody<T> {
    /// Always true.
    pub success: bool,
    /// The answer.
    pub data: T,
}

impl<T> SuccessBody<T> {
    const fn of(data: T) -> Self {
        Self { success: true, data }
    }
}

/// Bytes of a usual answer; a longer one grows.
const BODY_LEN_USUAL: usize = 2 * 1024;

fn json<T: Serialize>(status: StatusCode, data: T) -> Response {
    let mut body = Vec::with_capacity(BODY_LEN_USUAL);
    match serde_json::to_writer(&mut body, &SuccessBody::of(data)) {
        Ok(()) => (status, [(header::CONTENT_TYPE, JSON)], body).into_response(),
        Err(error) => problem::of_defect(&error).into_response(),
    }
}

/// 200 with data: what GET, PUT and PATCH answer.
#[derive(Debug)]
pub struct Success<T>(pub T);

impl<T: Serialize> IntoResponse for Success<T> {
    fn into_response(self) -> Response {
        json(StatusCode::OK, self.0)
    }
}

/// 201 with data: what a POST that creates answers.
#[derive(Debug)]
pub struct Created<T>(pub T);

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        json(StatusCode::CREATED, self.0)
    }
}

/// 202 with data: taken on, and the same answer whatever comes of it.
#[derive(Debug)]
pub struct Accepted<T>(pub T);

impl<T: Serialize> IntoResponse for Accepted<T> {
    fn into_response(self) -> Response {
        json(StatusCode::ACCEPTED, self.0)
    }
}

/// 204: what DELETE answers.
#[derive(Clone, Copy, Debug)]
pub struct NoContent;

impl IntoResponse for NoContent {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

/// A command's answer with the position that a later request may carry back.
#[derive(Debug)]
pub struct Receipted<R> {
    answer: R,
    position: AccessPosition,
}

impl<R> Receipted<R> {
    /// The answer of a command that wrote up to `position`, or that found nothing to write there.
    pub fn new(answer: R, position: impl Into<AccessPosition>) -> Self {
        Self { answer, position: position.into() }
    }
}

impl<R: IntoResponse> IntoResponse for Receipted<R> {
    fn into_response(self) -> Response {
        let mut response = self.answer.into_response();
        if let Ok(value) = HeaderValue::from_str(&self.position.to_string()) {
            response.headers_mut().insert(X_ACCESS_POSITION, value);
        }
        response
    }
}
