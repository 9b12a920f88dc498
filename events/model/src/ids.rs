//! Identifiers as newtypes: a raw UUID stops at the edge.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID; ours are version 7, drawn by the caller at the edge.
            pub const fn new(id: Uuid) -> Self {
                Self(id)
            }

            /// The UUID itself, for SQL parameters and keys.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

id!(
    /// One event, unique in the whole platform.
    EventId
);
id!(
    /// One person.
    UserId
);
id!(
    /// One sign-in and its refreshes.
    SessionId
);
id!(
    /// One company, the tenant.
    CompanyId
);
id!(
    /// One person's membership of one company.
    MembershipId
);
id!(
    /// One named role of one company.
    RoleId
);
id!(
    /// One delegation from one member to another.
    DelegationId
);
id!(
    /// One append: the same id twice is the same append, so that it may be sent again after a lost answer.
    RequestId
);
id!(
    /// One secret that was mailed to a person, good once.
    SecretId
);
id!(
    /// One second factor of one person.
    FactorId
);
id!(
    /// One invitation of one address into one company.
    InvitationId
);
