//! The command line of the platform: what `kisum` can do.
//!
//! It owns the developer's machine (`local`), the demo, the smoke check, and how a service is started as a process. It
//! decides nothing about access: it speaks to services over HTTP, as anybody else would. It is a library so that the
//! test harness runs the very stack that a developer runs.

pub mod ambient;
mod bar;
pub mod demo;
pub mod keys;
pub mod local;
pub mod log;
pub mod migrate;
pub mod platform;
pub mod projections;
pub mod seed;
pub mod serve;
pub mod service_token;
pub mod smoke;
pub mod smoke_command;
pub mod staff;
pub mod subscribers;
pub mod usage;
