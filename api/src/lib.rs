//! The HTTP services of the platform and what they share.
//!
//! It owns listeners, routes, extraction, rendering and configuration: parse, execute, render. It refuses to decide
//! (rules stand in `kisum-domains`), to store (that is `kisum-log`) and to resolve access for a backend (that is
//! `kisum-guard`).

pub mod auth;
pub mod business;
pub mod core;
pub mod relay;
pub mod shared;

pub use business::{basic, finance};
