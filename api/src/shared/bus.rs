//! A connection to NATS: one user a service, its own inbox prefix, reconnecting for ever with full jitter.
//!
//! It refuses to know any subject.

use super::{ambient, config::Secret, server::ServeError};
use async_nats::{Client, ConnectOptions, connection::State};
use std::{error::Error, time::Duration};

/// How long a command waits for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How a connection that was lost is made again: after a random time, up to a bound that doubles.
#[derive(Clone, Copy, Debug)]
pub struct Reconnect {
    /// The first bound and the last, in ms.
    wait_ms: (u64, u64),
    /// How long one attempt may take.
    attempt: Duration,
}

impl Reconnect {
    /// For the many (`consistency.md`, *Herds*).
    pub const SPREAD: Self = Self { wait_ms: (50, 5_000), attempt: Duration::from_secs(5) };
    /// For the few that everybody waits for: a relay resumes within a second.
    pub const AT_ONCE: Self = Self { wait_ms: (10, 100), attempt: Duration::from_millis(250) };

    fn wait(self, attempts: usize) -> Duration {
        let (least, most) = self.wait_ms;
        let doublings = u32::try_from(attempts.min(10)).unwrap_or(10);
        let bound = least.saturating_mul(2_u64.saturating_pow(doublings)).min(most);
        let drawn = ambient::random::<8>().map(u64::from_le_bytes).unwrap_or(0);
        Duration::from_millis(drawn % bound.saturating_add(1))
    }
}

/// Connects, or goes on trying in the background while NATS is down: nothing that NATS carries is needed to start.
///
/// # Errors
/// [`ServeError::Dependency`] when the address or the credentials are refused.
pub async fn connect(
    variable: &'static str,
    url: &Secret,
    user: &str,
    reconnect: Reconnect,
) -> Result<Client, ServeError> {
    let refused = |source| ServeError::Dependency { name: variable, source: Box::new(source) };
    options(url)
        .map_err(refused)?
        .name(format!("kisum-{user}"))
        .custom_inbox_prefix(format!("_INBOX.{user}"))
        .connection_timeout(reconnect.attempt)
        .retry_on_initial_connect()
        .reconnect_delay_callback(move |attempts| reconnect.wait(attempts))
        .event_callback(|event| async move { tracing::info!(event = "nats.connection", state = %event) })
        .connect(url.expose())
        .await
        .map_err(|source| ServeError::Dependency { name: variable, source: Box::new(source) })
}

/// Connects once, for a command that somebody waits for: a server that is down is an error.
///
/// # Errors
/// When nobody answers in time, or the credentials are refused.
pub async fn connect_once(url: &Secret, user: &str) -> Result<Client, Box<dyn Error + Send + Sync>> {
    let connecting = options(url)?
        .name(format!("kisum-{user}"))
        .custom_inbox_prefix(format!("_INBOX.{user}"))
        .connection_timeout(CONNECT_TIMEOUT)
        .connect(url.expose());
    // The client's own limit is for one address; a name may have several.
    Ok(tokio::time::timeout(CONNECT_TIMEOUT, connecting).await??)
}

/// Connects once, as somebody who proves to hold an nkey: a subscriber.
///
/// # Errors
/// When nobody answers in time, or the key is refused.
pub async fn connect_with_nkey(url: &str, seed: &str, user: &str) -> Result<Client, Box<dyn Error + Send + Sync>> {
    let connecting = ConnectOptions::with_nkey(seed.to_owned())
        .name(format!("kisum-{user}"))
        .custom_inbox_prefix(format!("_INBOX.{user}"))
        .connection_timeout(CONNECT_TIMEOUT)
        .connect(url);
    Ok(tokio::time::timeout(CONNECT_TIMEOUT, connecting).await??)
}

/// The client takes credentials from its options alone and ignores those in an address.
fn options(url: &Secret) -> Result<ConnectOptions, std::io::Error> {
    let address: async_nats::ServerAddr = url.expose().parse()?;
    let credentials = address.username().zip(address.password());
    Ok(match credentials {
        Some((user, password)) => ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned()),
        None => ConnectOptions::new(),
    })
}

/// Whether NATS is connected, for `/ready`.
///
/// # Errors
/// A sentence for operators.
pub async fn ping(nats: Client) -> Result<(), String> {
    match nats.connection_state() {
        State::Connected => Ok(()),
        State::Pending | State::Disconnected => Err("NATS is not connected".to_owned()),
    }
}
