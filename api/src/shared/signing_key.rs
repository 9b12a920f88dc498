//! Private keys of access tokens, and the file that lists them (`JWT_KEYRING_FILE`).
//!
//! It owns reading and signing. It refuses to know which of them signs: the log's keyring says. Nothing here is ever
//! shown: an error names a file and a place in it, never what stands there.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use kisum_events::{KeyId, PublicKey, SigningAlgorithm};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Smallest RSA modulus, in bytes (security 10).
const RSA_BYTES_MIN: usize = 256;

/// Why a private key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    /// Not a PEM with an RSA or Ed25519 private key that is long enough.
    #[error("it is not the PEM of an Ed25519 private key, or of an RSA one of at least 2048 bits")]
    Unreadable,
    /// Such a key cannot sign so.
    #[error("this kind of key cannot sign {0}")]
    CannotSign(SigningAlgorithm),
}

/// The key did not sign, which a key that was read once does not do.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the key did not sign")]
pub struct SignError;

enum Pair {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ed25519(Ed25519KeyPair),
}

/// A key that signs access tokens. Cheap to clone.
#[derive(Clone)]
pub struct SigningKey {
    kid: KeyId,
    alg: SigningAlgorithm,
    public: PublicKey,
    pair: Arc<Pair>,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).field("alg", &self.alg).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Reads a key. Where no algorithm is said, RSA signs PS256 and Ed25519 EdDSA (security 10).
    ///
    /// # Errors
    /// [`SigningKeyError`]
    pub fn from_pem(kid: KeyId, alg: Option<SigningAlgorithm>, pem: &str) -> Result<Self, SigningKeyError> {
        let der = der_of(pem).ok_or(SigningKeyError::Unreadable)?;
        // Held as it is: to read a key takes as long as to sign with it.
        let rsa = RsaKeyPair::from_pkcs8(&der).or_else(|_| RsaKeyPair::from_der(&der));
        let (pair, public, alg) = if let Ok(pair) = rsa {
            let alg = alg.unwrap_or(SigningAlgorithm::PS256);
            let encoding: &'static dyn RsaEncoding = match alg {
                SigningAlgorithm::PS256 => &RSA_PSS_SHA256,
                SigningAlgorithm::RS256 => &RSA_PKCS1_SHA256,
                SigningAlgorithm::EdDSA => return Err(SigningKeyError::CannotSign(alg)),
            };
            let modulus = pair.public_key().modulus();
            let n = modulus.big_endian_without_leading_zero();
            if n.len() < RSA_BYTES_MIN {
                return Err(SigningKeyError::Unreadable);
            }
            let exponent = pair.public_key().exponent();
            let e = URL_SAFE_NO_PAD.encode(exponent.big_endian_without_leading_zero());
            let public = PublicKey::Rsa { n: URL_SAFE_NO_PAD.encode(n), e };
            (Pair::Rsa(pair, encoding), public, alg)
        } else {
            let pair = Ed25519KeyPair::from_pkcs8(&der).map_err(|_| SigningKeyError::Unreadable)?;
            let x = URL_SAFE_NO_PAD.encode(pair.public_key());
            let public = PublicKey::Okp { crv: "Ed25519".to_owned(), x };
            (Pair::Ed25519(pair), public, alg.unwrap_or(SigningAlgorithm::EdDSA))
        };
        if !public.signs(alg) {
            return Err(SigningKeyError::CannotSign(alg));
        }
        Ok(Self { kid, alg, public, pair: Arc::new(pair) })
    }

    /// Its name.
    pub const fn kid(&self) -> &KeyId {
        &self.kid
    }

    /// How it signs.
    pub const fn alg(&self) -> SigningAlgorithm {
        self.alg
    }

    /// Its public half.
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs.
    ///
    /// # Errors
    /// [`SignError`]
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        match &*self.pair {
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &SystemRandom::new(), message, &mut signature).map_err(|_| SignError)?;
                Ok(signature)
            }
        }
    }
}

/// What stands between the lines of a PEM (RFC 7468), whatever they call it: the key itself tells what it is.
fn der_of(pem: &str) -> Option<Vec<u8>> {
    let mut lines = pem.lines().map(str::trim).skip_while(|line| !line.starts_with("-----BEGIN "));
    lines.next()?;
    let body: String = lines.take_while(|line| !line.starts_with("-----END ")).collect();
    STANDARD.decode(body).ok()
}

/// One entry of the file.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyringEntry {
    /// The key's name.
    pub kid: KeyId,
    /// How it signs.
    pub alg: SigningAlgorithm,
    /// The PEM, or `file:` and where it lies, from the list's own folder.
    pub private_key: String,
}

/// Why a list of private keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringFileError {
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The list is not one.
    #[error("{}, line {line}: it is not a JSON array of {{kid, alg, privateKey}}", path.display())]
    Shape {
        /// Which file.
        path: PathBuf,
        /// Where.
        line: usize,
    },
    /// A name stands twice.
    #[error("{} lists '{kid}' twice", path.display())]
    Twice {
        /// Which file.
        path: PathBuf,
        /// Which name.
        kid: KeyId,
    },
    /// A key is not one.
    #[error("the private key '{kid}'")]
    Key {
        /// Which.
        kid: KeyId,
        /// What is wrong with it.
        #[source]
        source: SigningKeyError,
    },
}

/// The entries of a list, keys unread.
///
/// # Errors
/// [`KeyringFileError`]
pub fn read_entries(path: &Path) -> Result<Vec<KeyringEntry>, KeyringFileError> {
    let text = read(path)?;
    let entries: Vec<KeyringEntry> = serde_json::from_str(&text)
        .map_err(|error| KeyringFileError::Shape { path: path.to_owned(), line: error.line() })?;
    let twice = entries.iter().enumerate().find(|(at, one)| entries.iter().take(*at).any(|other| other.kid == one.kid));
    match twice {
        Some((_, entry)) => Err(KeyringFileError::Twice { path: path.to_owned(), kid: entry.kid.clone() }),
        None => Ok(entries),
    }
}

/// Every key of a list, in its order.
///
/// # Errors
/// [`KeyringFileError`]
pub fn read_keyring(path: &Path) -> Result<Vec<SigningKey>, KeyringFileError> {
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let key = |entry: KeyringEntry| {
        let pem = match entry.private_key.strip_prefix("file:") {
            Some(file) => read(&folder.join(file))?,
            None => entry.private_key,
        };
        let of_key = |source| KeyringFileError::Key { kid: entry.kid.clone(), source };
        SigningKey::from_pem(entry.kid.clone(), Some(entry.alg), &pem).map_err(of_key)
    };
    read_entries(path)?.into_iter().map(key).collect()
}

fn read(path: &Path) -> Result<String, KeyringFileError> {
    std::fs::read_to_string(path).map_err(|source| KeyringFileError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::{KeyringFileError, SigningKey, SigningKeyError, read_keyring};
    use aws_lc_rs::{encoding::AsDer as _, rsa, signature::Ed25519KeyPair};
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use kisum_events::SigningAlgorithm::{EdDSA, PS256, RS256};

    fn pem(der: &[u8]) -> String {
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der))
    }

    fn rsa() -> String {
        let key = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
        pem(rsa::KeyPair::as_der(&key).unwrap().as_ref())
    }

    fn ed25519() -> String {
        pem(Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap().as_ref())
    }

    #[test]
    fn a_key_signs_what_its_kind_can_and_is_silent_about_itself() {
        let key = |alg, pem: &str| SigningKey::from_pem("a".parse().unwrap(), alg, pem);
        let (rsa, ed25519) = (rsa(), ed25519());
        assert_eq!(key(None, &rsa).unwrap().alg(), PS256);
        assert_eq!(key(Some(RS256), &rsa).unwrap().sign(b"x").unwrap().len(), 256);
        assert_eq!(key(None, &ed25519).unwrap().alg(), EdDSA);
        assert_eq!(key(Some(EdDSA), &rsa).unwrap_err(), SigningKeyError::CannotSign(EdDSA));
        assert_eq!(key(Some(PS256), &ed25519).unwrap_err(), SigningKeyError::CannotSign(PS256));
        for bad in ["", "nonsense", &pem(b"nonsense")] {
            assert_eq!(key(None, bad).unwrap_err(), SigningKeyError::Unreadable);
        }
        assert_eq!(format!("{:?}", key(None, &rsa).unwrap()), r"SigningKey { kid: a, alg: PS256, .. }");
    }

    #[test]
    fn a_list_of_keys_is_read_and_what_is_wrong_with_one_is_said_without_showing_it() {
        let folder = std::env::temp_dir().join(format!("kisum-keyring-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("keyring.json");
        std::fs::write(folder.join("b.pem"), ed25519()).unwrap();
        let write = |list: serde_json::Value| std::fs::write(&path, list.to_string()).unwrap();
        let entry = |kid: &str, alg: &str, key: &str| serde_json::json!({ "kid": kid, "alg": alg, "privateKey": key });

        write(serde_json::json!([entry("a", "RS256", &rsa()), entry("b", "EdDSA", "file:b.pem")]));
        let keys = read_keyring(&path).unwrap();
        assert_eq!(keys.iter().map(SigningKey::alg).collect::<Vec<_>>(), [RS256, EdDSA]);

        let refused = || read_keyring(&path).unwrap_err();
        write(serde_json::json!([entry("a", "HS256", "s3cr3t")]));
        assert!(
            matches!(refused(), KeyringFileError::Shape { line: 1, .. }) && !refused().to_string().contains("HS256")
        );
        write(serde_json::json!([entry("a", "PS256", "s3cr3t")]));
        assert!(matches!(refused(), KeyringFileError::Key { .. }) && !format!("{:?}", refused()).contains("s3cr3t"));
        write(serde_json::json!([entry("b", "EdDSA", "file:b.pem"), entry("b", "EdDSA", "file:b.pem")]));
        assert!(matches!(refused(), KeyringFileError::Twice { .. }));
        write(serde_json::json!([entry("b", "EdDSA", "file:c.pem")]));
        assert!(matches!(refused(), KeyringFileError::Read { .. }));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
