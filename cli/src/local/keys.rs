//! Making keys: RSA for access tokens, Ed25519 for service tokens, both as PKCS#8 PEM.

use crate::ambient;
use anyhow::{Context as _, Result};
use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
    signature::{Ed25519KeyPair, KeyPair as _},
};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};

/// RFC 7468 §2: base64 lines of 64 characters.
const PEM_LINE: usize = 64;

/// A fresh RSA key of 2048 bits.
///
/// # Errors
/// When the cryptography library refuses.
pub fn rsa() -> Result<String> {
    let key = KeyPair::generate(KeySize::Rsa2048).ok().context("no RSA key could be made")?;
    let der: Pkcs8V1Der<'_> = key.as_der().ok().context("an RSA key could not be written")?;
    Ok(pem(der.as_ref()))
}

/// A fresh Ed25519 key.
///
/// # Errors
/// When the cryptography library refuses.
pub fn ed25519() -> Result<String> {
    let key = Ed25519KeyPair::generate().ok().context("no Ed25519 key could be made")?;
    let der: Pkcs8V1Der<'_> = key.as_der().ok().context("an Ed25519 key could not be written")?;
    Ok(pem(der.as_ref()))
}

/// A key of a NATS user (nkey): the server's configuration holds the public half alone.
#[derive(Clone)]
pub struct NatsUser {
    /// `U…`, what the server knows.
    pub public: String,
    /// `SU…`, what the user proves to hold.
    pub seed: String,
}

impl std::fmt::Debug for NatsUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("NatsUser").field(&self.public).finish()
    }
}

/// A fresh key of a NATS user.
///
/// # Errors
/// When the operating system has no random bytes to give.
pub fn nats_user() -> Result<NatsUser> {
    let key = nkeys::KeyPair::new_from_raw(nkeys::KeyPairType::User, ambient::random()?);
    of_nats(&key.context("no key for NATS could be made")?)
}

/// The key of a NATS user, from its seed.
///
/// # Errors
/// When the text is no seed.
pub fn nats_user_of(seed: &str) -> Result<NatsUser> {
    of_nats(&nkeys::KeyPair::from_seed(seed.trim()).context("this is no seed of a key for NATS")?)
}

/// Whether a text is the public key of a NATS user.
pub fn is_nats_user(public: &str) -> bool {
    public.starts_with('U') && nkeys::KeyPair::from_public_key(public).is_ok()
}

fn of_nats(key: &nkeys::KeyPair) -> Result<NatsUser> {
    Ok(NatsUser { public: key.public_key(), seed: key.seed().context("a key for NATS could not be written")? })
}

/// The public half of an Ed25519 key in PEM, as base64url: the `x` of a JWK (RFC 8037 §2).
///
/// # Errors
/// When the text is not such a key.
pub fn ed25519_public(pem: &str) -> Result<String> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = BASE64_STANDARD.decode(body.trim()).context("the key is not base64")?;
    let key = Ed25519KeyPair::from_pkcs8(&der).ok().context("the key is not a PKCS#8 Ed25519 key")?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(key.public_key()))
}

fn pem(der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(PEM_LINE).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_service_key_gives_its_public_half_back() {
        let pem = super::ed25519().unwrap();
        let x = super::ed25519_public(&pem).unwrap();
        assert_eq!(x.len(), 43);
        assert_eq!(x, super::ed25519_public(&pem).unwrap());
    }

    #[test]
    fn an_rsa_key_is_pkcs8_pem() {
        let pem = super::rsa().unwrap();
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"));
        assert!(pem.lines().all(|line| line.len() <= 64));
    }
}
