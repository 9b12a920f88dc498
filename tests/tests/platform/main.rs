//! Component and system tests on real servers.
#![allow(clippy::indexing_slicing, reason = "a test that looks where nothing is has failed")]

mod append;
mod append_shapes;
mod configuration;
mod conventions;
mod crash;
mod edges;
mod epoch;
mod event_index;
mod follow;
mod freshness;
mod log_command;
mod matrix;
mod projections;
mod queries;
mod relay;
mod rights;
mod sessions;
mod tenants;
mod tokens;
