//! The rules of the platform: for every aggregate its state, the fold of its events, and the decisions that make new
//! events; and the resolution of access from those states.
//!
//! Pure. It refuses to know time, randomness, storage and transport: instants, ids and hashes come as arguments, and a
//! decision answers with events or with the rule that refused it. `evolve` is total, since history already happened.

pub mod access;
pub mod authority;
pub mod catalog;
pub mod company;
pub mod delegation;
pub mod explain;
pub mod holdings;
pub mod invitation;
pub mod keyring;
pub mod membership;
pub mod password;
pub mod role;
pub mod schedule;
pub mod session;
pub mod signin;
pub mod staff;
pub mod subscription;
pub mod user;

pub use authority::{Authority, Catalog, PermissionStanding};
pub use catalog::addon::{self, Addon};
pub use catalog::module::{self, Module};
pub use catalog::package::{self, Package};
pub use company::Company;
pub use delegation::Delegation;
pub use holdings::Holdings;
pub use invitation::Invitation;
pub use keyring::Keyring;
pub use membership::Membership;
pub use role::Role;
pub use session::Session;
pub use signin::Signins;
pub use staff::Staff;
pub use subscription::Subscription;
pub use user::User;
