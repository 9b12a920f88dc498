//! What a business backend links to be protected: access tokens, `x-org`, the access context, and the proof that
//! what is held is current.
//!
//! It owns the decision "may this request go on", and the problem that says why not. It refuses to know how access
//! is resolved (Auth does), what a permission means, and any database.
//!
//! The rules stand in pure modules (`state` and what it is made of: `contexts`, `ring`, `lease`, `named`); around
//! them `follower` and `proof` bring events and heads in, `ladder` asks Auth, and `guard` turns it all into an answer
//! for one request. This is the first version of `consistency.md`: leases and the fill rule are whole; reading one's
//! own write, strict routes and hedged questions are not there yet. Auth, which resolves access itself, holds the same memory
//! without the ladder (`memory`); whom a memory asks for what the bus did not bring is a `source`.

mod access;
mod answer;
mod auth_client;
#[cfg(feature = "bench")]
pub mod bench;
mod bus;
mod cause;
mod clock;
mod contexts;
mod doubts;
mod ended;
mod flights;
mod follower;
mod guard;
#[cfg(test)]
mod issuer;
mod jwks;
mod jws;
mod ladder;
mod lease;
mod memory;
mod metric_names;
mod named;
mod org;
mod passing;
mod permit;
mod problem;
mod proof;
mod ready;
mod remembered;
mod replay;
mod ring;
#[cfg(test)]
mod samples;
mod service_token;
mod shared;
mod shown;
mod source;
mod state;
mod token;

pub use access::Access;
pub use answer::{Answer, Verdict};
pub use clock::{BootTime, Clock};
pub use guard::{Guard, GuardConfig, StartError};
pub use jwks::{KeySet, KeySetError};
pub use memory::{Asker, Memory};
pub use metric_names::describe_metrics;
pub use named::Named;
pub use org::{X_ORG, XOrg};
pub use permit::{Permission, Permit};
pub use problem::{Problem, reason};
pub use ready::GuardReady;
pub use service_token::{Caller, ServiceSigner, ServiceTrust, SigningKeyError, TrustError};
pub use source::{AccessPage, PAGE_LEN, Revocations, Revoked, Source, SourceError};
pub use token::{AccessClaims, TokenVerifier, bearer};
