//! Names of streams: one stream per aggregate, `{kind}-{id}`.

use crate::{
    AddonKey, CompanyId, DelegationId, InvitationId, MembershipId, ModuleKey, PackageKey, RoleId, SessionId, Timestamp,
    UserId,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Characters of a UUID with its hyphens.
const UUID_CHARS: usize = 36;

/// The name of one stream, as the log's primary key of its state.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamName(String);

impl StreamName {
    /// The stream of a person.
    pub fn user(id: UserId) -> Self {
        Self(format!("user-{id}"))
    }
    /// The stream of a session.
    pub fn session(id: SessionId) -> Self {
        Self(format!("session-{id}"))
    }
    /// The stream of a company as a tenant, in the auth log.
    pub fn company(id: CompanyId) -> Self {
        Self(format!("company-{id}"))
    }
    /// The stream of a membership.
    pub fn membership(id: MembershipId) -> Self {
        Self(format!("membership-{id}"))
    }
    /// The stream of a company's named role.
    pub fn role(id: RoleId) -> Self {
        Self(format!("role-{id}"))
    }
    /// The stream of a delegation.
    pub fn delegation(id: DelegationId) -> Self {
        Self(format!("delegation-{id}"))
    }
    /// The stream of a catalog module, in the core log.
    pub fn module(key: &ModuleKey) -> Self {
        Self(format!("module-{key}"))
    }
    /// The stream of a catalog package, in the core log.
    pub fn package(key: &PackageKey) -> Self {
        Self(format!("package-{key}"))
    }
    /// The stream of a catalog add-on, in the core log.
    pub fn addon(key: &AddonKey) -> Self {
        Self(format!("addon-{key}"))
    }
    /// The stream of what a company bought, in the core log.
    pub fn subscription(id: CompanyId) -> Self {
        Self(format!("subscription-{id}"))
    }
    /// The stream of the keys that sign access tokens, in the auth log.
    pub fn keyring() -> Self {
        Self("keyring".to_owned())
    }
    /// The stream of a person as staff.
    pub fn staff(id: UserId) -> Self {
        Self(format!("staff-{id}"))
    }
    /// The stream of failed attempts to sign in to an account, on the UTC day of `at`.
    pub fn signin(id: UserId, at: Timestamp) -> Self {
        let text = at.to_string();
        let day = text.get(..10).unwrap_or_default();
        Self(format!("signin-{id}-{day}"))
    }
    /// The stream of an invitation.
    pub fn invitation(id: InvitationId) -> Self {
        Self(format!("invitation-{id}"))
    }
    /// The person whose account the stream is about, where its name says so.
    pub fn person(&self) -> Option<UserId> {
        match self.kind() {
            "user" | "staff" => self.id().parse().ok(),
            "signin" => self.id().get(..UUID_CHARS)?.parse().ok(),
            _ => None,
        }
    }
    /// The stream of the log's own events.
    pub fn log() -> Self {
        Self("log".to_owned())
    }

    /// A name as it was stored.
    pub fn from_stored(name: String) -> Self {
        Self(name)
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the first hyphen: the kind of aggregate.
    pub fn kind(&self) -> &str {
        self.0.split_once('-').map_or(self.0.as_str(), |(kind, _)| kind)
    }

    /// What stands behind the first hyphen: the aggregate's id.
    pub fn id(&self) -> &str {
        self.0.split_once('-').map_or("", |(_, id)| id)
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
