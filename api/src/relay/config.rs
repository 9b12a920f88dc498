//! What a relay is told.

use crate::shared::{
    config::{ConfigError, Reader, Secret},
    env::Env,
    service_config::{Listeners, ServiceConfig, ServiceShape},
};
use kisum_events::Log;
use std::path::PathBuf;

/// A relay's configuration.
pub(super) struct RelayServiceConfig {
    pub(super) service: ServiceConfig,
    pub(super) trust_file: PathBuf,
    /// The variable that `db_url` was read from, for messages.
    pub(super) db_variable: &'static str,
    pub(super) db_url: Secret,
    pub(super) nats_url: Secret,
    /// A second connection, which may publish to inboxes alone.
    pub(super) nats_head_url: Secret,
    /// Copies of the stream, `STREAM_REPLICAS`: 1 on one node, 3 on a cluster.
    pub(super) replicas: usize,
}

impl RelayServiceConfig {
    pub(super) fn read(env: &Env, log: Log) -> Result<Self, ConfigError> {
        let (name, db_variable) = match log {
            Log::Auth => ("relay-auth", "AUTH_DB_URL"),
            Log::Core => ("relay-core", "CORE_DB_URL"),
        };
        let mut reader = Reader::new(env);
        let shape = ServiceShape { name, listeners: Listeners::InternalOnly, is_called: true };
        let service = ServiceConfig::read(&mut reader, shape);
        let db_url = reader.database_url(db_variable);
        let nats_url = reader.nats_url("NATS_URL");
        let nats_head_url = reader.nats_url("NATS_HEAD_URL");
        let replicas = reader.number_or("STREAM_REPLICAS", 1..=5, 1).and_then(|count| usize::try_from(count).ok());
        reader.build(|| {
            let service = service?;
            let trust_file = service.trust_file.clone()?;
            Some(Self {
                service,
                trust_file,
                db_variable,
                db_url: db_url?,
                nats_url: nats_url?,
                nats_head_url: nats_head_url?,
                replicas: replicas?,
            })
        })
    }
}
