//! What Core is told.

use crate::shared::{
    config::{ConfigError, Reader, Secret},
    env::Env,
    service_config::{Listeners, ServiceConfig, ServiceShape},
};
use std::path::PathBuf;

const SHAPE: ServiceShape = ServiceShape { name: "core", listeners: Listeners::InternalOnly, is_called: true };

/// Core's configuration.
pub(super) struct CoreConfig {
    pub(super) service: ServiceConfig,
    pub(super) trust_file: PathBuf,
    pub(super) db_url: Secret,
    pub(super) data_keys: Secret,
    /// Where people's tokens are checked; without it a request that carries one is refused.
    pub(super) tokens: Option<TokenSource>,
}

/// Who issues people's tokens.
pub(super) struct TokenSource {
    pub(super) auth_url: String,
    pub(super) issuer: String,
    pub(super) audience: String,
}

impl CoreConfig {
    pub(super) fn read(env: &Env) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let service = ServiceConfig::read(&mut reader, SHAPE);
        let db_url = reader.database_url("CORE_DB_URL");
        let data_keys = reader.data_keys();
        let tokens = read_tokens(&mut reader);
        reader.build(|| {
            let service = service?;
            let trust_file = service.trust_file.clone()?;
            Some(Self { service, trust_file, db_url: db_url?, data_keys: data_keys?, tokens: tokens? })
        })
    }
}

/// All of `AUTH_URL JWT_ISSUER JWT_AUDIENCE`, or none.
fn read_tokens(reader: &mut Reader<'_>) -> Option<Option<TokenSource>> {
    let names = ["AUTH_URL", "JWT_ISSUER", "JWT_AUDIENCE"];
    if names.iter().all(|name| reader.optional(name).is_none()) {
        return Some(None);
    }
    let (auth_url, issuer, audience) =
        (reader.base_url("AUTH_URL"), reader.text("JWT_ISSUER"), reader.text("JWT_AUDIENCE"));
    Some(Some(TokenSource { auth_url: auth_url?, issuer: issuer?, audience: audience? }))
}
