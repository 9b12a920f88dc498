//! An issuer of access tokens for this crate's tests, honest and otherwise.

use crate::{
    jwks::KeySet,
    samples::{session, user, wall},
};
use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{self, KeySize},
    signature::{KeyPair, RsaKeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};
use std::sync::OnceLock;

pub(crate) const ISSUER: &str = "https://auth.example";
pub(crate) const AUDIENCE: &str = "kisum";
pub(crate) const KID: &str = "key-1";

/// One RSA key; making one takes a while, so all tests of a process share it.
pub(crate) struct Issuer {
    key: EncodingKey,
    pub(crate) n: String,
    pub(crate) e: String,
}

/// The issuer that the tests trust.
pub(crate) fn issuer() -> &'static Issuer {
    static ISSUER: OnceLock<Issuer> = OnceLock::new();
    ISSUER.get_or_init(Issuer::generate)
}

/// Another issuer that nobody trusts.
pub(crate) fn impostor() -> &'static Issuer {
    static IMPOSTOR: OnceLock<Issuer> = OnceLock::new();
    IMPOSTOR.get_or_init(Issuer::generate)
}

impl Issuer {
    fn generate() -> Self {
        let pair = rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let public = RsaKeyPair::from_pkcs8(der.as_ref()).unwrap();
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let n = part(public.public_key().modulus().big_endian_without_leading_zero());
        let e = part(public.public_key().exponent().big_endian_without_leading_zero());
        let text = STANDARD.encode(der.as_ref());
        let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
        Self { key: EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap(), n, e }
    }

    /// The published key set, with one PS256 key.
    pub(crate) fn jwks(&self) -> Value {
        json!({ "keys": [{ "kty": "RSA", "use": "sig", "alg": "PS256", "kid": KID, "n": self.n, "e": self.e }] })
    }

    pub(crate) fn keys(&self) -> KeySet {
        KeySet::from_json(&self.jwks().to_string()).unwrap()
    }

    /// A genuine token of person `n` in session `n`.
    pub(crate) fn token(&self, user_n: u128) -> String {
        self.sign(&header(), &claims(user_n), Algorithm::PS256)
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value, algorithm: Algorithm) -> String {
        sign(header, claims, &self.key, algorithm)
    }
}

pub(crate) fn sign(header: &Value, claims: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

pub(crate) fn header() -> Value {
    json!({ "alg": "PS256", "typ": "at+jwt", "kid": KID })
}

/// Issued now, for five minutes.
pub(crate) fn claims(user_n: u128) -> Value {
    let now = wall().seconds();
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": user(user_n), "sid": session(user_n), "jti": "a", "iat": now,
        "exp": now + 300, "auth_time": now, "acr": "aal1",
    })
}

/// `value` with some members replaced, or removed where null.
pub(crate) fn with(mut value: Value, changes: Value) -> Value {
    let (Value::Object(members), Value::Object(changes)) = (&mut value, changes) else { panic!("objects are given") };
    for (name, change) in changes {
        if change.is_null() {
            members.remove(&name);
        } else {
            members.insert(name, change);
        }
    }
    value
}
