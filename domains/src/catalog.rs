//! The catalog: modules with their permissions, and the packages and add-ons that modules are sold in.
//!
//! It owns what exists and what is on sale. It refuses to know who bought it: an offer is copied into the buyer's
//! schedule, so a later version changes nobody's access.

pub mod addon;
pub mod module;
pub mod package;
mod versions;

pub use versions::{PublishError, RetireVersionError, Version};
