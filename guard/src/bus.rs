//! The guard's connection to the bus.
//!
//! It owns how it is made and made again. Nothing depends on it: what it does not bring is fetched over HTTP.

use crate::{clock::jittered, guard::StartError};
use async_nats::{Client, ConnectOptions, ServerAddr};
use std::time::Duration;

/// Reconnects wait between these (`consistency.md`, herds).
const DELAY_MIN: Duration = Duration::from_millis(50);
const DELAY_MAX: Duration = Duration::from_secs(5);
/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a dead connection may go unnoticed; leases do not wait for it.
const PING_EVERY: Duration = Duration::from_secs(2);

/// Connects in the background, for ever. `service` is also the bus user, which has an inbox of its own.
pub(crate) async fn connect(environment: &str, service: &str, urls: &str) -> Result<Client, StartError> {
    let servers: Result<Vec<ServerAddr>, _> = urls.split(',').map(|url| url.trim().parse()).collect();
    let servers = servers.map_err(StartError::Bus)?;
    // The client takes credentials from its options alone and ignores those in an address.
    let credentials = servers.iter().find_map(|server| server.username().zip(server.password()));
    let options = match credentials {
        Some((user, password)) => ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned()),
        None => ConnectOptions::new(),
    };
    options
        .name(format!("{environment}/{service}/guard"))
        .custom_inbox_prefix(format!("_INBOX.{service}"))
        .retry_on_initial_connect()
        .max_reconnects(None)
        .connection_timeout(CONNECT_TIMEOUT)
        .ping_interval(PING_EVERY)
        .reconnect_delay_callback(delay)
        .connect(servers)
        .await
        .map_err(StartError::Connect)
}

/// Doubles from the least to the most, with full jitter: half of it, give or take all of that half.
fn delay(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts).unwrap_or(u32::MAX).min(7);
    let most = DELAY_MIN.saturating_mul(1 << doublings).min(DELAY_MAX);
    jittered(most / 2, 100).max(DELAY_MIN)
}

#[cfg(test)]
mod tests {
    use super::{DELAY_MAX, DELAY_MIN, delay};

    #[test]
    fn reconnects_stay_within_their_bounds() {
        for attempts in [0, 1, 5, 7, 8, 1000, usize::MAX] {
            let delay = delay(attempts);
            assert!((DELAY_MIN..=DELAY_MAX).contains(&delay), "{attempts}: {delay:?}");
        }
    }
}
