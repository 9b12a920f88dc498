//! What the suites stand on: real servers in temporary folders, databases of their own, a small aggregate,
//! and what can be done to them: processes to kill and freeze, a proxy to cut and delay.
//!
//! Servers die with the test process, also when it is killed, and take their folders with them (`kisum::local`).

pub mod account;
pub mod askers;
pub mod authenticator_app;
pub mod cached;
pub mod checker;
pub mod collector;
pub mod counted;
pub mod demo;
pub mod kept;
pub mod owner;
pub mod passkey;
pub mod post;
pub mod processes;
pub mod proxy;
pub mod seeded;
pub mod servers;
pub mod streams;
pub mod writer;
