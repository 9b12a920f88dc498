//! Sessions of people who did not sign in, for `bench auth` alone: a hundred thousand sign-ins would hash passwords for
//! half an hour.
//!
//! It owns nothing but the short cut. What is appended, and the token that is good for it, are what a sign-in makes.

use super::tokens::RefreshKey;
use anyhow::Context as _;
use kisum_domains::{
    User,
    session::{self, Session, StartSession},
};
use kisum_events::{Actor, AuthMethod, Meta, SessionId, StreamName, UserId};
use kisum_log::{Append, EventLog, Loaded};
use std::time::Duration;

use crate::shared::ambient::{self, Clock};

/// A day: longer than anything is measured.
const TTL: Duration = Duration::from_secs(24 * 3600);

/// Starts so many sessions of a person by one append, at most 256, and returns the refresh token of each.
///
/// # Errors
/// When the log cannot be read or written.
pub async fn start_sessions(
    log: &EventLog,
    refresh_key: &[u8],
    person: UserId,
    count: usize,
) -> anyhow::Result<Vec<String>> {
    let key = RefreshKey::new(refresh_key);
    let user: Loaded<User> = log.load(&StreamName::user(person)).await?;
    let request = ambient::new_request_id();
    let mut append = Append::new(request, Meta::new(Actor::User(person), request));
    append.guard(&user);
    let mut tokens = Vec::with_capacity(count);
    for _ in 0..count {
        let id = SessionId::new(ambient::new_id());
        let token = key.first(id)?;
        let command = StartSession {
            user_id: person,
            amr: vec![AuthMethod::Pwd],
            token_hash: token.hash(),
            ip: Some("192.0.2.1".to_owned()),
            agent: Some("bench".to_owned()),
            idle_ttl: TTL,
            absolute_ttl: TTL,
            user_version: user.version,
        };
        let session = Loaded::<Session>::new_stream(StreamName::session(id));
        let events = session::start(&session.state, command, Clock::system().now())?;
        append.write(&session, events)?;
        tokens.push(token.reveal());
    }
    log.append(append).await.context("the sessions")?;
    Ok(tokens)
}
