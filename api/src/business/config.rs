//! What a business backend is told.

use crate::shared::{
    config::{ConfigError, Reader, Secret},
    env::Env,
    service_config::{Listeners, ServiceConfig, ServiceShape},
};

/// What distinguishes one backend from another before it has routes.
#[derive(Clone, Copy, Debug)]
pub(super) struct BackendShape {
    /// Its name when `SERVICE_NAME` is not set.
    pub(super) name: &'static str,
    /// The variable with its database's URL.
    pub(super) db_variable: &'static str,
}

/// A backend's configuration.
pub(super) struct BackendConfig {
    pub(super) service: ServiceConfig,
    pub(super) db_url: Secret,
    pub(super) nats_url: Secret,
    pub(super) auth_url: String,
    pub(super) auth_internal_url: String,
    pub(super) issuer: String,
    pub(super) audience: String,
}

impl BackendConfig {
    pub(super) fn read(env: &Env, shape: BackendShape) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let service_shape =
            ServiceShape { name: shape.name, listeners: Listeners::PublicAndInternal, is_called: false };
        let service = ServiceConfig::read(&mut reader, service_shape);
        let db_url = reader.database_url(shape.db_variable);
        let nats_url = reader.nats_url("NATS_URL");
        let auth_url = reader.base_url("AUTH_URL");
        let auth_internal_url = reader.base_url("AUTH_INTERNAL_URL");
        let (issuer, audience) = (reader.text("JWT_ISSUER"), reader.text("JWT_AUDIENCE"));
        reader.build(|| {
            Some(Self {
                service: service?,
                db_url: db_url?,
                nats_url: nats_url?,
                auth_url: auth_url?,
                auth_internal_url: auth_internal_url?,
                issuer: issuer?,
                audience: audience?,
            })
        })
    }
}
