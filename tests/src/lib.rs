//! What the suites stand on: real servers in temporary folders, databases of their own, and a small aggregate.
//!
//! Servers die with the test process, also when it is killed, and take their folders with them (`kisum::local`).

pub mod counted;
pub mod demo;
pub mod owner;
pub mod servers;
