//! A person's standing, as staff change it: suspended, back, erased.
//!
//! It owns the appends: what else ends with the change ends in the same one. The rules are `kisum_domains::user`'s.

mod erase;
mod ledger;
mod standing;

pub(super) use erase::{Affected, Confirmed, affected, erase};
pub(super) use ledger::ErasureLedger;
pub(super) use standing::{Change, change};
