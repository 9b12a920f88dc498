//! `Idempotency-Key`: the same command sent twice is carried out once (contract, *HTTP*).
//!
//! It owns the header's form, the scope of a key and the hash of the body. It refuses to remember anything: the log's
//! request ids do.

use super::{
    access_position::AccessPosition,
    ambient,
    extract::{body_bytes, header_text, is_json, read_json},
    problem::{self, Problem},
    trace,
};
use axum::extract::{FromRequest, FromRequestParts, Request};
use http::request::Parts;
use kisum_events::{Actor, CompanyId, Cursor, Log, Meta, RequestId};
use kisum_log::{Append, AppendError, EventLog};
use serde::de::DeserializeOwned;
use uuid::Uuid;

/// The header's name.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Who sends which command for whom: keys of different scopes never meet.
#[derive(Clone, Copy, Debug)]
pub struct CommandScope<'a> {
    /// The log that the command writes.
    pub log: Log,
    /// Who acts.
    pub actor: &'a Actor,
    /// The company it is about, where it is about one.
    pub company: Option<CompanyId>,
    /// The command's name and what it names beside the body, such as `subscription.set`.
    pub command: &'a str,
    /// The request's label.
    pub correlation: &'a str,
}

/// What identifies a command that was sent.
#[derive(Clone, Copy, Debug)]
pub struct Idempotency {
    key: Option<Uuid>,
    body_hash: [u8; 32],
}

impl Idempotency {
    fn of(parts: &Parts, body: &[u8]) -> Result<Self, Problem> {
        let key = match header_text(&parts.headers, IDEMPOTENCY_KEY)? {
            None => None,
            Some(text) => Some(
                Uuid::try_parse(text).map_err(|_| Problem::validation("The header Idempotency-Key is not a UUID."))?,
            ),
        };
        Ok(Self { key, body_hash: sha256(body) })
    }

    /// The key that the client named.
    pub const fn key(&self) -> Option<Uuid> {
        self.key
    }

    /// SHA-256 of the body, byte for byte as it was sent.
    pub const fn body_hash(&self) -> &[u8; 32] {
        &self.body_hash
    }

    /// Whether the client named a key.
    pub const fn is_keyed(&self) -> bool {
        self.key.is_some()
    }

    /// The append that carries the command out: under a key, the same append however often it is sent.
    pub fn append(&self, scope: CommandScope<'_>) -> Append {
        let request = self.request_id(scope);
        let correlation_id = Some(scope.correlation.to_owned());
        let meta = Meta { correlation_id, traceparent: trace::current(), ..Meta::new(scope.actor.clone(), request) };
        let append = Append::new(request, meta);
        if self.is_keyed() { append.with_body_hash(self.body_hash) } else { append }
    }

    /// Where the same command was carried out before, so that a repetition is answered and not decided again.
    ///
    /// # Errors
    /// 409 when the key was used with another body; 503 when the log cannot be read.
    pub async fn earlier(&self, log: &EventLog, scope: CommandScope<'_>) -> Result<Option<AccessPosition>, Problem> {
        if !self.is_keyed() {
            return Ok(None);
        }
        let request = self.request_id(scope);
        let row = sqlx::query!("select body_hash, last_position from request where id = $1", request.uuid())
            .fetch_optional(log.pool())
            .await
            .map_err(problem::of_query)?;
        let Some(row) = row else { return Ok(None) };
        if row.body_hash.is_some_and(|hash| hash != self.body_hash) {
            return Err(problem::of_append(AppendError::RequestReused));
        }
        let epoch = log.head().await.map_err(problem::of_load)?.epoch;
        let position = u64::try_from(row.last_position).unwrap_or(0);
        Ok(Some(AccessPosition { log: log.log(), cursor: Cursor { epoch, position } }))
    }

    fn request_id(&self, scope: CommandScope<'_>) -> RequestId {
        let Some(key) = self.key else { return ambient::new_request_id() };
        let company = scope.company.map(|id| id.to_string()).unwrap_or_default();
        RequestId::derived(scope.log, &format!("{}|{company}|{}|{key}", scope.actor, scope.command))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Idempotency {
    type Rejection = Problem;

    /// For commands without a body.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(parts, &[])
    }
}

/// A command's body with what identifies it. An absent body counts as `{}`, so that a command whose fields are all
/// optional needs none.
#[derive(Clone, Copy, Debug)]
pub struct ApiCommand<T> {
    /// The body.
    pub body: T,
    /// What identifies the command.
    pub idempotency: Idempotency,
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for ApiCommand<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let json = is_json(request.headers());
        let (parts, body) = request.into_parts();
        let bytes = body_bytes(Request::from_parts(parts.clone(), body), state).await?;
        if !json && !bytes.is_empty() {
            return Err(Problem::unsupported_media_type());
        }
        let idempotency = Idempotency::of(&parts, &bytes)?;
        let body = read_json(if bytes.is_empty() { b"{}" } else { &bytes })?;
        Ok(Self { body, idempotency })
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let mut hash = [0; 32];
    hash.copy_from_slice(digest.as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use kisum_events::UserId;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    struct Window {
        #[serde(default)]
        until: Option<String>,
    }

    async fn command(key: Option<&str>, body: &'static str) -> Result<ApiCommand<Window>, Problem> {
        let mut request = Request::builder().header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header(IDEMPOTENCY_KEY, key);
        }
        let request = request.body(Body::from(body)).unwrap_or_else(|e| panic!("{e}"));
        ApiCommand::from_request(request, &()).await
    }

    async fn request_id(key: Option<&str>, actor: &Actor, command_name: &str) -> RequestId {
        let sent = command(key, "{}").await.unwrap_or_else(|e| panic!("{e}"));
        sent.idempotency.request_id(CommandScope {
            log: Log::Core,
            actor,
            company: None,
            command: command_name,
            correlation: "test",
        })
    }

    #[tokio::test]
    async fn one_key_names_one_request_per_actor_and_command() {
        let key = Some("3f0a52b6-5e05-4d9c-9d0e-0d3f2f5b8a11");
        let (service, user) = (Actor::Service("admin".to_owned()), Actor::User(UserId::new(Uuid::nil())));
        let first = request_id(key, &service, "subscription.set").await;
        assert_eq!(first, request_id(key, &service, "subscription.set").await);
        assert_ne!(first, request_id(key, &user, "subscription.set").await);
        assert_ne!(first, request_id(key, &service, "subscription.cancel").await);
        let unkeyed = request_id(None, &service, "subscription.set").await;
        assert_ne!(unkeyed, request_id(None, &service, "subscription.set").await);
    }

    #[tokio::test]
    async fn a_key_that_is_no_uuid_is_refused() {
        let refused = command(Some("again"), "{}").await.map(|_| ());
        assert_eq!(refused.map_err(|problem| problem.code), Err("validation_error"));
    }

    #[tokio::test]
    async fn an_absent_body_counts_as_an_empty_object() {
        let sent = command(None, "").await.unwrap_or_else(|e| panic!("{e}"));
        assert!(sent.body.until.is_none());
    }
}
