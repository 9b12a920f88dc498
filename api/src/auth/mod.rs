//! Auth: who somebody is, which companies they belong to, and the access context that follows.
//!
//! It owns identity's commands, its public and internal routes, and the answer to "what may this person do here". It
//! refuses to know what a company pays for (Core does) and what a backend does with a permission.

mod access;
mod companies;
mod config;
mod cookie;
mod internal;
mod limiter;
mod lists;
mod login;
mod logout;
mod lookup;
mod me;
mod my_access;
mod my_companies;
mod passwords;
mod peers;
mod person;
mod race;
mod redis;
mod refresh;
mod seal;
mod session_list;
mod sessions;
mod signed_in;
mod start;
mod tokens;
mod well_known;

use self::{
    access::Access,
    limiter::LoginLimiter,
    lookup::LookupKey,
    passwords::Passwords,
    peers::Peer,
    redis::Redis,
    seal::Seal,
    tokens::{AccessTokens, RefreshKey},
};
use crate::shared::ambient::Clock;
use http::HeaderValue;
use kisum_domains::session::RefreshPolicy;
use kisum_guard::TokenVerifier;
use kisum_log::EventLog;
use kisum_projectors::Progress;
use std::{sync::Arc, time::Duration};

pub use start::run;

/// What Auth's handlers work with. Cheap to clone.
#[derive(Clone)]
struct Auth(Arc<Parts>);

struct Parts {
    clock: Clock,
    log: EventLog,
    access: Access,
    passwords: Passwords,
    limiter: LoginLimiter,
    lookup: LookupKey,
    access_tokens: AccessTokens,
    verifier: TokenVerifier,
    refresh_key: RefreshKey,
    redis: Redis,
    seal: Seal,
    lifetimes: Lifetimes,
    /// Origins whose pages may send the refresh cookie.
    origins: Vec<HeaderValue>,
    /// Relays of the auth log.
    auth_relay: Peer,
    /// Relays of the core log.
    core_relay: Peer,
    /// How far entitlements are folded here.
    entitlements: Progress,
    /// How far the catalog is folded here.
    catalog: Progress,
    /// How far the list of members is.
    member_list: Progress,
    /// How far the list of sessions is.
    session_list: Progress,
}

impl std::ops::Deref for Auth {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// How long things last.
#[derive(Clone, Copy, Debug)]
struct Lifetimes {
    access: Duration,
    idle: Duration,
    absolute: Duration,
}

impl Lifetimes {
    const fn refresh_policy(&self) -> RefreshPolicy {
        RefreshPolicy { idle_ttl: self.idle, access_token_ttl: self.access }
    }
}
