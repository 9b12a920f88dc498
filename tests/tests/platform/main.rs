//! Component and system tests on real servers.
#![allow(clippy::indexing_slicing, reason = "a test that looks where nothing is has failed")]

mod append;
mod append_shapes;
mod appends_at_once;
mod audit;
mod configuration;
mod contexts;
mod connections;
mod conventions;
mod core_away;
mod crash;
mod creates;
mod edges;
mod epoch;
mod event_index;
mod flipped_bytes;
mod follow;
mod freshness;
mod lists;
mod log_command;
mod matrix;
mod projection_kills;
mod projection_tables;
mod projections;
mod projections_command;
mod queries;
mod random_commands;
mod rebuild;
mod redis;
mod relay;
mod relay_halts;
mod rights;
mod sessions;
mod subscribers;
mod tenants;
mod tokens;
