//! The parts of a stack: its servers and its services, by name.

use std::{fmt, str::FromStr};

/// One process of a stack. The order is the order of starting; stopping goes backwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The private PostgreSQL server.
    Postgres,
    /// The private NATS server, with JetStream.
    Nats,
    /// The private Redis server.
    Redis,
    /// The relay of the auth log.
    RelayAuth,
    /// The relay of the core log.
    RelayCore,
    /// Core, internal listener only.
    Core,
    /// Auth, both listeners.
    Auth,
    /// The business backend Basic.
    Basic,
    /// The business backend Finance.
    Finance,
}

impl Part {
    /// Every part, in starting order.
    pub const ALL: [Self; 9] = [
        Self::Postgres,
        Self::Nats,
        Self::Redis,
        Self::RelayAuth,
        Self::RelayCore,
        Self::Core,
        Self::Auth,
        Self::Basic,
        Self::Finance,
    ];

    /// The servers, which the services need.
    pub const SERVERS: [Self; 3] = [Self::Postgres, Self::Nats, Self::Redis];

    /// The services: processes of this very binary.
    pub const SERVICES: [Self; 6] =
        [Self::RelayAuth, Self::RelayCore, Self::Core, Self::Auth, Self::Basic, Self::Finance];

    /// The name used for log files, ports, `SERVICE_NAME`, tokens and NATS users.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Nats => "nats",
            Self::Redis => "redis",
            Self::RelayAuth => "relay-auth",
            Self::RelayCore => "relay-core",
            Self::Core => "core",
            Self::Auth => "auth",
            Self::Basic => "basic",
            Self::Finance => "finance",
        }
    }

    /// What `kisum` is told to run for a service; nothing for a server.
    pub const fn serve_arguments(self) -> &'static [&'static str] {
        match self {
            Self::Postgres | Self::Nats | Self::Redis => &[],
            Self::RelayAuth => &["serve", "relay", "--log", "auth"],
            Self::RelayCore => &["serve", "relay", "--log", "core"],
            Self::Core => &["serve", "core"],
            Self::Auth => &["serve", "auth"],
            Self::Basic => &["serve", "basic"],
            Self::Finance => &["serve", "finance"],
        }
    }

    /// The name of the port that the public listener (a server's only one) takes; relays and Core have none.
    pub const fn port(self) -> Option<&'static str> {
        match self {
            Self::Postgres | Self::Nats | Self::Redis | Self::Auth | Self::Basic | Self::Finance => Some(self.name()),
            Self::RelayAuth | Self::RelayCore | Self::Core => None,
        }
    }

    /// The name of the port that the internal listener takes; servers have none.
    pub const fn ops_port(self) -> Option<&'static str> {
        match self {
            Self::Postgres | Self::Nats | Self::Redis => None,
            Self::RelayAuth => Some("relay-auth-ops"),
            Self::RelayCore => Some("relay-core-ops"),
            Self::Core => Some("core-ops"),
            Self::Auth => Some("auth-ops"),
            Self::Basic => Some("basic-ops"),
            Self::Finance => Some("finance-ops"),
        }
    }

    /// Every port name of every part, in a stable order.
    pub fn all_ports() -> Vec<&'static str> {
        Self::ALL.iter().flat_map(|part| [part.port(), part.ops_port()]).flatten().collect()
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Part {
    type Err = UnknownPart;
    fn from_str(text: &str) -> Result<Self, UnknownPart> {
        Self::ALL.into_iter().find(|part| part.name() == text).ok_or_else(|| UnknownPart(text.to_owned()))
    }
}

/// A name that no part has.
#[derive(Debug, thiserror::Error)]
#[error("a stack has no part named {0}")]
pub struct UnknownPart(String);
