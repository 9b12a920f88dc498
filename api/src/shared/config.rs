//! Typed reading of variables, which collects every fault before it gives up.
//!
//! It owns forms, secrets and the one message that lists what is missing or invalid. It refuses to know which
//! variables a service needs, and never shows a value: a value that is wrong may still be a secret.

use super::env::Env;
use std::{fmt, net::SocketAddr, str::FromStr, time::Duration};

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself; whoever calls this hands it to what needs it and to nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where the process runs. Only `local` has defaults that would be unsafe elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment(String);

impl Environment {
    /// The name, as it stands in service tokens and logs.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Whether this is a developer's own machine.
    pub fn is_local(&self) -> bool {
        self.0 == "local"
    }
}

impl FromStr for Environment {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let valid = (1..=32).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if valid { Ok(Self(text.to_owned())) } else { Err(()) }
    }
}

/// What is wrong with one variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not set.
    Missing,
    /// It is set to something of another form; says which form is asked for.
    Invalid(String),
    /// It names a file that cannot be written; says why.
    Unwritable(String),
    /// It names a file that cannot be read; says why.
    Unreadable(String),
}

/// Every variable that is missing or invalid, in one message. The process exits with 78 (`EX_CONFIG`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    faults: Vec<(String, Fault)>,
}

impl ConfigError {
    /// The exit code that goes with it: `EX_CONFIG` of sysexits.h.
    pub const EXIT_CODE: u8 = 78;

    /// What is wrong with one variable that was read before.
    pub fn of(name: &str, fault: Fault) -> Self {
        Self { faults: vec![(name.to_owned(), fault)] }
    }

    /// Each variable and what is wrong with it, in the order in which they were read.
    pub fn faults(&self) -> &[(String, Fault)] {
        &self.faults
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the environment is not usable:")?;
        for (name, fault) in &self.faults {
            match fault {
                Fault::Missing => write!(f, "\n  {name} is missing")?,
                Fault::Invalid(form) => write!(f, "\n  {name} is not {form}")?,
                Fault::Unwritable(why) => write!(f, "\n  {name} names a file that cannot be written: {why}")?,
                Fault::Unreadable(why) => write!(f, "\n  {name} names a file that cannot be read: {why}")?,
            }
        }
        Ok(())
    }
}

/// Reads variables one by one; each reading answers `None` where it noted a fault.
pub struct Reader<'a> {
    env: &'a Env,
    faults: Vec<(String, Fault)>,
}

impl<'a> Reader<'a> {
    /// Starts on these variables.
    pub fn new(env: &'a Env) -> Self {
        Self { env, faults: Vec::new() }
    }

    /// Ends the reading: `build` puts the readings together, each with `?`.
    ///
    /// # Errors
    /// [`ConfigError`] with every fault that was noted.
    pub fn build<T>(self, build: impl FnOnce() -> Option<T>) -> Result<T, ConfigError> {
        match build() {
            Some(config) if self.faults.is_empty() => Ok(config),
            _ => Err(ConfigError { faults: self.faults }),
        }
    }

    /// Notes that a variable is not of the form asked for.
    pub fn invalid(&mut self, name: &str, form: impl Into<String>) {
        self.faults.push((name.to_owned(), Fault::Invalid(form.into())));
    }

    /// Notes that a variable is missing.
    pub fn missing(&mut self, name: &str) {
        self.faults.push((name.to_owned(), Fault::Missing));
    }

    /// A variable that may be absent.
    pub fn optional(&mut self, name: &str) -> Option<String> {
        self.env.get(name).map(str::to_owned)
    }

    /// A variable that must be set.
    pub fn text(&mut self, name: &str) -> Option<String> {
        let value = self.optional(name);
        if value.is_none() {
            self.missing(name);
        }
        value
    }

    /// A variable that must be set and parse; `form` ends the sentence "X is not …".
    pub fn parsed<T: FromStr>(&mut self, name: &str, form: &str) -> Option<T> {
        let text = self.text(name)?;
        self.parse(name, &text, form)
    }

    /// A variable that must parse if it is set.
    pub fn parsed_or<T: FromStr>(&mut self, name: &str, form: &str, default: T) -> Option<T> {
        match self.optional(name) {
            Some(text) => self.parse(name, &text, form),
            None => Some(default),
        }
    }

    fn parse<T: FromStr>(&mut self, name: &str, text: &str, form: &str) -> Option<T> {
        let value = text.parse().ok();
        if value.is_none() {
            self.invalid(name, form);
        }
        value
    }

    /// The address a listener binds.
    pub fn address(&mut self, name: &str) -> Option<SocketAddr> {
        self.parsed(name, "an address such as 127.0.0.1:8080")
    }

    /// A number within `range`, with a default that is safe everywhere.
    pub fn number_or(&mut self, name: &str, range: std::ops::RangeInclusive<u64>, default: u64) -> Option<u64> {
        let form = format!("a number from {} to {}", range.start(), range.end());
        let value = self.parsed_or(name, &form, default)?;
        if range.contains(&value) {
            return Some(value);
        }
        self.invalid(name, form);
        None
    }

    /// A span in whole seconds within `range`, with a default that is safe everywhere.
    pub fn seconds_or(&mut self, name: &str, range: std::ops::RangeInclusive<u64>, default: u64) -> Option<Duration> {
        self.number_or(name, range, default).map(Duration::from_secs)
    }

    /// A comma-separated list; empty when absent.
    pub fn list(&mut self, name: &str) -> Vec<String> {
        self.optional(name)
            .map(|text| text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
            .unwrap_or_default()
    }

    /// The base address of a service, without a trailing slash.
    pub fn base_url(&mut self, name: &str) -> Option<String> {
        let text = self.text(name)?;
        if !is_base_url(&text) {
            self.invalid(name, "an address such as http://127.0.0.1:8080");
            return None;
        }
        Some(text.trim_end_matches('/').to_owned())
    }

    /// Base addresses, comma separated; at least one.
    pub fn base_urls(&mut self, name: &str) -> Option<Vec<String>> {
        let urls = self.list(name);
        if urls.is_empty() {
            self.missing(name);
            return None;
        }
        if !urls.iter().all(|url| is_base_url(url)) {
            self.invalid(name, "a comma-separated list of addresses such as http://127.0.0.1:8080");
            return None;
        }
        Some(urls.into_iter().map(|url| url.trim_end_matches('/').to_owned()).collect())
    }

    /// A secret that must be set, either as the value itself or as `file:/path`.
    pub fn secret(&mut self, name: &str) -> Option<Secret> {
        let value = self.text(name)?;
        self.resolve(name, value)
    }

    /// A secret that may be absent.
    pub fn secret_optional(&mut self, name: &str) -> Option<Secret> {
        let value = self.optional(name)?;
        self.resolve(name, value)
    }

    /// A secret that must be set and be of its form; `form` ends the sentence "X is not …".
    pub fn secret_of(&mut self, name: &str, form: &str, is_of_form: impl FnOnce(&str) -> bool) -> Option<Secret> {
        let secret = self.secret(name)?;
        if is_of_form(secret.expose()) {
            return Some(secret);
        }
        self.invalid(name, form);
        None
    }

    /// The URL of a database, with credentials.
    pub fn database_url(&mut self, name: &str) -> Option<Secret> {
        self.secret_of(name, "an address such as postgres://role:password@host/database", |url| {
            url.starts_with("postgres") && url.parse::<sqlx::postgres::PgConnectOptions>().is_ok()
        })
    }

    /// The URL of the bus, with credentials.
    pub fn nats_url(&mut self, name: &str) -> Option<Secret> {
        self.secret_of(name, "an address such as nats://user:password@host:4222", |url| {
            url.parse::<async_nats::ServerAddr>().is_ok()
        })
    }

    /// Keys that seal what is personal.
    pub fn data_keys(&mut self) -> Option<Secret> {
        self.secret_of("DATA_ENCRYPTION_KEYS", "a list of id:key, each key 32 bytes in base64", |keys| {
            kisum_log::Sealer::new(keys).is_ok()
        })
    }

    fn resolve(&mut self, name: &str, value: String) -> Option<Secret> {
        let Some(path) = value.strip_prefix("file:") else { return Some(Secret(value)) };
        match std::fs::read_to_string(path) {
            Ok(text) if text.trim().is_empty() => {
                self.faults.push((name.to_owned(), Fault::Unreadable("it is empty".to_owned())));
                None
            }
            Ok(text) => Some(Secret(text.trim_end_matches(['\r', '\n']).to_owned())),
            Err(error) => {
                self.faults.push((name.to_owned(), Fault::Unreadable(error.kind().to_string())));
                None
            }
        }
    }

    /// The environment; there is no default, since `local` loosens rules.
    pub fn environment(&mut self) -> Option<Environment> {
        self.parsed("ENVIRONMENT", "a name of lower-case letters, digits and hyphens, such as local")
    }
}

fn is_base_url(text: &str) -> bool {
    text.strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"))
        .is_some_and(|rest| !rest.is_empty() && !rest.contains(['@', '?', '#', ' ']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(env: &Env) -> Result<(SocketAddr, Secret, u64), ConfigError> {
        let mut reader = Reader::new(env);
        let listen = reader.address("LISTEN_ADDR");
        let key = reader.secret("LOOKUP_KEY");
        let pool = reader.number_or("DB_POOL_MAX", 1..=500, 16);
        reader.build(|| Some((listen?, key?, pool?)))
    }

    #[test]
    fn every_missing_and_invalid_variable_stands_in_one_message() {
        let env: Env = [("LISTEN_ADDR", "hunter2"), ("DB_POOL_MAX", "0"), ("LOOKUP_KEY", "file:/nowhere/at/all")]
            .into_iter()
            .collect();
        let Err(error) = read_all(&env) else { panic!("three faults passed") };
        assert_eq!(
            error.to_string(),
            "the environment is not usable:\n  LISTEN_ADDR is not an address such as 127.0.0.1:8080\
             \n  LOOKUP_KEY names a file that cannot be read: entity not found\
             \n  DB_POOL_MAX is not a number from 1 to 500"
        );
        assert!(!error.to_string().contains("hunter2"), "a value may be a secret");
    }

    #[test]
    fn a_secret_is_read_from_a_file_and_never_printed() {
        let path = std::env::temp_dir().join(format!("kisum-config-{}", std::process::id()));
        std::fs::write(&path, "s3cr3t\n").unwrap_or_else(|e| panic!("{e}"));
        let env: Env = [("LISTEN_ADDR".to_owned(), "127.0.0.1:1".to_owned())].into_iter().collect();
        let env = env.with("LOOKUP_KEY", format!("file:{}", path.display()));
        let (_, secret, pool) = read_all(&env).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((secret.expose(), pool), ("s3cr3t", 16));
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        std::fs::remove_file(path).unwrap_or_else(|e| panic!("{e}"));
    }

    #[test]
    fn an_empty_value_counts_as_missing() {
        let env: Env = [("LISTEN_ADDR", ""), ("LOOKUP_KEY", "k")].into_iter().collect();
        let Err(error) = read_all(&env) else { panic!("an empty address passed") };
        assert_eq!(error.faults(), [("LISTEN_ADDR".to_owned(), Fault::Missing)]);
    }
}
