//! Where something stands in a log, and what an event does to access.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A place in one log: 1, 2, 3, … without holes; 0 is before the first event. Position order is commit order.
pub type Position = u64;

/// The two logs that everything else is a fold of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Log {
    /// Identity: people, sessions, companies, memberships, grants.
    Auth,
    /// Commerce: catalog, subscriptions, entitlements.
    Core,
}

impl Log {
    /// `auth` or `core`, as in subjects, paths and headers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Core => "core",
        }
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Log {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auth" => Ok(Self::Auth),
            "core" => Ok(Self::Core),
            other => Err(format!("unknown log '{other}': it is auth or core")),
        }
    }
}

/// A position and the epoch that it belongs to. A restored or promoted database can use positions again, so a
/// position alone proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cursor {
    /// Epoch number, from 1; 0 only in a cursor that has seen nothing.
    pub epoch: u32,
    /// Position within that epoch.
    pub position: Position,
}

/// What an answer about access was computed from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsOf {
    /// Head of the auth log in the answering snapshot.
    pub auth: Cursor,
    /// Checkpoint of the entitlement projection in the same snapshot.
    pub core: Cursor,
}

/// What an event does to somebody's access. An event that does both counts as narrowing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// It can take access away.
    Narrows,
    /// It can only add access.
    Widens,
    /// It cannot change access.
    None,
}

impl Effect {
    /// `narrows`, `widens` or `none`, as stored and sent.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Narrows => "narrows",
            Self::Widens => "widens",
            Self::None => "none",
        }
    }

    /// The class that follows: whatever can change access is `access`.
    pub const fn class(self) -> Class {
        match self {
            Self::Narrows | Self::Widens => Class::Access,
            Self::None => Class::Info,
        }
    }
}

impl FromStr for Effect {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "narrows" => Ok(Self::Narrows),
            "widens" => Ok(Self::Widens),
            "none" => Ok(Self::None),
            other => Err(format!("unknown effect '{other}'")),
        }
    }
}

/// The part of a subject that guards subscribe by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Can change somebody's access.
    Access,
    /// Everything else.
    Info,
}

impl Class {
    /// `access` or `info`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Info => "info",
        }
    }
}

impl FromStr for Class {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "access" => Ok(Self::Access),
            "info" => Ok(Self::Info),
            other => Err(format!("unknown class '{other}': it is access or info")),
        }
    }
}
