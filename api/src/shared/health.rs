//! `/health`, `/ready` and `/metrics`.
//!
//! It owns what a supervisor asks. It refuses to fix anything, and `/health` to touch anything.

use super::{
    ambient::Stopwatch,
    problem::Problem,
    respond::{Success, SuccessBody},
    telemetry,
};
use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::future::{BoxFuture, join_all};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::sync::Mutex;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// How long one dependency may take to answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long an answer is given again: `/ready` is public, and must not become a way to load a database.
const REPORT_AGE_MAX: Duration = Duration::from_millis(250);

type Probe = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// A dependency of a service.
#[derive(Clone)]
struct Dependency {
    name: &'static str,
    required: bool,
    probe: Probe,
}

/// What a service needs to do its work.
#[derive(Clone, Default)]
pub struct Readiness {
    dependencies: Vec<Dependency>,
    last: Arc<Mutex<Option<(Stopwatch, Report)>>>,
}

impl Readiness {
    /// Needs nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds something without which the service is not ready. The probe's error is shown to whoever asks: a sentence
    /// of ours, never a driver's message.
    #[must_use]
    pub fn require<F>(self, name: &'static str, probe: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.add(name, true, probe)
    }

    /// Adds something that is reported, and without which the service still does its work.
    #[must_use]
    pub fn report<F>(self, name: &'static str, probe: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.add(name, false, probe)
    }

    fn add<F>(mut self, name: &'static str, required: bool, probe: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.dependencies.push(Dependency { name, required, probe: Arc::new(move || Box::pin(probe())) });
        self
    }

    async fn ask(&self) -> Report {
        let mut last = self.last.lock().await;
        if let Some((at, report)) = last.as_ref()
            && at.elapsed() < REPORT_AGE_MAX
        {
            return report.clone();
        }
        let dependencies = join_all(self.dependencies.iter().map(Dependency::ask)).await;
        let ready = dependencies.iter().all(|it| !it.required || it.state == DependencyState::Up);
        let status = if ready { Overall::Ready } else { Overall::NotReady };
        let report = Report { status, dependencies };
        *last = Some((Stopwatch::start(), report.clone()));
        report
    }
}

impl Dependency {
    async fn ask(&self) -> DependencyReport {
        let answer = tokio::time::timeout(PROBE_TIMEOUT, (self.probe)()).await;
        let (state, detail) = match answer {
            Ok(Ok(())) => (DependencyState::Up, None),
            Ok(Err(detail)) => (DependencyState::Down, Some(detail)),
            Err(_) => (DependencyState::Down, Some("it did not answer in time".to_owned())),
        };
        metrics::gauge!("kisum_dependency_up", "dependency" => self.name).set(if state == DependencyState::Up {
            1.0
        } else {
            0.0
        });
        DependencyReport { name: self.name, state, required: self.required, detail }
    }
}

/// Whether the service can do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Overall {
    Ready,
    NotReady,
}

/// Whether a dependency answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum DependencyState {
    Up,
    Down,
}

/// The state of everything a service needs.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Report {
    /// The sum of it.
    status: Overall,
    /// Each by name.
    dependencies: Vec<DependencyReport>,
}

/// The state of one dependency.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct DependencyReport {
    /// Its name, such as `db`.
    name: &'static str,
    /// Whether it answers.
    state: DependencyState,
    /// Whether the service is of no use without it.
    required: bool,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// That the process lives.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(super) struct Alive {
    /// Always `alive`.
    status: &'static str,
}

/// Says that the process lives; touches nothing.
#[utoipa::path(get, path = "/health", tag = "operations",
    responses((status = 200, description = "The process lives.", body = SuccessBody<Alive>)))]
async fn health() -> Success<Alive> {
    Success(Alive { status: "alive" })
}

/// Says whether the service can do its work, each dependency by name.
#[utoipa::path(get, path = "/ready", tag = "operations",
    responses((status = 200, description = "Everything required answers.", body = SuccessBody<Report>)))]
async fn ready(State(readiness): State<Readiness>) -> Response {
    let report = readiness.ask().await;
    match report.status {
        Overall::Ready => Success(report).into_response(),
        Overall::NotReady => not_ready(&report),
    }
}

/// The 503 as a problem that carries the report as a further member (RFC 9457 §3.2).
fn not_ready(report: &Report) -> Response {
    let problem = Problem::unavailable("A required dependency does not answer.");
    let mut body = problem.body();
    if let (Value::Object(members), Ok(report)) = (&mut body, serde_json::to_value(report)) {
        members.insert("data".to_owned(), report);
    }
    let mut response = problem.into_response();
    *response.body_mut() = body.to_string().into();
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response
}

/// `/health` and `/ready`, for every listener.
pub(super) fn probes(readiness: Readiness) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(health)).routes(routes!(ready)).with_state(readiness)
}

/// `/metrics`, for the internal listener alone.
pub(super) fn metrics_route() -> Router {
    Router::new().route("/metrics", get(render_metrics))
}

async fn render_metrics() -> Response {
    let handle = telemetry::metrics();
    let mut response = (StatusCode::OK, handle.render()).into_response();
    let text = HeaderValue::from_static("text/plain; version=0.0.4");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}
