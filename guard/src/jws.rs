//! The compact form of a signed token (RFC 7515 §7.1): taking it apart strictly, and checking its signature.
//!
//! It owns which headers are refused, whoever signed. It refuses to know claims, keys' owners and the time; the
//! library's own claim validation is not used, because it reads the machine's clock.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::IgnoredAny};

/// Longest token that is looked at, in bytes. An access token has at most 700 (`security.md` 9).
pub(crate) const TOKEN_LEN_MAX: usize = 8 * 1024;

/// Why a token was refused before or at its signature. Shown in logs and metrics by its name only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JwsError {
    /// It is not three base64url parts with a JSON header, or it is too long.
    #[error("malformed")]
    Malformed,
    /// It names an algorithm that is not on the allow-list.
    #[error("algorithm")]
    Algorithm,
    /// It brings or points to a key of its own, or has critical extensions (RFC 8725 §3.1, §3.10).
    #[error("header")]
    Header,
    /// It is of another kind.
    #[error("type")]
    Type,
    /// Nobody we trust signed it.
    #[error("signature")]
    Signature,
}

impl JwsError {
    /// The name in metrics and logs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::Header => "header",
            Self::Type => "type",
            Self::Signature => "signature",
        }
    }
}

/// Whether a member stands in an object, whatever its value.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|IgnoredAny| true)
}

/// What of a header decides anything. A member that stands twice is an error, as RFC 7515 §4 asks.
#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    typ: Option<String>,
    kid: Option<String>,
    #[serde(default, deserialize_with = "present")]
    jku: bool,
    #[serde(default, deserialize_with = "present")]
    jwk: bool,
    #[serde(default, deserialize_with = "present")]
    x5u: bool,
    #[serde(default, deserialize_with = "present")]
    x5c: bool,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

/// A token taken apart: nothing of it is believed yet.
#[derive(Debug)]
pub(crate) struct Unverified<'a> {
    /// The algorithm, from the allow-list.
    pub(crate) algorithm: Algorithm,
    /// The key that it says it was signed by.
    pub(crate) kid: String,
    message: &'a str,
    signature: &'a str,
    payload: &'a str,
}

/// Takes a token apart and refuses what no key could make good: other algorithms than `allowed`, another `typ`,
/// keys brought along.
pub(crate) fn parse<'a>(token: &'a str, typ: &str, allowed: &[Algorithm]) -> Result<Unverified<'a>, JwsError> {
    if token.len() > TOKEN_LEN_MAX {
        return Err(JwsError::Malformed);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(JwsError::Malformed)?;
    let (header, payload) = message.split_once('.').ok_or(JwsError::Malformed)?;
    if payload.contains('.') {
        return Err(JwsError::Malformed);
    }
    let header: Header = decode(header)?;
    let algorithm = allowed.iter().copied().find(|allowed| name(*allowed) == header.alg).ok_or(JwsError::Algorithm)?;
    if header.jku || header.jwk || header.x5u || header.x5c || header.crit {
        return Err(JwsError::Header);
    }
    if !header.typ.is_some_and(|given| given.eq_ignore_ascii_case(typ)) {
        return Err(JwsError::Type);
    }
    let kid = header.kid.ok_or(JwsError::Header)?;
    Ok(Unverified { algorithm, kid, message, signature, payload })
}

impl Unverified<'_> {
    /// Checks the signature and reads the claims.
    pub(crate) fn verify<C: DeserializeOwned>(&self, key: &DecodingKey) -> Result<C, JwsError> {
        match crypto::verify(self.signature, self.message.as_bytes(), key, self.algorithm) {
            Ok(true) => decode(self.payload),
            Ok(false) | Err(_) => Err(JwsError::Signature),
        }
    }

    /// Reads claims that nobody vouches for yet: only to find the key that should.
    pub(crate) fn claims_unverified<C: DeserializeOwned>(&self) -> Result<C, JwsError> {
        decode(self.payload)
    }
}

fn decode<T: DeserializeOwned>(part: &str) -> Result<T, JwsError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| JwsError::Malformed)
}

/// The registered name of an algorithm that this platform uses (RFC 7518 §3.1, RFC 8037 §3.1).
pub(crate) fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::PS256 => "PS256",
        Algorithm::RS256 => "RS256",
        Algorithm::EdDSA => "EdDSA",
        // The enum is non-exhaustive; whatever else it holds is not used here and has no name.
        _ => "",
    }
}
