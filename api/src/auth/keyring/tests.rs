//! Which key signs in this process, and what is published, by what the log says and what private keys are here.

use super::{Document, Keys, PrivateKeys, signers};
use crate::shared::signing_key::SigningKey;
use aws_lc_rs::{encoding::AsDer as _, rsa, signature::Ed25519KeyPair};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use kisum_domains::{Keyring, keyring};
use kisum_events::{Aggregate as _, KeyId, SigningAlgorithm, Timestamp};
use std::time::Duration;

pub(in crate::auth) const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);
pub(in crate::auth) const ISSUER: &str = "https://auth.kisum.io";
pub(in crate::auth) const AUDIENCE: &str = "kisum";
const TTL: Duration = Duration::from_secs(300);

fn pem(der: &[u8]) -> String {
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der))
}

pub(in crate::auth) fn rsa() -> String {
    let key = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
    pem(rsa::KeyPair::as_der(&key).unwrap().as_ref())
}

pub(in crate::auth) fn ed25519() -> String {
    pem(Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap().as_ref())
}

fn kid(name: &str) -> KeyId {
    name.parse().unwrap()
}

fn key(name: &str) -> SigningKey {
    SigningKey::from_pem(kid(name), None, &ed25519()).unwrap()
}

/// A keyring in which these were published and activated, one after the other, each an hour after the one before.
fn history(keys: &[&SigningKey]) -> Keyring {
    let mut state = Keyring::default();
    for (key, hour) in keys.iter().zip(0_u64..) {
        let now = NOW.plus(Duration::from_secs(3600 * hour));
        let published = keyring::publish(&state, (key.kid(), key.alg(), key.public()), Duration::ZERO, now).unwrap();
        published.iter().for_each(|event| state.evolve(event, 0));
        keyring::activate(&state, key.kid(), TTL, now).unwrap().iter().for_each(|event| state.evolve(event, 0));
    }
    state
}

fn keys(private: &SigningKey, keyring: Keyring) -> Keys {
    Keys::new(PrivateKeys::one(private.clone()), (1, keyring), (ISSUER, AUDIENCE)).unwrap()
}

/// The keys of a process that was given this one, which is the first of the log.
pub(in crate::auth) fn keys_of(pem: &str) -> Keys {
    let key = SigningKey::from_pem(kid("2611-3f"), None, pem).unwrap();
    keys(&key, history(&[&key]))
}

#[test]
fn the_active_key_signs_and_a_process_without_it_goes_on_with_the_one_before_until_that_is_over() {
    let (old, new) = (key("old"), key("new"));
    let state = history(&[&old, &new]);
    let rotated = NOW.plus(Duration::from_secs(3600));
    let has_both = signers(&state, &[old.clone(), new.clone()]);
    assert_eq!(has_both.iter().map(|signer| signer.key.kid()).collect::<Vec<_>>(), [new.kid(), old.kid()]);

    let keys = keys(&old, state);
    assert!(keys.ready().unwrap_err().contains("'new' is not here"));
    let (signer, lives) = keys.signer(rotated).unwrap();
    assert_eq!((signer.key.kid(), lives > TTL), (old.kid(), true));
    // What it signs has expired, whatever the verifier's clock, when the key may be removed.
    let (_, lives) = keys.signer(rotated.plus(Duration::from_secs(310))).unwrap();
    assert_eq!(lives, Duration::from_secs(20));
    assert!(keys.signer(rotated.plus(Duration::from_secs(330))).is_none());
}

#[test]
fn without_a_private_key_of_a_good_one_nothing_is_signed() {
    let (ours, theirs) = (key("a"), key("b"));
    assert!(keys(&ours, history(&[&theirs])).signer(NOW).is_none());
    // Another key of the same name is another key.
    let impostor = key("b");
    let held = keys(&impostor, history(&[&theirs]));
    assert!(held.signer(NOW).is_none() && held.ready().is_err());
    assert!(keys(&ours, Keyring::default()).ready().unwrap_err().contains("no key is active"));
}

#[test]
fn a_removed_key_signs_nothing_and_is_published_no_more() {
    let key = key("a");
    let keys = keys(&key, history(&[&key]));
    let (before, mut state) = (keys.document(), history(&[&key]));
    let removed = keyring::remove(&state, key.kid(), keyring::Removal::AtOnce, NOW).unwrap();
    removed.iter().for_each(|event| state.evolve(event, 0));
    keys.take(2, state).unwrap();
    assert!(keys.signer(NOW).is_none());
    assert_eq!(keys.document().body, r#"{"keys":[]}"#);
    assert_ne!(keys.document().etag, before.etag);
}

#[test]
fn the_key_set_has_the_active_key_first_and_says_what_its_keys_sign_with() {
    let (old, new) = (key("a"), SigningKey::from_pem(kid("b"), None, &rsa()).unwrap());
    let document = Document::of(&history(&[&old, &new]));
    let body: serde_json::Value = serde_json::from_str(&document.body).unwrap();
    let members = ["kid", "alg", "kty", "use"].map(|member| body["keys"][0][member].as_str().unwrap_or_default());
    assert_eq!(members, ["b", "PS256", "RSA", "sig"]);
    assert_eq!(body["keys"][1]["crv"], "Ed25519");
    assert_eq!(document.algorithms, [SigningAlgorithm::PS256, SigningAlgorithm::EdDSA]);
    assert_eq!(Document::of(&history(&[&old, &new])).etag, document.etag, "the same keys have the same tag");
}
