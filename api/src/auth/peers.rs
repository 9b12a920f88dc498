//! Calls to other services' internal listeners: Core, and the relays that serve the logs.
//!
//! It owns signing, time-outs and, where one only asks, the fall-back to the next replica. It refuses to know what an answer means.

use crate::shared::{
    access_position::X_ACCESS_POSITION,
    actor::X_ACTOR_TOKEN,
    ambient::{Clock, Stopwatch},
    config::Secret,
    idempotency::IDEMPOTENCY_KEY,
    request_label::X_REQUEST_ID,
    trace::{self, TRACEPARENT},
};
use axum::body::Bytes;
use http::{Method, StatusCode};
use kisum_events::TraceParent;
use kisum_guard::ServiceSigner;
use serde::{Deserialize, de::DeserializeOwned};
use std::{sync::Arc, time::Duration};
use tracing::Instrument as _;
use uuid::Uuid;

/// Longest wait for a connection: these are neighbours.
const CONNECT_MS_MAX: u64 = 500;

/// Why another service gave no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeerError {
    /// It could not be reached, or took too long.
    #[error("{callee} cannot be reached")]
    Unreachable {
        /// Which.
        callee: &'static str,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// It answered with a problem.
    #[error("{callee} answered {status}")]
    Refused {
        /// Which.
        callee: &'static str,
        /// With which status.
        status: u16,
    },
    /// There is nobody to ask.
    #[error("no address of {callee} is configured")]
    Nobody {
        /// Which.
        callee: &'static str,
    },
}

/// An answer and how long it took, so that ages can be added up.
#[derive(Debug)]
pub(super) struct Answer<T> {
    /// The `data` of the answer.
    pub(super) data: T,
    /// From asking to having read it.
    pub(super) took: Duration,
}

/// A command for another service, on a person's account.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command<'a> {
    /// The method.
    pub(super) method: &'a Method,
    /// The path.
    pub(super) path: &'a str,
    /// The person's access token.
    pub(super) actor_token: &'a Secret,
    /// `Idempotency-Key`, where the person sent one.
    pub(super) idempotency_key: Option<Uuid>,
    /// The request's label.
    pub(super) label: &'a str,
}

/// Whatever was answered to a command.
#[derive(Debug)]
pub(super) struct Reply {
    /// The status.
    pub(super) status: StatusCode,
    /// `X-Access-Position`, as it stands there.
    pub(super) position: Option<String>,
    /// The body.
    pub(super) body: Bytes,
}

#[derive(Deserialize)]
struct Success<T> {
    data: T,
}

/// A service with one or several replicas, each of which knows the answer.
#[derive(Clone)]
pub(super) struct Peer {
    callee: &'static str,
    bases: Arc<[String]>,
    http: reqwest::Client,
    signer: ServiceSigner,
    clock: Clock,
}

/// Builds the client that all peers share.
///
/// # Errors
/// When its TLS cannot be set up.
pub(super) fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .connect_timeout(Duration::from_millis(CONNECT_MS_MAX))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
}

impl Peer {
    /// The service `callee`, reached at any of `bases`.
    pub(super) fn new(
        callee: &'static str,
        bases: Vec<String>,
        http: reqwest::Client,
        signer: ServiceSigner,
        clock: Clock,
    ) -> Self {
        Self { callee, bases: bases.into(), http, signer, clock }
    }

    /// `GET path?query`, asked of one replica after the other until one answers; `patience` is for each.
    ///
    /// # Errors
    /// [`PeerError`] of the last one asked.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        patience: Duration,
    ) -> Result<Answer<T>, PeerError> {
        let mut last = PeerError::Nobody { callee: self.callee };
        for base in self.bases.iter() {
            match self.get_from(base, path, query, patience).await {
                Ok(answer) => return Ok(answer),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// `GET path?query` of one replica.
    ///
    /// # Errors
    /// [`PeerError`] when it does not answer in time, or refuses.
    pub(super) async fn get_from<T: DeserializeOwned>(
        &self,
        base: &str,
        path: &str,
        query: &[(&str, String)],
        patience: Duration,
    ) -> Result<Answer<T>, PeerError> {
        let (here, parent) = (trace::step(), trace::current());
        let asking = self.ask(base, path, query, (patience, here));
        let Some(parent) = parent else { return asking.await };
        let span = tracing::error_span!(
            "ask",
            trace_id = %here.trace_id(),
            span_id = %here.span_id(),
            parent_span_id = %parent.span_id(),
            span_kind = "client",
            sampled = here.is_sampled(),
            callee = self.callee,
            path,
        );
        asking.instrument(span).await
    }

    /// Sends a command with an empty body to the first replica, once: whether it was carried out where no answer came, only
    /// whoever sends it again under the same key can tell.
    ///
    /// # Errors
    /// [`PeerError`] when no answer comes in time.
    pub(super) async fn send(&self, command: Command<'_>, patience: Duration) -> Result<Reply, PeerError> {
        let callee = self.callee;
        let unreachable = |source| PeerError::Unreachable { callee, source };
        let base = self.bases.first().ok_or(PeerError::Nobody { callee })?;
        let Command { method, path, actor_token, idempotency_key, label } = command;
        let here = trace::step();
        let mut request = self
            .http
            .request(method.clone(), format!("{base}{path}"))
            .bearer_auth(self.signer.token(callee, method.as_str(), path, self.clock.now()))
            .header(X_ACTOR_TOKEN, actor_token.expose())
            .header(X_REQUEST_ID, label)
            .header(TRACEPARENT, here.to_string())
            .timeout(patience);
        if let Some(key) = idempotency_key {
            request = request.header(IDEMPOTENCY_KEY, key.to_string());
        }
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let position = response.headers().get(X_ACCESS_POSITION).and_then(|value| value.to_str().ok());
        let position = position.map(str::to_owned);
        let body = response.bytes().await.map_err(unreachable)?;
        Ok(Reply { status, position, body })
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        base: &str,
        path: &str,
        query: &[(&str, String)],
        (patience, here): (Duration, TraceParent),
    ) -> Result<Answer<T>, PeerError> {
        let callee = self.callee;
        let unreachable = |source| PeerError::Unreachable { callee, source };
        let watch = Stopwatch::start();
        let response = self
            .http
            .get(format!("{base}{path}"))
            .query(query)
            .bearer_auth(self.signer.token(callee, "GET", path, self.clock.now()))
            .header(TRACEPARENT, here.to_string())
            .timeout(patience)
            .send()
            .await
            .map_err(unreachable)?;
        let status = response.status();
        if !status.is_success() {
            return Err(PeerError::Refused { callee, status: status.as_u16() });
        }
        let answer: Success<T> = response.json().await.map_err(unreachable)?;
        Ok(Answer { data: answer.data, took: watch.elapsed() })
    }
}
