//! Events of the keys that sign access tokens: stream `keyring`, in the auth log. Public parts alone: a private key is
//! in no event.

use crate::{KeyId, Timestamp, event::events};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// How a key signs (RFC 7518 §3.1, RFC 8037 §3.1; security 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SigningAlgorithm {
    /// RSA with PSS and SHA-256.
    PS256,
    /// RSA with PKCS #1 v1.5 and SHA-256, where a client knows nothing else.
    RS256,
    /// Ed25519.
    EdDSA,
}

impl SigningAlgorithm {
    /// Every algorithm that signs access tokens.
    pub const ALL: [Self; 3] = [Self::PS256, Self::RS256, Self::EdDSA];

    /// The registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PS256 => "PS256",
            Self::RS256 => "RS256",
            Self::EdDSA => "EdDSA",
        }
    }
}

impl fmt::Display for SigningAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SigningAlgorithm {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|algorithm| algorithm.name() == text);
        named.ok_or_else(|| format!("'{text}' is none of PS256, RS256 and EdDSA"))
    }
}

/// The public half of a key, as the parameters of a JWK (RFC 7518 §6.3.1, RFC 8037 §2); base64url without padding.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kty")]
pub enum PublicKey {
    /// An RSA key.
    #[serde(rename = "RSA")]
    Rsa {
        /// Its modulus.
        n: String,
        /// Its exponent.
        e: String,
    },
    /// A key on an Edwards curve.
    #[serde(rename = "OKP")]
    Okp {
        /// Which curve; `Ed25519`.
        crv: String,
        /// The key.
        x: String,
    },
}

impl PublicKey {
    /// Whether a key of this kind can sign so.
    pub const fn signs(&self, algorithm: SigningAlgorithm) -> bool {
        match self {
            Self::Rsa { .. } => matches!(algorithm, SigningAlgorithm::PS256 | SigningAlgorithm::RS256),
            Self::Okp { .. } => matches!(algorithm, SigningAlgorithm::EdDSA),
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsa { .. } => "PublicKey(RSA …)",
            Self::Okp { .. } => "PublicKey(OKP …)",
        })
    }
}

events! {
    /// What happens to the keys that sign access tokens.
    KeyringEvent {
        /// A key's public half is in the key set from now on.
        Published = "key.published" Widens {
            /// Its name.
            kid: KeyId,
            /// How it signs.
            alg: SigningAlgorithm,
            /// Its public half.
            jwk: PublicKey,
            /// It does not sign before: whoever keeps the key set keeps one with it by then (security 11).
            not_before: Timestamp,
        },
        /// It signs from now on, and no other does.
        Activated = "key.activated" None {
            /// Which.
            kid: KeyId,
        },
        /// It signs no more; what it signed is still good.
        Retired = "key.retired" None {
            /// Which.
            kid: KeyId,
            /// The last token that it signed has expired by then, whatever the verifier's clock.
            until: Timestamp,
        },
        /// Nothing that it signed is good any more.
        Removed = "key.removed" Narrows {
            /// Which.
            kid: KeyId,
        },
    }
}
