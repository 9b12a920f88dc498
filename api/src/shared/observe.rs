//! What is noted of every request: its label, its span, one log line and one measurement.
//!
//! It owns the outermost layer of every listener. It refuses to look into a body or at a credential.

use super::{
    ambient::Stopwatch,
    client_ip::{ClientIp, TrustedProxies},
    problem::Problem,
    request_label::{RequestLabel, X_REQUEST_ID},
    trace::{self, TRACEPARENT},
};
use axum::{
    extract::{ConnectInfo, MatchedPath, Request},
    middleware::Next,
    response::Response,
};
use http::{HeaderValue, Method, StatusCode};
use kisum_events::{CompanyId, SessionId, TraceParent, UserId};
use metrics::Histogram;
use std::{cell::RefCell, collections::HashMap, net::SocketAddr, time::Duration};
use tracing::{Instrument as _, Span, field::Empty};

/// Routes whose lines would drown the others: probes ask several times a second, and whoever checks tokens fetches keys.
/// They are measured like all others.
const QUIET_ROUTES: [&str; 4] = ["/health", "/ready", "/metrics", "/.well-known/jwks.json"];

/// The label of what matched no route: a metric's label must not be what a stranger typed.
const UNMATCHED: &str = "unmatched";

/// Notes a request and its answer.
pub(super) async fn observe(
    proxies: &TrustedProxies,
    matched: Option<MatchedPath>,
    mut request: Request,
    next: Next,
) -> Response {
    let watch = Stopwatch::start();
    let label = RequestLabel::of(request.headers());
    let route = matched.as_ref().map_or(UNMATCHED, MatchedPath::as_str);
    let method = method_label(request.method());
    let came = trace::of_headers(request.headers());
    // A probe that begins a trace would fill the collector with nothing.
    let here = came.map_or_else(|| trace::begin(!QUIET_ROUTES.contains(&route)), trace::next);
    let span = request_span(&label, (came, here), route, method);
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>().copied() {
        let client = ClientIp(proxies.client(peer, request.headers()));
        request.extensions_mut().insert(client);
    }
    // Whoever reads the headers further in, such as a guard, must find the label and the step that count.
    if let Some(value) = label.header_value() {
        request.headers_mut().insert(X_REQUEST_ID, value);
    }
    if let Ok(value) = HeaderValue::from_str(&here.to_string()) {
        request.headers_mut().insert(TRACEPARENT, value);
    }
    request.extensions_mut().insert(label.clone());

    let mut response = trace::within(here, next.run(request).instrument(span.clone())).await;
    if let Some(value) = label.header_value() {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    span.in_scope(|| note(route, method, &response, watch.elapsed()));
    span.record("status", response.status().as_u16());
    response
}

/// Notes which company the current request is about, so that every later line of it says so.
pub fn note_company(company: CompanyId) {
    Span::current().record("company_id", tracing::field::display(company));
}

/// Notes whose request the current one is, once that is proven, so that every later line of it says so.
pub fn note_person(user: UserId, session: SessionId, company: Option<CompanyId>) {
    let span = Span::current();
    span.record("user_id", tracing::field::display(user));
    span.record("session_id", tracing::field::display(session));
    if let Some(company) = company {
        span.record("company_id", tracing::field::display(company));
    }
}

/// Of the highest level, since a line of any level should say whose request it belongs to.
fn request_span(
    label: &RequestLabel,
    (came, here): (Option<TraceParent>, TraceParent),
    route: &str,
    method: &'static str,
) -> Span {
    let span = tracing::error_span!(
        "request",
        request_id = label.as_str(),
        trace_id = %here.trace_id(),
        span_id = %here.span_id(),
        parent_span_id = Empty,
        span_kind = "server",
        sampled = here.is_sampled(),
        route,
        method,
        user_id = Empty,
        session_id = Empty,
        company_id = Empty,
        status = Empty,
    );
    if let Some(parent) = came {
        span.record("parent_span_id", tracing::field::display(parent.span_id()));
    }
    span
}

fn note(route: &str, method: &'static str, response: &Response, took: Duration) {
    let status = response.status().as_u16();
    let duration_ms = took.as_micros() as f64 / 1_000.0;
    record(route, method, status, took);
    let problem = response.extensions().get::<Problem>();
    let code = problem.map(|problem| problem.code);
    let reason = problem.and_then(|problem| problem.reason);
    // What was wrong with a request's form may repeat a piece of it.
    let error = problem.filter(|problem| problem.status != StatusCode::BAD_REQUEST).map(|it| it.message.as_str());
    if status >= 500 {
        tracing::warn!(event = "http.request", status, duration_ms, code, reason, error, "answered");
    } else if QUIET_ROUTES.contains(&route) {
        tracing::debug!(event = "http.request", status, duration_ms, code, reason, error, "answered");
    } else {
        tracing::info!(event = "http.request", status, duration_ms, code, reason, error, "answered");
    }
}

/// Routes, methods and statuses that a process has answered with, each with its histogram.
type Series = HashMap<String, Vec<(&'static str, u16, Histogram)>>;

thread_local! {
    /// Looking one up in the registry means making its labels anew, for every request.
    static SERIES: RefCell<Series> = RefCell::default();
}

fn record(route: &str, method: &'static str, status: u16, took: Duration) {
    SERIES.with_borrow_mut(|series| {
        let known = series.get(route).and_then(|of_route| {
            of_route.iter().find(|(its_method, its_status, _)| (*its_method, *its_status) == (method, status))
        });
        if let Some((_, _, histogram)) = known {
            return histogram.record(took);
        }
        let histogram = metrics::histogram!(
            "kisum_http_request_duration_seconds",
            "route" => route.to_owned(),
            "method" => method,
            "status" => status.to_string(),
        );
        histogram.record(took);
        series.entry(route.to_owned()).or_default().push((method, status, histogram));
    });
}

/// The method as a metric's label: one of a fixed few, whatever a client sends.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
