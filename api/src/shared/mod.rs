//! What every service does the same way: configuration, listeners, extraction, rendering, problems, health, telemetry.
//!
//! It knows HTTP and the environment. It refuses to know any route, rule or table of a particular service.

pub mod access_position;
pub mod actor;
pub mod ambient;
pub mod bus;
pub mod caller;
pub mod client_ip;
pub mod config;
pub mod database;
pub mod docs_page;
pub mod edge;
pub mod env;
pub mod extract;
pub(crate) mod fail_points;
pub mod health;
pub mod idempotency;
pub mod json_lines;
pub mod listener;
pub mod log_page;
mod mask;
mod metric_names;
pub mod observe;
pub mod openapi;
mod outlet;
pub mod paging;
pub mod problem;
pub mod request_label;
pub mod respond;
pub mod server;
pub mod service_config;
pub mod signing_key;
pub mod span_export;
pub mod telemetry;
pub mod trace;
pub mod trust;
