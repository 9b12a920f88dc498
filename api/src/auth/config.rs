//! What Auth is told by its environment.
//!
//! It owns the names, forms and limits of Auth's own variables. It refuses to start with a default where a wrong one
//! would weaken something.

use super::{factors::Passkeys, keyring::PrivateKeys, mail::Transport};
use crate::shared::{
    config::{ConfigError, Environment, Reader, Secret},
    env::Env,
    service_config::{Listeners, ServiceConfig, ServiceShape},
    signing_key::{KeyringFileError, SigningKey},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use kisum_events::KeyId;
use lettre::message::Mailbox;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// Longest life of an access token outside `local` (security.md, 9), in seconds.
const ACCESS_TTL_MAX_S: u64 = 300;
/// Longest life that makes sense on a developer's machine.
const ACCESS_TTL_LOCAL_MAX_S: u64 = 3600;
/// How long a session lasts unused: at least, at most, and when nobody says, in seconds.
const IDLE_TTL_S: (u64, u64, u64) = (60, 90 * DAY_S, 30 * DAY_S);
/// How long a session lasts whatever happens, in seconds.
const ABSOLUTE_TTL_S: (u64, u64, u64) = (60, 366 * DAY_S, 90 * DAY_S);
/// Access contexts kept in the process: at least (none: Redis and the database answer), at most, and when nobody says;
/// about 1 KB each.
const CONTEXTS_MAX: (u64, u64, u64) = (0, 10_000_000, 100_000);
/// How long others may keep the key set, and so how long a key is published before it signs (security.md, 11): outside
/// `local` at least, at most, and when nobody says, in seconds. Guards fetch it every five minutes.
const KEY_SET_S: (u64, u64, u64) = (300, DAY_S, 300);
/// At least, on a developer's machine.
const KEY_SET_LOCAL_MIN_S: u64 = 1;
/// Rotations of one session's refresh token within a minute: at least, at most, and when nobody says. An honest client
/// rotates once in the life of an access token; a measurement does nothing else.
const ROTATIONS_MAX: (u64, u64, u64) = (1, 1_000_000, 60);
const DAY_S: u64 = 24 * 3600;
/// Bytes of a symmetric key.
const KEY_BYTES: usize = 32;
/// The form of the key that signs access tokens (security.md, 10).
const SIGNING_KEY: &str = "the PEM of an Ed25519 private key, or of an RSA one of at least 2048 bits";

/// Auth's configuration.
pub(super) struct AuthConfig {
    /// What every service is told.
    pub(super) service: ServiceConfig,
    /// The auth log's database, as the run-time role.
    pub(super) db_url: Secret,
    /// Redis, as Auth's ACL user.
    pub(super) redis_url: Secret,
    /// The bus, as Auth's user.
    pub(super) nats_url: Secret,
    /// `iss` of access tokens.
    pub(super) jwt_issuer: String,
    /// `aud` of access tokens.
    pub(super) jwt_audience: String,
    /// The keys that sign them, where the log's keyring says so.
    pub(super) private_keys: PrivateKeys,
    /// How long others may keep the key set.
    pub(super) key_set_ttl: Duration,
    /// How long they live.
    pub(super) access_ttl: Duration,
    /// How long a session lasts unused.
    pub(super) idle_ttl: Duration,
    /// How long a session lasts at most.
    pub(super) absolute_ttl: Duration,
    /// Derives refresh tokens.
    pub(super) refresh_key: [u8; KEY_BYTES],
    /// `id:base64,…`, read by the log's sealer.
    pub(super) data_encryption_keys: Secret,
    /// Makes look-up values of e-mail addresses.
    pub(super) lookup_key: [u8; KEY_BYTES],
    /// Seals contexts in Redis.
    pub(super) cache_mac_key: [u8; KEY_BYTES],
    /// Access contexts kept in this process.
    pub(super) contexts_max: usize,
    /// Relays of the auth log.
    pub(super) auth_log_urls: Vec<String>,
    /// Relays of the core log.
    pub(super) core_log_urls: Vec<String>,
    /// Core's internal listener.
    pub(super) core_internal_url: String,
    /// The way out for mails.
    pub(super) mail_transport: Transport,
    /// Whom mails are from.
    pub(super) mail_from: Mailbox,
    /// What links in mails lead to.
    pub(super) app_url: String,
    /// The domain that passkeys are bound to.
    pub(super) webauthn_rp_id: String,
    /// The list of erasures, outside the database.
    pub(super) erasure_ledger: PathBuf,
    /// Rotations of one session's refresh token within a minute.
    pub(super) rotations_max: u64,
    /// Whether companies change their own purchases.
    pub(super) self_service_billing: bool,
}

impl AuthConfig {
    /// Reads the environment.
    ///
    /// # Errors
    /// [`ConfigError`] with every variable that is missing or invalid.
    pub(super) fn read(env: &Env) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let shape = ServiceShape { name: "auth", listeners: Listeners::PublicAndInternal, is_called: true };
        let service = ServiceConfig::read(&mut reader, shape);
        // By the variable alone: something else that is wrong must not make other values wrong. Without it nothing runs,
        // and what it would forbid is not to be complained of.
        let is_local =
            reader.optional("ENVIRONMENT").is_none_or(|name| name.parse().is_ok_and(|it: Environment| it.is_local()));
        let access_max = if is_local { ACCESS_TTL_LOCAL_MAX_S } else { ACCESS_TTL_MAX_S };
        let access_ttl = reader.seconds_or("ACCESS_TOKEN_TTL", 1..=access_max, ACCESS_TTL_MAX_S);
        let idle_ttl = span(&mut reader, "REFRESH_TOKEN_TTL", IDLE_TTL_S);
        let absolute_ttl = span(&mut reader, "REFRESH_TOKEN_ABSOLUTE_TTL", ABSOLUTE_TTL_S);
        let db_url = reader.database_url("AUTH_DB_URL");
        let redis_url = reader.secret_of("REDIS_URL", "an address such as redis://user:password@host/", |url| {
            redis::Client::open(url).is_ok()
        });
        let nats_url = reader.nats_url("NATS_URL");
        let jwt_issuer = reader.text("JWT_ISSUER");
        let jwt_audience = reader.text("JWT_AUDIENCE");
        let private_keys = private_keys(&mut reader);
        let (least, most, usual) = KEY_SET_S;
        let least = if is_local { KEY_SET_LOCAL_MIN_S } else { least };
        let key_set_ttl = reader.seconds_or("JWKS_MAX_AGE", least..=most, usual);
        let refresh_key = key(&mut reader, "REFRESH_TOKEN_KEY");
        let data_encryption_keys = reader.data_keys();
        let lookup_key = key(&mut reader, "LOOKUP_KEY");
        let cache_mac_key = key(&mut reader, "CACHE_MAC_KEY");
        let (least, most, usual) = CONTEXTS_MAX;
        let contexts_max = reader.number_or("ACCESS_CONTEXTS_MAX", least..=most, usual);
        let auth_log_urls = reader.base_urls("AUTH_LOG_URLS");
        let core_log_urls = reader.base_urls("CORE_LOG_URLS");
        let core_internal_url = reader.base_url("CORE_INTERNAL_URL");
        let mail_transport = mail_transport(&mut reader, is_local);
        let mail_from = reader.parsed("MAIL_FROM", "a sender such as Kisum <no-reply@kisum.example>");
        let app_url = reader.base_url("APP_URL");
        let webauthn_rp_id = read_rp_id(&mut reader);
        let erasure_ledger = absolute(&mut reader, "ERASURE_LEDGER");
        let (least, most, usual) = ROTATIONS_MAX;
        let rotations_max = reader.number_or("REFRESHES_PER_MINUTE_MAX", least..=most, usual);
        let self_service_billing = on_or_off(&mut reader, "SELF_SERVICE_BILLING");
        reader.build(|| {
            Some(Self {
                service: service?,
                db_url: db_url?,
                redis_url: redis_url?,
                nats_url: nats_url?,
                jwt_issuer: jwt_issuer?,
                jwt_audience: jwt_audience?,
                private_keys: private_keys?,
                key_set_ttl: key_set_ttl?,
                access_ttl: access_ttl?,
                idle_ttl: idle_ttl?,
                absolute_ttl: absolute_ttl?,
                refresh_key: refresh_key?,
                data_encryption_keys: data_encryption_keys?,
                lookup_key: lookup_key?,
                cache_mac_key: cache_mac_key?,
                contexts_max: usize::try_from(contexts_max?).ok()?,
                auth_log_urls: auth_log_urls?,
                core_log_urls: core_log_urls?,
                core_internal_url: core_internal_url?,
                mail_transport: mail_transport?,
                mail_from: mail_from?,
                app_url: app_url?,
                webauthn_rp_id: webauthn_rp_id?,
                erasure_ledger: erasure_ledger?,
                rotations_max: rotations_max?,
                self_service_billing: self_service_billing?,
            })
        })
    }
}

/// The keys of `JWT_KEYRING_FILE`, or the one of `JWT_PRIVATE_KEY` and `JWT_PUBLIC_KID`.
fn private_keys(reader: &mut Reader<'_>) -> Option<PrivateKeys> {
    let pem = reader.secret_optional("JWT_PRIVATE_KEY");
    let kid = reader.optional("JWT_PUBLIC_KID");
    match (reader.optional("JWT_KEYRING_FILE"), pem, kid) {
        (Some(path), None, None) => match PrivateKeys::of_file(Path::new(&path)) {
            Ok(keys) => Some(keys),
            Err(error) => {
                reader.invalid("JWT_KEYRING_FILE", unusable(&error));
                None
            }
        },
        (Some(_), _, _) => {
            reader.invalid("JWT_KEYRING_FILE", "to be set beside JWT_PRIVATE_KEY and JWT_PUBLIC_KID: either says all");
            None
        }
        // One that was set and could not be read has been noted.
        (None, None, None) if reader.optional("JWT_PRIVATE_KEY").is_none() => {
            reader.missing("JWT_KEYRING_FILE");
            None
        }
        (None, pem, _) => {
            let kid = reader.parsed::<KeyId>("JWT_PUBLIC_KID", "a name of letters, digits, '.', '_' and '-'");
            if pem.is_none() && reader.optional("JWT_PRIVATE_KEY").is_none() {
                reader.missing("JWT_PRIVATE_KEY");
            }
            let (pem, name) = (pem?, kid.clone().or_else(|| "-".parse().ok())?);
            match SigningKey::from_pem(name, None, pem.expose()) {
                Ok(key) => kid.map(|_| PrivateKeys::one(key)),
                Err(_) => {
                    reader.invalid("JWT_PRIVATE_KEY", SIGNING_KEY);
                    None
                }
            }
        }
    }
}

/// What is wrong with the list, without a value of it.
fn unusable(error: &KeyringFileError) -> String {
    let form = "a file with a JSON array of {kid, alg, privateKey}";
    match error {
        KeyringFileError::Read { source, .. } => format!("{form}: one of its files cannot be read: {}", source.kind()),
        KeyringFileError::Shape { line, .. } => format!("{form}: see line {line}"),
        KeyringFileError::Twice { kid, .. } => format!("{form}: it has '{kid}' twice"),
        KeyringFileError::Key { kid, source } => format!("{form}: the key '{kid}': {source}"),
    }
}

/// `SMTP_URL`. On a developer's machine `file:` names a folder for mails; elsewhere it names, as for every secret, the file
/// that holds the value.
fn mail_transport(reader: &mut Reader<'_>, is_local: bool) -> Option<Transport> {
    const NAME: &str = "SMTP_URL";
    let url = match reader.optional(NAME).filter(|url| is_local && url.starts_with("file:")) {
        Some(url) => Secret::new(url),
        None => reader.secret(NAME)?,
    };
    let transport = Transport::from_url(url.expose(), is_local);
    if transport.is_none() {
        let form = "an address such as smtps://user:password@host or smtp://user:password@host:587?tls=required";
        reader.invalid(NAME, form);
    }
    transport
}

/// Passkeys are bound to it for ever, so nobody guesses it.
fn read_rp_id(reader: &mut Reader<'_>) -> Option<String> {
    let domain = reader.text("WEBAUTHN_RP_ID")?;
    if Passkeys::new(&domain, &[]).is_err() {
        reader.invalid("WEBAUTHN_RP_ID", "the domain that passkeys are bound to, such as kisum.example");
        return None;
    }
    Some(domain)
}

fn span(reader: &mut Reader<'_>, name: &str, (least, most, usual): (u64, u64, u64)) -> Option<Duration> {
    reader.seconds_or(name, least..=most, usual)
}

/// `on`, as without it, or `off`.
fn on_or_off(reader: &mut Reader<'_>, name: &str) -> Option<bool> {
    match reader.optional(name).as_deref() {
        None | Some("on") => Some(true),
        Some("off") => Some(false),
        Some(_) => {
            reader.invalid(name, "on or off");
            None
        }
    }
}

/// A path that means the same file wherever the process was started.
fn absolute(reader: &mut Reader<'_>, name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(reader.text(name)?);
    if path.is_absolute() {
        return Some(path);
    }
    reader.invalid(name, "the absolute path of a file");
    None
}

fn key(reader: &mut Reader<'_>, name: &str) -> Option<[u8; KEY_BYTES]> {
    let secret = reader.secret(name)?;
    let key = STANDARD.decode(secret.expose()).ok().and_then(|bytes| bytes.try_into().ok());
    if key.is_none() {
        reader.invalid(name, "32 bytes in base64");
    }
    key
}

#[cfg(test)]
mod tests {
    use super::AuthConfig;
    use crate::shared::{
        env::Env,
        service_config::tests::{SAMPLE_KEY, trust_of_nobody},
    };

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn env() -> Env {
        [
            ("ENVIRONMENT", "local"),
            ("LISTEN_ADDR", "127.0.0.1:1"),
            ("OPS_LISTEN_ADDR", "127.0.0.1:2"),
            ("SERVICE_PRIVATE_KEY", SAMPLE_KEY),
            ("SERVICE_TRUST", &trust_of_nobody()),
            ("AUTH_DB_URL", "postgres://kisum_auth@localhost/auth_db"),
            ("REDIS_URL", "redis://localhost"),
            ("NATS_URL", "nats://localhost"),
            ("JWT_ISSUER", "https://auth.kisum.example"),
            ("JWT_AUDIENCE", "kisum"),
            ("JWT_PRIVATE_KEY", SAMPLE_KEY),
            ("JWT_PUBLIC_KID", "1"),
            ("REFRESH_TOKEN_KEY", KEY),
            ("DATA_ENCRYPTION_KEYS", &format!("1:{KEY}")),
            ("LOOKUP_KEY", KEY),
            ("CACHE_MAC_KEY", KEY),
            ("AUTH_LOG_URLS", "http://127.0.0.1:3"),
            ("CORE_LOG_URLS", "http://127.0.0.1:4"),
            ("CORE_INTERNAL_URL", "http://127.0.0.1:5"),
            ("SMTP_URL", "smtp://127.0.0.1:2525"),
            ("MAIL_FROM", "Kisum <no-reply@kisum.example>"),
            ("APP_URL", "https://app.kisum.example"),
            ("WEBAUTHN_RP_ID", "kisum.example"),
            ("ERASURE_LEDGER", "/nowhere/erasures.jsonl"),
        ]
        .into_iter()
        .collect()
    }

    fn faults(env: &Env) -> Vec<String> {
        match AuthConfig::read(env) {
            Ok(_) => Vec::new(),
            Err(error) => error.faults().iter().map(|(name, _)| name.clone()).collect(),
        }
    }

    #[test]
    fn tokens_live_five_minutes_and_sessions_thirty_days_unless_told_otherwise() {
        let config = AuthConfig::read(&env()).unwrap_or_else(|e| panic!("{e}"));
        let days = |span: std::time::Duration| span.as_secs() / 86_400;
        assert_eq!((config.access_ttl.as_secs(), days(config.idle_ttl), days(config.absolute_ttl)), (300, 30, 90));
    }

    #[test]
    fn companies_buy_for_themselves_unless_it_is_off() {
        let with = |value: &str| env().with("SELF_SERVICE_BILLING", value);
        let is_on = |env: &Env| AuthConfig::read(env).map(|config| config.self_service_billing).ok();
        assert_eq!((is_on(&env()), is_on(&with("on")), is_on(&with("off"))), (Some(true), Some(true), Some(false)));
        assert_eq!(faults(&with("false")), ["SELF_SERVICE_BILLING"]);
    }

    #[test]
    fn outside_local_no_token_lives_longer_than_five_minutes() {
        let long = env().with("ACCESS_TOKEN_TTL", "900");
        assert!(faults(&long).is_empty());
        let encrypted = long.with("SMTP_URL", "smtps://mail.example");
        assert_eq!(faults(&encrypted.with("ENVIRONMENT", "production")), ["ACCESS_TOKEN_TTL"]);
    }

    #[test]
    fn outside_local_no_mail_travels_in_the_clear() {
        assert_eq!(faults(&env().with("ENVIRONMENT", "production")), ["SMTP_URL"]);
    }

    #[test]
    fn keys_are_one_in_the_environment_or_the_list_in_a_file_and_never_both() {
        assert_eq!(faults(&env().with("JWT_KEYRING_FILE", "/no/such/file")), ["JWT_KEYRING_FILE"]);
        let neither = env().with("JWT_PRIVATE_KEY", "").with("JWT_PUBLIC_KID", "");
        assert_eq!(faults(&neither), ["JWT_KEYRING_FILE"]);
        assert_eq!(faults(&neither.with("JWT_KEYRING_FILE", "/no/such/file")), ["JWT_KEYRING_FILE"]);
        assert_eq!(faults(&env().with("JWT_PRIVATE_KEY", "")), ["JWT_PRIVATE_KEY"]);
        assert_eq!(faults(&env().with("JWT_PRIVATE_KEY", "no PEM")), ["JWT_PRIVATE_KEY"]);
        assert_eq!(faults(&env().with("JWT_PUBLIC_KID", "")), ["JWT_PUBLIC_KID"]);
        assert_eq!(faults(&env().with("JWT_PUBLIC_KID", "two words")), ["JWT_PUBLIC_KID"]);
    }

    #[test]
    fn outside_local_a_key_set_may_be_kept_for_as_long_as_guards_keep_it() {
        let short = env().with("JWKS_MAX_AGE", "2");
        assert!(faults(&short).is_empty());
        let encrypted = short.with("SMTP_URL", "smtps://mail.example");
        assert_eq!(faults(&encrypted.with("ENVIRONMENT", "production")), ["JWKS_MAX_AGE"]);
    }

    #[test]
    fn the_domain_of_passkeys_is_one() {
        for bad in ["https://kisum.example", "no domain", "kisum.example/", "192.0.2.1"] {
            assert_eq!(faults(&env().with("WEBAUTHN_RP_ID", bad)), ["WEBAUTHN_RP_ID"], "{bad}");
        }
    }

    #[test]
    fn a_short_key_is_refused() {
        assert_eq!(faults(&env().with("LOOKUP_KEY", "c2hvcnQ=")), ["LOOKUP_KEY"]);
    }
}
