//! Rules of the keys that sign access tokens (security 10, 11).

use crate::given::{at, given, key};
use kisum_domains::keyring::{self, KEYS_MAX, Keyring, KeyringError, Removal, SIGNS_ON_MAX};
use kisum_domains::session::CLOCK_SKEW_MAX;
use kisum_events::{KeyId, KeyringEvent, PublicKey, SigningAlgorithm};
use std::time::Duration;

const CACHED: Duration = Duration::from_secs(300);
const LIVE: Duration = Duration::from_secs(300);

fn kid(name: &str) -> KeyId {
    key(name)
}

fn jwk(name: &str) -> PublicKey {
    PublicKey::Rsa { n: name.to_owned(), e: "AQAB".to_owned() }
}

fn published(name: &str, not_before: u64) -> KeyringEvent {
    let alg = SigningAlgorithm::PS256;
    KeyringEvent::Published { kid: kid(name), alg, jwk: jwk(name), not_before: at(not_before) }
}

fn activated(name: &str) -> KeyringEvent {
    KeyringEvent::Activated { kid: kid(name) }
}

fn retired(name: &str, until: u64) -> KeyringEvent {
    KeyringEvent::Retired { kid: kid(name), until: at(until) }
}

fn removed(name: &str) -> KeyringEvent {
    KeyringEvent::Removed { kid: kid(name) }
}

fn publish(state: &Keyring, name: &str, now: u64) -> Result<Vec<KeyringEvent>, KeyringError> {
    keyring::publish(state, (&kid(name), SigningAlgorithm::PS256, &jwk(name)), CACHED, at(now))
}

fn activate(state: &Keyring, name: &str, now: u64) -> Result<Vec<KeyringEvent>, KeyringError> {
    keyring::activate(state, &kid(name), LIVE, at(now))
}

fn remove(state: &Keyring, name: &str, removal: Removal, now: u64) -> Result<Vec<KeyringEvent>, KeyringError> {
    keyring::remove(state, &kid(name), removal, at(now))
}

#[test]
fn the_first_key_signs_at_once_because_nobody_holds_a_key_set_without_it() {
    given([]).when(|state| publish(state, "a", 7)).then([published("a", 7)]);
    given([published("a", 7)]).when(|state| activate(state, "a", 7)).then([activated("a")]);
}

/// security 11
#[test]
fn a_further_key_signs_one_cache_time_after_it_was_published_and_not_before() {
    let history = || [published("a", 0), activated("a")];
    given(history()).when(|state| publish(state, "b", 1000)).then([published("b", 1300)]);
    let history = || [published("a", 0), activated("a"), published("b", 1300)];
    given(history())
        .when(|state| activate(state, "b", 1299))
        .refused(KeyringError::TooEarly { kid: kid("b"), not_before: at(1300) });
    let until = 1300 + (LIVE + CLOCK_SKEW_MAX + SIGNS_ON_MAX).as_secs();
    given(history()).when(|state| activate(state, "b", 1300)).then([retired("a", until), activated("b")]);
}

/// security 11
#[test]
fn a_retired_key_is_removed_only_when_the_last_token_that_it_signed_has_expired() {
    let history = || [published("a", 0), activated("a"), published("b", 300), retired("a", 660), activated("b")];
    given(history())
        .when(|state| remove(state, "a", Removal::WhenDue, 659))
        .refused(KeyringError::StillNeeded { kid: kid("a"), until: at(660) });
    given(history()).when(|state| remove(state, "a", Removal::WhenDue, 660)).then([removed("a")]);
}

#[test]
fn the_key_that_signs_goes_in_an_emergency_alone() {
    let history = || [published("a", 0), activated("a")];
    given(history())
        .when(|state| remove(state, "a", Removal::WhenDue, 9999))
        .refused(KeyringError::Active { kid: kid("a") });
    given(history()).when(|state| remove(state, "a", Removal::AtOnce, 1)).then([removed("a")]);
}

#[test]
fn after_an_emergency_another_key_signs_without_waiting() {
    let waiting = || [published("a", 0), activated("a"), published("b", 300), removed("a")];
    given(waiting()).when(|state| activate(state, "b", 10)).then([activated("b")]);
    given([published("a", 0), activated("a"), removed("a")])
        .when(|state| publish(state, "c", 10))
        .then([published("c", 10)]);
}

#[test]
fn a_removed_name_is_never_good_again() {
    let history = || [published("a", 0), activated("a"), removed("a")];
    let refused = || KeyringError::Removed { kid: kid("a") };
    given(history()).when(|state| publish(state, "a", 10)).refused(refused());
    given(history()).when(|state| activate(state, "a", 10)).refused(refused());
    given(history()).when(|state| keyring::retire(state, &kid("a"), at(10))).refused(refused());
}

#[test]
fn a_key_does_not_come_back_under_another_name() {
    let again =
        |state: &Keyring| keyring::publish(state, (&kid("b"), SigningAlgorithm::RS256, &jwk("a")), CACHED, at(9));
    let known = || KeyringError::Known { kid: kid("a") };
    given([published("a", 0)]).when(again).refused(known());
    given([published("a", 0), removed("a")]).when(again).refused(known());
}

#[test]
fn a_retired_key_never_signs_again() {
    let history = [published("a", 0), activated("a"), published("b", 300), retired("a", 660), activated("b")];
    given(history).when(|state| activate(state, "a", 500)).refused(KeyringError::Retired { kid: kid("a") });
}

#[test]
fn everything_twice_is_once() {
    let history = || [published("a", 0), activated("a"), published("b", 300), retired("b", 10), removed("c")];
    given(history()).when(|state| publish(state, "a", 50)).then_nothing();
    given(history()).when(|state| activate(state, "a", 50)).then_nothing();
    given(history()).when(|state| keyring::retire(state, &kid("b"), at(50))).then_nothing();
    given(history()).when(|state| remove(state, "c", Removal::AtOnce, 50)).then_nothing();
}

#[test]
fn a_key_that_signed_nothing_is_retired_and_removed_at_once_and_the_one_that_signs_is_not_retired() {
    let history = || [published("a", 0), activated("a"), published("b", 300)];
    given(history()).when(|state| keyring::retire(state, &kid("b"), at(50))).then([retired("b", 50)]);
    given(history()).when(|state| remove(state, "b", Removal::WhenDue, 50)).then([removed("b")]);
    given(history())
        .when(|state| keyring::retire(state, &kid("a"), at(50)))
        .refused(KeyringError::Active { kid: kid("a") });
}

#[test]
fn a_name_belongs_to_one_key_and_a_key_signs_what_its_kind_can() {
    let publish = |state: &Keyring, alg, jwk| keyring::publish(state, (&kid("a"), alg, &jwk), CACHED, at(9));
    let history = || [published("a", 0)];
    let taken = || KeyringError::Taken { kid: kid("a") };
    given(history()).when(|state| publish(state, SigningAlgorithm::PS256, jwk("other"))).refused(taken());
    given(history()).when(|state| publish(state, SigningAlgorithm::RS256, jwk("a"))).refused(taken());
    let ed25519 = PublicKey::Okp { crv: "Ed25519".to_owned(), x: "x".to_owned() };
    for (alg, jwk) in [(SigningAlgorithm::EdDSA, jwk("a")), (SigningAlgorithm::PS256, ed25519)] {
        given([]).when(|state| publish(state, alg, jwk)).refused(KeyringError::CannotSign { alg });
    }
}

#[test]
fn a_key_that_never_was_is_said_to_be_unknown() {
    let unknown = || KeyringError::Unknown { kid: kid("z") };
    given([]).when(|state| activate(state, "z", 0)).refused(unknown());
    given([]).when(|state| keyring::retire(state, &kid("z"), at(0))).refused(unknown());
    given([]).when(|state| remove(state, "z", Removal::AtOnce, 0)).refused(unknown());
}

#[test]
fn a_key_set_stays_small() {
    let history = (0..KEYS_MAX).map(|number| published(&format!("k{number}"), 0));
    given(history).when(|state| publish(state, "one-more", 1)).refused(KeyringError::TooMany);
}
