//! Component and system tests on real servers.

mod append;
mod edges;
mod freshness;
mod matrix;
mod queries;
mod relay;
mod rights;
mod sessions;
mod tenants;
mod tokens;
