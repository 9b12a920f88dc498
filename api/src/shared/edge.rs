//! What stands between a listener and its routes: limits, time-outs, headers, and a problem for whatever goes wrong
//! before a handler is reached (`security.md` 25–27).
//!
//! It owns every limit of a listener, by name. It refuses to know a route.

use super::{client_ip::TrustedProxies, observe::observe, problem::Problem};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use hyper::body::{Body as _, Frame, SizeHint};
use std::{
    any::Any,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::Semaphore;
use tower_http::cors::CorsLayer;

/// The numbers of one listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a body; the log takes no more in an event (`architecture.md`).
    pub body_len_max: usize,
    /// Bytes of all header names and values together with the request line.
    pub headers_len_max: usize,
    /// Headers of a request.
    pub headers_max: usize,
    /// How long a request may take, body included.
    pub timeout: Duration,
    /// Requests in work at once; the next is told 503.
    pub requests_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_len_max: 64 * 1024,
            headers_len_max: 16 * 1024,
            headers_max: 64,
            timeout: Duration::from_secs(10),
            requests_max: 1_024,
        }
    }
}

/// What a listener's layers are told.
#[derive(Clone, Debug, Default)]
pub struct Edge {
    /// The numbers.
    pub limits: Limits,
    /// Origins whose pages may call with credentials; none means that no page of another origin may.
    pub cors_origins: Vec<HeaderValue>,
    /// Proxies whose `X-Forwarded-For` counts.
    pub trusted_proxies: TrustedProxies,
}

impl Edge {
    /// Puts the layers around a listener's routes, and a problem behind them for what matches none.
    pub fn around(&self, routes: Router) -> Router {
        let gate = Gate { limits: self.limits, requests: Arc::new(Semaphore::new(self.limits.requests_max)) };
        let router = routes
            .fallback(async || Problem::not_found("There is nothing at this path."))
            .method_not_allowed_fallback(async || Problem::method_not_allowed())
            .layer(from_fn_with_state(gate, keep_limits));
        let router = if self.cors_origins.is_empty() { router } else { router.layer(self.cors()) };
        router.layer(from_fn_with_state(self.trusted_proxies.clone(), outermost))
    }

    fn cors(&self) -> CorsLayer {
        let name = HeaderName::from_static;
        CorsLayer::new()
            .allow_origin(self.cors_origins.clone())
            .allow_credentials(true)
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
            .allow_headers([
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                name("x-org"),
                name("x-request-id"),
                name("idempotency-key"),
                name("x-access-position"),
                name("traceparent"),
            ])
            .expose_headers([name("x-request-id"), name("x-access-position"), header::RETRY_AFTER])
            .max_age(Duration::from_secs(600))
    }
}

#[derive(Clone)]
struct Gate {
    limits: Limits,
    requests: Arc<Semaphore>,
}

/// One layer for all that stands outside of the routes, and one for all limits: every layer costs each request a copy
/// of what lies within it.
async fn outermost(
    State(proxies): State<TrustedProxies>,
    matched: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = observe(&proxies, matched, request, next).await;
    secure(&mut response);
    response
}

/// The server ends a connection whose request's body nobody has read to its end; a client that keeps connections has to
/// hear of it, or its next request is lost.
async fn keep_limits(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    DefaultBodyLimit::max(gate.limits.body_len_max).apply(&mut request);
    if request.body().is_end_stream() {
        return limited(&gate, request, next).await;
    }
    let unread = Arc::new(AtomicBool::new(true));
    let watch = Arc::clone(&unread);
    let request = request.map(|body| Body::new(Watched { body, unread: watch }));
    let mut response = limited(&gate, request, next).await;
    if unread.load(Ordering::Relaxed) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn limited(gate: &Gate, request: Request, next: Next) -> Response {
    let limits = gate.limits;
    if request.headers().len() > limits.headers_max || head_len(&request) > limits.headers_len_max {
        return Problem::headers_too_large().into_response();
    }
    if content_length(request.headers()).is_some_and(|length| length > limits.body_len_max as u64) {
        return Problem::too_large().into_response();
    }
    let Ok(_in_work) = gate.requests.try_acquire() else {
        metrics::counter!("kisum_http_requests_shed_total").increment(1);
        return Problem::unavailable("Too many requests are in work; try again.").into_response();
    };
    // What a handler leaves half-done when it panics is its own alone: requests share nothing but what locks itself.
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(limits.timeout, answer).await {
        Ok(answered) => answered.unwrap_or_else(panicked),
        Err(_) => Problem::request_timeout().into_response(),
    }
}

/// A request's body that notes when it has been read to its end.
struct Watched {
    body: Body,
    unread: Arc<AtomicBool>,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.unread.store(false, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn head_len(request: &Request) -> usize {
    let headers: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    headers + request.uri().path_and_query().map_or(0, |path| path.as_str().len())
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let what = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a value that is no text".to_owned());
    tracing::error!(event = "panic", panic = what, "a handler panicked");
    Problem::internal().into_response()
}

/// Headers of every answer, unless the route set its own.
const SECURE_HEADERS: [(HeaderName, &str); 6] = [
    (header::STRICT_TRANSPORT_SECURITY, "max-age=63072000; includeSubDomains"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::CACHE_CONTROL, "no-store"),
];

fn secure(response: &mut Response) {
    for (name, value) in SECURE_HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests;
