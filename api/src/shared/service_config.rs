//! The variables that every service reads the same way.
//!
//! It owns listeners, identity, trust, pool size, origins and proxies. It refuses to know what one service alone needs.

use super::{
    client_ip::{Network, TrustedProxies},
    config::{Environment, Reader, Secret},
    telemetry::LogFormat,
};
use http::HeaderValue;
use kisum_guard::{ServiceSigner, ServiceTrust, SigningKeyError};
use std::{net::SocketAddr, path::PathBuf};

/// Connections of one pool: at least, at most, and when nobody says.
const DB_POOL: (u64, u64, u64) = (1, 500, 16);

/// Whether a service has a public listener beside its internal one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listeners {
    /// `LISTEN_ADDR` and `OPS_LISTEN_ADDR`.
    PublicAndInternal,
    /// `OPS_LISTEN_ADDR` alone.
    InternalOnly,
}

/// What every service is told.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    /// Where it runs.
    pub environment: Environment,
    /// Its own name, as in service tokens.
    pub service: String,
    /// The public listener's address.
    pub listen: Option<SocketAddr>,
    /// The internal listener's address.
    pub ops_listen: SocketAddr,
    /// Its Ed25519 key, PKCS#8 PEM, with which it signs service tokens.
    pub private_key: Secret,
    /// Under which id others know that key, where it is not `{service}-1`: while keys are rotated, both are in their trust.
    pub key_id: Option<String>,
    /// The trust file, where the service has internal routes.
    pub trust_file: Option<PathBuf>,
    /// Connections of its database pool.
    pub db_pool_max: u32,
    /// Origins whose pages may call the public listener with credentials.
    pub cors_origins: Vec<HeaderValue>,
    /// Proxies whose `X-Forwarded-For` counts.
    pub trusted_proxies: TrustedProxies,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines are written, as `RUST_LOG` has it.
    pub log_filter: String,
    /// The collector that spans are exported to (OTLP over HTTP); it may hold credentials. None: no spans.
    pub otlp_endpoint: Option<Secret>,
}

/// What a service has that decides which variables it needs.
#[derive(Clone, Copy, Debug)]
pub struct ServiceShape {
    /// Its name when `SERVICE_NAME` is not set.
    pub name: &'static str,
    /// Its listeners.
    pub listeners: Listeners,
    /// Whether other services call it, so that it needs `SERVICE_TRUST`.
    pub is_called: bool,
}

impl ServiceConfig {
    /// Reads the common variables; `None` where a fault was noted.
    pub fn read(reader: &mut Reader<'_>, shape: ServiceShape) -> Option<Self> {
        let environment = reader.environment();
        let service = reader.optional("SERVICE_NAME").unwrap_or_else(|| shape.name.to_owned());
        let listen = match shape.listeners {
            Listeners::PublicAndInternal => reader.address("LISTEN_ADDR").map(Some),
            Listeners::InternalOnly => Some(None),
        };
        let ops_listen = reader.address("OPS_LISTEN_ADDR");
        let private_key = reader.secret_of("SERVICE_PRIVATE_KEY", "the PEM of an Ed25519 private key", |pem| {
            ServiceSigner::new("environment", "service", pem).is_ok()
        });
        let key_id = reader.optional("SERVICE_KEY_ID");
        let trust_file = if shape.is_called { read_trust(reader).map(Some) } else { Some(None) };
        let (least, most, usual) = DB_POOL;
        let db_pool_max = reader.number_or("DB_POOL_MAX", least..=most, usual).and_then(|max| u32::try_from(max).ok());
        let cors_origins = read_origins(reader);
        let trusted_proxies = read_proxies(reader);
        let log_format = reader.parsed_or("LOG_FORMAT", "json or text", LogFormat::Json);
        let log_filter = reader.optional("RUST_LOG").unwrap_or_else(|| "info".to_owned());
        let otlp_endpoint = read_collector(reader);
        Some(Self {
            environment: environment?,
            service,
            listen: listen?,
            ops_listen: ops_listen?,
            private_key: private_key?,
            key_id,
            trust_file: trust_file?,
            db_pool_max: db_pool_max?,
            cors_origins: cors_origins?,
            trusted_proxies: trusted_proxies?,
            log_format: log_format?,
            log_filter,
            otlp_endpoint: otlp_endpoint?,
        })
    }
}

impl ServiceConfig {
    /// What signs this service's own tokens.
    ///
    /// # Errors
    /// When the key, which was read once, cannot be read.
    pub fn signer(&self) -> Result<ServiceSigner, SigningKeyError> {
        let signer = ServiceSigner::new(self.environment.name(), &self.service, self.private_key.expose())?;
        Ok(match &self.key_id {
            Some(kid) => signer.with_kid(kid),
            None => signer,
        })
    }
}

/// The path of a trust file that can be used now; it is watched later.
fn read_trust(reader: &mut Reader<'_>) -> Option<PathBuf> {
    let path = PathBuf::from(reader.text("SERVICE_TRUST")?);
    let json = std::fs::read_to_string(&path).unwrap_or_default();
    if ServiceTrust::from_json("environment", "service", &json).is_err() {
        reader.invalid("SERVICE_TRUST", "the path of a usable trust file");
        return None;
    }
    Some(path)
}

/// The collector's address, where there is one. Unset and empty are the same, as the specification of OpenTelemetry's
/// variables asks.
fn read_collector(reader: &mut Reader<'_>) -> Option<Option<Secret>> {
    let name = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let Some(text) = reader.optional(name).filter(|text| !text.is_empty()) else { return Some(None) };
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    if host.is_none_or(|host| host.is_empty() || host.contains(['?', '#', ' '])) {
        reader.invalid(name, "the http(s) address of an OTLP collector, such as http://127.0.0.1:4318");
        return None;
    }
    Some(Some(Secret::new(text)))
}

fn read_origins(reader: &mut Reader<'_>) -> Option<Vec<HeaderValue>> {
    let mut origins = Vec::new();
    for text in reader.list("CORS_ORIGINS") {
        match HeaderValue::from_str(&text) {
            Ok(origin) if is_origin(&text) => origins.push(origin),
            _ => {
                reader.invalid("CORS_ORIGINS", "a comma-separated list of origins such as https://app.example");
                return None;
            }
        }
    }
    Some(origins)
}

/// An origin is scheme and host: no path, and never `*`, since credentials travel.
fn is_origin(text: &str) -> bool {
    text.strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .is_some_and(|host| !host.is_empty() && !host.contains(['/', '*', '@', ' ', '?', '#']))
}

fn read_proxies(reader: &mut Reader<'_>) -> Option<TrustedProxies> {
    let networks: Option<Vec<Network>> = reader.list("TRUSTED_PROXIES").iter().map(|text| text.parse().ok()).collect();
    if networks.is_none() {
        reader.invalid("TRUSTED_PROXIES", "a comma-separated list of addresses or blocks such as 10.0.0.0/8");
    }
    networks.map(TrustedProxies::new)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::shared::env::Env;

    /// The sample key of RFC 8410 §10.3.
    pub(crate) const SAMPLE_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";

    /// The path of a trust file that trusts nobody. Written once: whoever reads it while it is written finds half of it.
    pub(crate) fn trust_of_nobody() -> String {
        static PATH: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
            let path = std::env::temp_dir().join(format!("kisum-trust-of-nobody-{}", std::process::id()));
            std::fs::write(&path, r#"{"services":{}}"#).unwrap_or_else(|e| panic!("{e}"));
            path.display().to_string()
        });
        PATH.clone()
    }

    const AUTH_LIKE: ServiceShape =
        ServiceShape { name: "auth", listeners: Listeners::PublicAndInternal, is_called: true };

    fn read(env: &Env) -> Result<ServiceConfig, String> {
        let mut reader = Reader::new(env);
        let config = ServiceConfig::read(&mut reader, AUTH_LIKE);
        reader.build(|| config).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_that_matters_for_security_has_a_default() {
        let Err(message) = read(&Env::default()) else { panic!("an empty environment was enough") };
        for name in ["ENVIRONMENT", "LISTEN_ADDR", "OPS_LISTEN_ADDR", "SERVICE_PRIVATE_KEY", "SERVICE_TRUST"] {
            assert!(message.contains(&format!("{name} is missing")), "{message}");
        }
    }

    #[test]
    fn an_origin_is_exact_and_never_a_wildcard() {
        let env: Env = [
            ("ENVIRONMENT", "local"),
            ("LISTEN_ADDR", "127.0.0.1:1"),
            ("OPS_LISTEN_ADDR", "127.0.0.1:2"),
            ("SERVICE_PRIVATE_KEY", SAMPLE_KEY),
            ("SERVICE_TRUST", &trust_of_nobody()),
        ]
        .into_iter()
        .collect();
        assert!(read(&env).is_ok());
        assert!(read(&env.clone().with("CORS_ORIGINS", "https://app.example, http://localhost:3000")).is_ok());
        for bad in ["*", "https://*.example", "https://app.example/", "app.example"] {
            assert!(read(&env.clone().with("CORS_ORIGINS", bad)).is_err(), "{bad}");
        }
        assert!(read(&env.clone().with("TRUSTED_PROXIES", "10.0.0.0/8, nonsense")).is_err());
        let collector = |url: &str| read(&env.clone().with("OTEL_EXPORTER_OTLP_ENDPOINT", url));
        assert!(collector("http://127.0.0.1:4318").is_ok_and(|config| config.otlp_endpoint.is_some()));
        assert!(collector("").is_ok_and(|config| config.otlp_endpoint.is_none()));
        assert!(collector("127.0.0.1:4317").is_err() && collector("grpc://127.0.0.1:4317").is_err());
    }
}
