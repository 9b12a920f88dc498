//! Every secret of a local stack, made once and kept in files that only their owner may read.
//!
//! One file a secret: whatever moment a run is killed at, the next one keeps what was made and makes the rest.

use super::{Failure, Part, keys, layout};
use crate::ambient;
use anyhow::Result;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The caller that stands for a person with full rights on a developer's machine: tests, smoke and seed use it.
pub const ADMIN: &str = "admin";

/// The list of private keys of access tokens, and what it holds at first.
const JWT_KEYRING: &str = "jwt-keyring.json";
const FIRST_KEYRING: &str = "[\n  { \"kid\": \"local-1\", \"alg\": \"PS256\", \"privateKey\": \"file:jwt.pem\" }\n]\n";

/// The secrets of one stack, read from and made in its folder.
#[derive(Clone, Debug)]
pub struct Secrets {
    folder: PathBuf,
}

impl Secrets {
    /// The secrets in a folder, which exists.
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Makes what is missing, all at once, so that later readers only read.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn ensure(&self) -> Result<(), Failure> {
        for role in super::databases::LOGIN_ROLES {
            self.database_password(role)?;
        }
        for part in Part::SERVICES {
            self.service_key(part.name())?;
        }
        self.service_key(ADMIN)?;
        self.jwt_keyring_file()?;
        for text in [Self::refresh_token_key, Self::lookup_key, Self::cache_mac_key, Self::data_keys] {
            text(self)?;
        }
        self.demo_password()?;
        self.demo_totp_secret()?;
        Ok(())
    }

    /// The password of a database role.
    ///
    /// # Errors
    /// When it is missing and cannot be made.
    pub fn database_password(&self, role: &str) -> Result<String, Failure> {
        self.keep(&format!("postgres-{role}"), token)
    }

    /// The password of a NATS user.
    ///
    /// # Errors
    /// When it is missing and cannot be made.
    pub fn nats_password(&self, user: &str) -> Result<String, Failure> {
        self.keep(&format!("nats-{user}"), token)
    }

    /// The password of a Redis user.
    ///
    /// # Errors
    /// When it is missing and cannot be made.
    pub fn redis_password(&self, user: &str) -> Result<String, Failure> {
        self.keep(&format!("redis-{user}"), token)
    }

    /// The seed of the key that a subscriber proves itself to NATS with.
    ///
    /// # Errors
    /// When it is missing and cannot be made.
    pub fn subscriber_seed(&self, name: &str) -> Result<String, Failure> {
        self.keep(&subscriber_seed_name(name), || Ok(keys::nats_user()?.seed))
    }

    /// The file that holds [`Secrets::subscriber_seed`].
    pub fn subscriber_seed_path(&self, name: &str) -> PathBuf {
        self.folder.join(subscriber_seed_name(name))
    }

    /// The Ed25519 key that a service signs its tokens with, PEM.
    ///
    /// # Errors
    /// When it is missing and cannot be made.
    pub fn service_key(&self, service: &str) -> Result<String, Failure> {
        self.keep(&service_key_name(service), keys::ed25519)
    }

    /// The file that holds [`Secrets::service_key`].
    pub fn service_key_path(&self, service: &str) -> PathBuf {
        self.folder.join(service_key_name(service))
    }

    /// The RSA key that Auth signs access tokens with, PEM.
    ///
    /// # Errors
    /// When it is missing and cannot be made.
    pub fn jwt_key(&self) -> Result<String, Failure> {
        self.keep("jwt.pem", keys::rsa)
    }

    /// The file that holds [`Secrets::jwt_key`].
    pub fn jwt_key_path(&self) -> PathBuf {
        self.folder.join("jwt.pem")
    }

    /// The list of private keys of access tokens (`JWT_KEYRING_FILE`), at first with [`Secrets::jwt_key`] alone.
    ///
    /// # Errors
    /// When it is missing and cannot be made.
    pub fn jwt_keyring_file(&self) -> Result<PathBuf, Failure> {
        self.jwt_key()?;
        self.keep(JWT_KEYRING, || Ok(FIRST_KEYRING.to_owned()))?;
        Ok(self.folder.join(JWT_KEYRING))
    }

    /// `REFRESH_TOKEN_KEY`: 32 bytes, base64.
    ///
    /// # Errors
    /// When it is missing and cannot be made.
    pub fn refresh_token_key(&self) -> Result<String, Failure> {
        self.keep("refresh-token-key", key_of_32_bytes)
    }

    /// `LOOKUP_KEY`: 32 bytes, base64.
    ///
    /// # Errors
    /// When it is missing and cannot be made.
    pub fn lookup_key(&self) -> Result<String, Failure> {
        self.keep("lookup-key", key_of_32_bytes)
    }

    /// `CACHE_MAC_KEY`: 32 bytes, base64.
    ///
    /// # Errors
    /// When it is missing and cannot be made.
    pub fn cache_mac_key(&self) -> Result<String, Failure> {
        self.keep("cache-mac-key", key_of_32_bytes)
    }

    /// `DATA_ENCRYPTION_KEYS`: one wrapping key, `1:<32 bytes, base64>`.
    ///
    /// # Errors
    /// When it is missing and cannot be made.
    pub fn data_keys(&self) -> Result<String, Failure> {
        self.keep("data-encryption-keys", || Ok(format!("1:{}", key_of_32_bytes()?)))
    }

    /// The password of every person of the demo; longer than the 15 characters that a single factor needs
    /// (NIST SP 800-63B-4 §3.1.1.2).
    ///
    /// # Errors
    /// When it is missing and cannot be made.
    pub fn demo_password(&self) -> Result<String, Failure> {
        self.keep("demo-password", || Ok(format!("demo-{}", hex(&ambient::random::<8>()?))))
    }

    /// What the authenticator app of the platform's first owner holds (`DEMO_ADMIN_TOTP_SECRET`): 160 bits in base32.
    ///
    /// # Errors
    /// When it is missing and cannot be made.
    pub fn demo_totp_secret(&self) -> Result<String, Failure> {
        let letter = |byte: &u8| BASE32.get(usize::from(byte & 31)).map_or('A', |letter| char::from(*letter));
        self.keep("demo-admin-totp", || Ok(ambient::random::<32>()?.iter().map(letter).collect()))
    }

    /// The file with the callers that a service trusts (`SERVICE_TRUST`), written anew at every start.
    ///
    /// # Errors
    /// When a key is missing or the file cannot be written.
    pub fn trust_file(&self, callee: Part) -> Result<PathBuf, Failure> {
        let path = self.folder.join(format!("trust-{callee}.json"));
        let text = super::trust::document(callee, |service| self.service_key(service))?;
        layout::write_private(&path, text.as_bytes())
            .map_err(|error| Failure::io(format!("writing {}", path.display()), &error))?;
        Ok(path)
    }

    /// The list of erasures (`ERASURE_LEDGER`): no secret, but kept like one, and gone when the stack is.
    pub fn erasure_ledger_path(&self) -> PathBuf {
        self.folder.join("erasures.jsonl")
    }

    /// A file beside the secrets, for what a server reads at its start.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn scratch(&self, name: &str, text: &str) -> Result<PathBuf, Failure> {
        let path = self.folder.join(name);
        layout::write_private(&path, text.as_bytes())
            .map_err(|error| Failure::io(format!("writing {}", path.display()), &error))?;
        Ok(path)
    }

    fn keep(&self, name: &str, make: impl Fn() -> Result<String>) -> Result<String, Failure> {
        let path = self.folder.join(name);
        match fs::read_to_string(&path) {
            Ok(text) if !text.is_empty() => return Ok(text),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::io(format!("reading {}", path.display()), &error)),
        }
        let text = make().map_err(|error| Failure::new(format!("making {name}: {error}"), "try again"))?;
        layout::write_private(&path, text.as_bytes())
            .map_err(|error| Failure::io(format!("writing {}", path.display()), &error))?;
        Ok(text)
    }
}

fn service_key_name(service: &str) -> String {
    format!("service-{service}.pem")
}

fn subscriber_seed_name(name: &str) -> String {
    format!("subscriber-{name}.nk")
}

/// The letters of base32 (RFC 4648 §6).
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// 128 random bits that begin with a letter: nats-server reads a value that begins with a digit as a number.
fn token() -> Result<String> {
    Ok(format!("k{}", hex(&ambient::random::<16>()?)))
}

fn key_of_32_bytes() -> Result<String> {
    Ok(BASE64_STANDARD.encode(ambient::random::<32>()?))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
