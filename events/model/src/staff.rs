//! Events of a person as one of the platform's staff: stream `staff-{userId}`, claims on the first owner and on each.

use crate::event::events;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// What somebody may do for the platform (contract, *Admin*). No role gives a membership of a company.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StaffRole {
    /// Staff themselves.
    PlatformOwner,
    /// Companies, subscriptions, people's standing.
    PlatformOperator,
    /// The catalog.
    CatalogEditor,
    /// Reads.
    Support,
}

impl StaffRole {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::PlatformOwner, Self::PlatformOperator, Self::CatalogEditor, Self::Support];

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PlatformOwner => "PLATFORM_OWNER",
            Self::PlatformOperator => "PLATFORM_OPERATOR",
            Self::CatalogEditor => "CATALOG_EDITOR",
            Self::Support => "SUPPORT",
        }
    }
}

impl fmt::Display for StaffRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for StaffRole {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|role| role.name() == text);
        known.ok_or_else(|| format!("'{text}' is no staff role"))
    }
}

events! {
    /// What happens to somebody as staff.
    StaffEvent {
        /// They have a role.
        RoleGranted = "staff.role_granted" Widens {
            /// Which.
            role: StaffRole,
        },
        /// They have it no longer.
        RoleRevoked = "staff.role_revoked" Narrows {
            /// Which.
            role: StaffRole,
        },
    }
}
