//! The developer's machine: private servers, their data, their secrets, and every service as a supervised child.
//!
//! `kisum up` and the test harness run the very same code, so what a test proves holds for what a developer sees.
//! Nothing here decides anything about access, and nothing here is meant for production: there, the same services
//! (`kisum serve …`) and the same migrations (`kisum migrate …`) run under whatever the operator uses.

pub mod account;
pub mod child;
pub mod connections;
pub mod databases;
pub mod env_file;
pub mod failure;
pub mod keys;
pub mod layout;
pub mod leftovers;
pub mod lock;
pub mod nats;
pub mod part;
pub mod ports;
pub mod postgres;
pub mod progress;
pub mod redis;
pub mod secrets;
pub mod services;
pub mod stack;
pub mod subscribers;
pub mod trust;
pub mod up;

pub use failure::Failure;
pub use part::Part;
pub use stack::{Stack, StackOptions};
