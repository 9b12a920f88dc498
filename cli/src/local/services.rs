//! The environment of each service on a developer's machine: the variables of the contract, and only those it needs.

use super::{Failure, Part, connections, databases::Database, secrets::Secrets, stack::Ground};
use std::collections::BTreeMap;

/// `ENVIRONMENT` of every local stack.
pub const ENVIRONMENT: &str = "local";
/// `JWT_AUDIENCE`: every service of the platform accepts the same access token.
pub const AUDIENCE: &str = "kisum";
/// Origins of frontends on the developer's machine, for requests that carry the refresh cookie.
const FRONTEND_ORIGINS: &str = "http://localhost:3000,http://127.0.0.1:3000";

/// Whom mails are from that lie in `.kisum/mail`.
const MAIL_FROM: &str = "Kisum <no-reply@kisum.example>";
/// What links in mails lead to: a frontend on the developer's machine.
const APP_URL: &str = "http://localhost:3000";

/// The addresses and URLs of a stack, credentials included where the name says so.
#[derive(Clone, Debug)]
pub struct Addresses<'a> {
    ground: &'a Ground<'a>,
}

impl<'a> Addresses<'a> {
    /// The addresses on this ground.
    pub const fn on(ground: &'a Ground<'a>) -> Self {
        Self { ground }
    }

    /// A public listener.
    pub fn public(&self, part: Part) -> String {
        format!("http://{}", self.ground.ports.address(part.port().unwrap_or_default()))
    }

    /// An internal listener.
    pub fn ops(&self, part: Part) -> String {
        format!("http://{}", self.ground.ports.address(part.ops_port().unwrap_or_default()))
    }

    /// A database as one of its roles.
    ///
    /// # Errors
    /// When the role's password is missing.
    pub fn database(&self, database: Database, role: &str) -> Result<String, Failure> {
        let password = self.ground.secrets.database_password(role)?;
        let address = self.ground.ports.address(Part::Postgres.name());
        Ok(format!("postgres://{role}:{password}@{address}/{}", database.name()))
    }

    /// NATS as one of its users.
    ///
    /// # Errors
    /// When the user's password is missing.
    pub fn nats(&self, user: &str) -> Result<String, Failure> {
        let password = self.ground.secrets.nats_password(user)?;
        Ok(format!("nats://{user}:{password}@{}", self.ground.ports.address(Part::Nats.name())))
    }

    /// NATS without credentials.
    pub fn nats_bare(&self) -> String {
        format!("nats://{}", self.ground.ports.address(Part::Nats.name()))
    }

    /// Redis as one of its users.
    ///
    /// # Errors
    /// When the user's password is missing.
    pub fn redis(&self, user: &str) -> Result<String, Failure> {
        let password = self.ground.secrets.redis_password(user)?;
        Ok(format!("redis://{user}:{password}@{}/", self.ground.ports.address(Part::Redis.name())))
    }
}

/// A service's whole environment.
///
/// # Errors
/// When a secret is missing and cannot be made.
pub fn environment(part: Part, ground: &Ground<'_>) -> Result<BTreeMap<String, String>, Failure> {
    let at = Addresses::on(ground);
    let mut variables = Variables(BTreeMap::new());
    variables.set("ENVIRONMENT", ENVIRONMENT);
    variables.set("SERVICE_NAME", part.name());
    variables.set("LOG_FORMAT", "json");
    variables.set("OPS_LISTEN_ADDR", ground.ports.address(part.ops_port().unwrap_or_default()));
    if let Some(port) = part.port() {
        variables.set("LISTEN_ADDR", ground.ports.address(port));
    }
    let key = ground.secrets.service_key_path(part.name());
    variables.set("SERVICE_PRIVATE_KEY", format!("file:{}", key.display()));
    variables.set("SERVICE_TRUST", ground.secrets.trust_file(part)?.display().to_string());
    match part {
        Part::Postgres | Part::Nats | Part::Redis => return Ok(BTreeMap::new()),
        Part::RelayAuth => relay(&mut variables, &at, part, Database::Auth)?,
        Part::RelayCore => relay(&mut variables, &at, part, Database::Core)?,
        Part::Core => core(&mut variables, &at, ground.secrets)?,
        Part::Auth => auth(&mut variables, &at, ground.secrets)?,
        Part::Basic => backend(&mut variables, &at, part, Database::Basic)?,
        Part::Finance => backend(&mut variables, &at, part, Database::Finance)?,
    }
    Ok(variables.0)
}

/// A map that takes anything that becomes a text.
struct Variables(BTreeMap<String, String>);

impl Variables {
    fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), value.into());
    }

    fn database(&mut self, at: &Addresses<'_>, part: Part, database: Database, role: &str) -> Result<(), Failure> {
        self.set(database.url_variable(), at.database(database, role)?);
        self.set("DB_POOL_MAX", connections::pool(part).to_string());
        Ok(())
    }

    fn tokens(&mut self, at: &Addresses<'_>) {
        self.set("JWT_ISSUER", at.public(Part::Auth));
        self.set("JWT_AUDIENCE", AUDIENCE);
    }
}

fn relay(variables: &mut Variables, at: &Addresses<'_>, part: Part, database: Database) -> Result<(), Failure> {
    let role = database.relay_role().unwrap_or_default();
    variables.database(at, part, database, role)?;
    variables.set("NATS_URL", at.nats(part.name())?);
    variables.set("NATS_HEAD_URL", at.nats(&format!("{part}-head"))?);
    Ok(())
}

fn core(variables: &mut Variables, at: &Addresses<'_>, secrets: &Secrets) -> Result<(), Failure> {
    variables.database(at, Part::Core, Database::Core, Database::Core.runtime_role())?;
    variables.set("NATS_URL", at.nats("core")?);
    variables.set("DATA_ENCRYPTION_KEYS", secrets.data_keys()?);
    // Core checks the token of the person for whom Auth forwards a command.
    variables.tokens(at);
    variables.set("AUTH_URL", at.public(Part::Auth));
    variables.set("AUTH_INTERNAL_URL", at.ops(Part::Auth));
    variables.set("CORE_LOG_URLS", at.ops(Part::RelayCore));
    Ok(())
}

fn auth(variables: &mut Variables, at: &Addresses<'_>, secrets: &Secrets) -> Result<(), Failure> {
    variables.database(at, Part::Auth, Database::Auth, Database::Auth.runtime_role())?;
    variables.tokens(at);
    variables.set("REDIS_URL", at.redis("auth")?);
    variables.set("NATS_URL", at.nats("auth")?);
    variables.set("JWT_KEYRING_FILE", secrets.jwt_keyring_file()?.display().to_string());
    variables.set("REFRESH_TOKEN_KEY", secrets.refresh_token_key()?);
    variables.set("DATA_ENCRYPTION_KEYS", secrets.data_keys()?);
    variables.set("LOOKUP_KEY", secrets.lookup_key()?);
    variables.set("CACHE_MAC_KEY", secrets.cache_mac_key()?);
    variables.set("CORS_ORIGINS", format!("{FRONTEND_ORIGINS},{}", at.public(Part::Auth)));
    // The host of the frontends' origins.
    variables.set("WEBAUTHN_RP_ID", "localhost");
    variables.set("CORE_INTERNAL_URL", at.ops(Part::Core));
    variables.set("AUTH_LOG_URLS", at.ops(Part::RelayAuth));
    variables.set("CORE_LOG_URLS", at.ops(Part::RelayCore));
    variables.set("SMTP_URL", format!("file:{}", at.ground.layout.mail().display()));
    variables.set("MAIL_FROM", MAIL_FROM);
    variables.set("APP_URL", APP_URL);
    variables.set("ERASURE_LEDGER", secrets.erasure_ledger_path().display().to_string());
    Ok(())
}

fn backend(variables: &mut Variables, at: &Addresses<'_>, part: Part, database: Database) -> Result<(), Failure> {
    variables.database(at, part, database, database.runtime_role())?;
    variables.tokens(at);
    variables.set("NATS_URL", at.nats(part.name())?);
    variables.set("AUTH_INTERNAL_URL", at.ops(Part::Auth));
    variables.set("AUTH_URL", at.public(Part::Auth));
    variables.set("CORS_ORIGINS", FRONTEND_ORIGINS);
    Ok(())
}
