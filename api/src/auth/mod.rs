//! Auth: who somebody is, which companies they belong to, and the access context that follows.
//!
//! It owns identity's commands, its public and internal routes, and the answer to "what may this person do here". It
//! refuses to know what a company pays for (Core does) and what a backend does with a permission.

mod access;
#[cfg(feature = "bench")]
pub mod bench;
mod companies;
mod config;
mod cookie;
mod credentials;
mod factors;
mod failed_signins;
mod internal;
mod keyring;
mod limiter;
mod lists;
mod login;
mod logout;
mod logout_all;
mod logs;
mod lookup;
mod mail;
mod me;
mod my_access;
mod my_companies;
mod passwords;
mod peers;
mod people;
mod person;
mod race;
mod redis;
mod refresh;
mod seal;
mod session_list;
mod sessions;
mod signed_in;
mod staff;
mod start;
mod stragglers;
mod tokens;
mod well_known;

use self::{
    access::Access,
    factors::{Challenges, Passkeys},
    failed_signins::FailedSignins,
    keyring::Keys,
    limiter::{Limiter, LoginLimiter, RotationLimiter},
    logs::Logs,
    lookup::LookupKey,
    passwords::Passwords,
    peers::Peer,
    people::ErasureLedger,
    redis::Redis,
    seal::Seal,
    tokens::{AccessTokens, MailedKey, RefreshKey},
};
use crate::shared::ambient::Clock;
use http::HeaderValue;
use kisum_domains::session::RefreshPolicy;
use kisum_events::Cursor;
use kisum_guard::TokenVerifier;
use kisum_log::{Append, AppendError, EventLog, Receipt};
use kisum_projectors::Progress;
use std::{sync::Arc, time::Duration};

pub use start::{connections, run};

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
    keys: Keys,
    access_tokens: AccessTokens,
    verifier: TokenVerifier,
    refresh_key: RefreshKey,
    redis: Redis,
    seal: Seal,
    lifetimes: Lifetimes,
    /// Origins whose pages may send the refresh cookie.
    origins: Vec<HeaderValue>,
    /// Both logs, as guards are told of them.
    logs: Logs,
    /// How far entitlements are folded here.
    entitlements: Progress,
    /// How far the catalog is folded here.
    catalog: Progress,
    /// How far the audit of companies is.
    audit: Progress,
    /// How far the list of members is.
    member_list: Progress,
    /// How far the list of sessions is.
    session_list: Progress,
    /// How far the list of invitations is.
    invitation_list: Progress,
    /// How often anything but a sign-in may be asked for.
    limits: Limiter,
    /// How often a session rotates its token.
    rotations: RotationLimiter,
    /// Derives what is mailed.
    mailed_key: MailedKey,
    /// Proofs that have begun.
    challenges: Challenges,
    /// Who knows what companies bought.
    core: Peer,
    /// Whether companies change their own purchases.
    self_service_billing: bool,
    /// The relying party of passkeys.
    passkeys: Passkeys,
    /// Erasures, outside the database.
    ledger: ErasureLedger,
    /// Failed sign-ins that are not in the log yet.
    failed_signins: FailedSignins,
}

impl Auth {
    /// Makes an append; what is kept of whom it is about is not believed until the event has come back.
    ///
    /// # Errors
    /// [`AppendError`], as the log says.
    async fn append(&self, append: Append) -> Result<Receipt, AppendError> {
        let written = append.access_writes();
        let receipt = self.log.append(append).await?;
        if let Some((streams, last)) = written {
            let at = Cursor { epoch: receipt.epoch, position: receipt.first.saturating_add(last) };
            self.access.memory.written(&streams, at);
        }
        Ok(receipt)
    }
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
    /// How long others may keep the key set.
    key_set: Duration,
}

impl Lifetimes {
    const fn refresh_policy(&self) -> RefreshPolicy {
        RefreshPolicy { idle_ttl: self.idle, access_token_ttl: self.access }
    }
}
