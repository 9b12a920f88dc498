//! Values that never leave Postgres in clear.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A value of the sealed part of an event or state: stored encrypted under a per-person key, absent wherever the
/// public part alone is read (the bus, other services, an erased person).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sealed<T>(Option<T>);

impl<T> Sealed<T> {
    /// A value to be sealed.
    pub const fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// No value: not readable here, or erased.
    pub const fn absent() -> Self {
        Self(None)
    }

    /// The value, where it can be read.
    pub const fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

impl<T> Default for Sealed<T> {
    fn default() -> Self {
        Self::absent()
    }
}

impl<T> fmt::Debug for Sealed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Sealed(…)" } else { "Sealed(absent)" })
    }
}
