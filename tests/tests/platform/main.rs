//! Component and system tests on real servers.
#![allow(clippy::indexing_slicing, reason = "a test that looks where nothing is has failed")]

mod append;
mod append_shapes;
mod appends_at_once;
mod audit;
mod configuration;
mod connections;
mod contexts;
mod conventions;
mod core_away;
mod crash;
mod creates;
mod credentials;
mod edges;
mod epoch;
mod event_index;
mod factors;
mod flipped_bytes;
mod follow;
mod freshness;
mod keys;
mod lifecycle;
mod limits;
mod lists;
mod log_command;
// It reads what a process holds in memory from /proc.
#[cfg(target_os = "linux")]
mod mails;
mod matrix;
mod pages;
mod projection_kills;
mod projection_tables;
mod projections;
mod projections_command;
mod queries;
mod races;
mod random_commands;
mod reads;
mod rebuild;
mod redis;
mod reference;
mod refreshes;
mod relay;
mod relay_halts;
mod rights;
mod role_plans;
mod seed;
mod sessions;
mod subscribers;
mod telemetry;
mod tenants;
mod tokens;
