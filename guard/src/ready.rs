//! What a guard's readiness rests on, by name.

use serde::Serialize;

/// The guard's part of `/ready`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GuardReady {
    /// Keys to check tokens with are held.
    pub jwks: bool,
    /// The bus is connected. Not required: heads and logs go over HTTP without it.
    pub nats: bool,
    /// Auth answered when it was last asked.
    pub auth: bool,
    /// What is applied of the auth log is proven current.
    pub auth_lease: bool,
    /// What is applied of the core log is proven current.
    pub core_lease: bool,
}

impl GuardReady {
    /// Whether requests can be answered: tokens can be checked, and answers are either proven or can be asked for.
    pub const fn is_ready(&self) -> bool {
        self.jwks && self.core_lease && (self.auth || self.auth_lease)
    }
}
