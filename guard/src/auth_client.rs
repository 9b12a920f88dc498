//! Auth's internal listener as a guard uses it (contract, *Auth, internal listener*).
//!
//! It owns requests, time-outs and shapes. It refuses to interpret: whoever asked decides what an error means, and
//! none of them ever means "no".

use crate::{
    cause::{Cause, X_REQUEST_ID, trace_header},
    clock::Clock,
    org::XOrg,
    service_token::ServiceSigner,
    source::{AccessPage, PAGE_LEN, Revocations, Source, SourceError},
};
use futures_util::future::BoxFuture;
use http::HeaderValue;
use kisum_events::{AccessAnswer, AsOf, Heads, Log, Position, TraceParent};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use tracing::Instrument as _;

/// The service that is asked.
const CALLEE: &str = "auth";
/// How long a head may take (`consistency.md`, proof).
pub(crate) const HEADS_TIMEOUT: Duration = Duration::from_millis(400);
/// How long a page of the log, or the list of ended sessions, may take.
const PAGE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// Nobody answered in time.
    #[error("auth did not answer")]
    Unreachable(#[source] reqwest::Error),
    /// Auth refused or failed.
    #[error("auth answered with status {0}")]
    Status(u16),
    /// What it said cannot be read.
    #[error("auth's answer cannot be read")]
    Shape(#[source] reqwest::Error),
}

impl AskError {
    /// Whether asking once more at once may help.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Status(status) => matches!(status, 500 | 502 | 504),
            Self::Shape(_) => false,
        }
    }

    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "auth_unreachable",
            Self::Status(_) => "auth_status",
            Self::Shape(_) => "auth_shape",
        }
    }
}

#[derive(Deserialize)]
struct Success<T> {
    data: T,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContextQuestion<'a> {
    user_token: &'a str,
    x_org: String,
    applied: AsOf,
}

#[derive(Debug)]
pub(crate) struct AuthClient {
    http: reqwest::Client,
    base: String,
    signer: ServiceSigner,
    clock: Clock,
    answers: AtomicBool,
}

impl AuthClient {
    pub(crate) fn new(http: reqwest::Client, base: &str, signer: ServiceSigner, clock: Clock) -> Self {
        let base = base.trim_end_matches('/').to_owned();
        Self { http, base, signer, clock, answers: AtomicBool::new(false) }
    }

    /// Whether Auth answered when it was last asked.
    pub(crate) fn answers(&self) -> bool {
        self.answers.load(Ordering::Relaxed)
    }

    /// One person's access to one company, computed from at least `minimum`.
    pub(crate) async fn context(
        &self,
        (user_token, org): (&str, &XOrg),
        minimum: AsOf,
        timeout: Duration,
        cause: &Cause,
    ) -> Result<AccessAnswer, AskError> {
        let path = "/internal/v1/access-context";
        let question = ContextQuestion { user_token, x_org: org.to_string(), applied: minimum };
        let request = self.http.post(format!("{}{path}", self.base)).json(&question);
        let here = cause.step();
        let asking = self.send(request, ("POST", path), timeout, (here, cause.label.clone()));
        let Some(parent) = cause.trace else { return asking.await };
        let span = tracing::error_span!(
            "ask",
            trace_id = %here.trace_id(),
            span_id = %here.span_id(),
            parent_span_id = %parent.span_id(),
            span_kind = "client",
            sampled = here.is_sampled(),
            request_id = cause.label(),
            callee = CALLEE,
            path,
        );
        asking.instrument(span).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
        (method, path): (&str, &str),
        timeout: Duration,
        (step, label): (TraceParent, Option<HeaderValue>),
    ) -> Result<T, AskError> {
        let (name, trace) = trace_header(step);
        let request = request.header(name, trace);
        let request = if let Some(label) = label { request.header(X_REQUEST_ID, label) } else { request };
        // A token is good once, so every attempt has its own.
        let token = self.signer.token(CALLEE, method, path, self.clock.now());
        let answer = request.bearer_auth(token).timeout(timeout).send().await;
        let answer = answer.map_err(reqwest::Error::without_url);
        self.answers.store(answer.is_ok(), Ordering::Relaxed);
        let answer = answer.map_err(AskError::Unreachable)?;
        if !answer.status().is_success() {
            return Err(AskError::Status(answer.status().as_u16()));
        }
        answer.json::<Success<T>>().await.map(|success| success.data).map_err(|error| {
            if error.is_decode() {
                AskError::Shape(error.without_url())
            } else {
                AskError::Unreachable(error.without_url())
            }
        })
    }
}

impl Source for AuthClient {
    fn heads(&self) -> BoxFuture<'_, Result<Heads, SourceError>> {
        let path = "/internal/v1/heads";
        let request = self.http.get(format!("{}{path}", self.base));
        Box::pin(async move { self.send(request, ("GET", path), HEADS_TIMEOUT, alone()).await.map_err(failed) })
    }

    fn page(&self, log: Log, after: Position) -> BoxFuture<'_, Result<AccessPage, SourceError>> {
        let path = format!("/internal/v1/log/{log}");
        let url = format!("{}{path}?after={after}&limit={PAGE_LEN}&class=access", self.base);
        let request = self.http.get(url);
        Box::pin(async move { self.send(request, ("GET", &path), PAGE_TIMEOUT, alone()).await.map_err(failed) })
    }

    fn revocations(&self) -> BoxFuture<'_, Result<Revocations, SourceError>> {
        let path = "/internal/v1/revocations";
        let request = self.http.get(format!("{}{path}?after=0", self.base));
        Box::pin(async move { self.send(request, ("GET", path), PAGE_TIMEOUT, alone()).await.map_err(failed) })
    }
}

/// A request that no other causes begins a trace.
fn alone() -> (TraceParent, Option<HeaderValue>) {
    (Cause::default().step(), None)
}

fn failed(error: AskError) -> SourceError {
    SourceError(Box::new(error))
}
