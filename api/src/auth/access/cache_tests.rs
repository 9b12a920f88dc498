//! What is believed of Redis, and for how long.

use super::{KEPT_S, Place, Seal, Sealed, Unusable, check, kept_s, read, spread_s, write};
use kisum_events::{AccessContext, AsOf, ContextMeta, Cursor, DelegationRights, Limits, TenantRole, Timestamp};
use std::time::Duration;

const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);
const ID: &str = "0198c5a2-7b1e-7000-8000-000000000001";

fn context(valid_until: Option<Timestamp>) -> AccessContext {
    AccessContext {
        user_id: ID.parse().unwrap(),
        company_id: ID.parse().unwrap(),
        membership_id: ID.parse().unwrap(),
        tenant_role: TenantRole::User,
        core_app_visible: false,
        modules: vec![],
        owned_modules: vec![],
        permissions: vec![],
        limits: Limits::new(),
        delegation: DelegationRights::default(),
        valid_until,
        meta: ContextMeta { token_version: 0, access_version: 7, entitlement_version: 3, generated_at: NOW },
    }
}

fn as_of(auth: u32, core: u32) -> AsOf {
    AsOf { auth: Cursor { epoch: auth, position: 9 }, core: Cursor { epoch: core, position: 4 } }
}

fn seal(seed: u8) -> Seal {
    Seal::new(&[seed; 32])
}

fn stored(key: &str, seed: u8) -> Vec<u8> {
    write(&seal(seed), key.to_owned(), as_of(1, 1), context(None)).unwrap()
}

fn got(key: &str, value: &[u8]) -> Result<AccessContext, Unusable> {
    read(&seal(1), key, value).map(|sealed: Sealed<AccessContext>| sealed.value)
}

#[test]
fn what_was_put_is_what_is_got() {
    assert_eq!(got("access:a", &stored("access:a", 1)), Ok(context(None)));
}

#[test]
fn a_value_under_another_key_is_none_of_ours() {
    assert_eq!(got("access:b", &stored("access:a", 1)), Err(Unusable::Mismatch));
    assert_eq!(got("access:a", &stored("access:a", 2)), Err(Unusable::Mismatch));
    assert_eq!(got("access:a", b"{}"), Err(Unusable::Mismatch));
    // Well formed, ours, and of another kind.
    assert!(read::<Place>(&seal(1), "access:a", &stored("access:a", 1)).is_err());
}

#[test]
fn a_context_of_another_epoch_than_what_led_to_it_is_not_used() {
    let sealed: Sealed<AccessContext> = read(&seal(1), "access:a", &stored("access:a", 1)).unwrap_or_else(|_| panic!());
    assert_eq!(check(&sealed, as_of(1, 1), NOW), Ok(()));
    for other in [as_of(2, 1), as_of(1, 2)] {
        assert_eq!(check(&sealed, other, NOW), Err(Unusable::Overtaken));
    }
}

#[test]
fn a_context_ends_when_something_in_it_does_or_its_time_is_over() {
    let sealed = |until| Sealed { key: String::new(), as_of: as_of(1, 1), value: context(until) };
    assert_eq!(check(&sealed(Some(NOW)), as_of(1, 1), NOW), Err(Unusable::Outlived));
    assert_eq!(check(&sealed(Some(NOW)), as_of(1, 1), NOW.minus(Duration::from_micros(1))), Ok(()));
    let end = NOW.plus(Duration::from_secs(KEPT_S + spread_s()));
    assert_eq!(check(&sealed(None), as_of(1, 1), end.minus(Duration::from_micros(1))), Ok(()));
    assert_eq!(check(&sealed(None), as_of(1, 1), end), Err(Unusable::Outlived));
}

#[test]
fn values_are_kept_a_quarter_of_an_hour_give_or_take_a_fifth() {
    for _ in 0..200 {
        assert!((KEPT_S * 4 / 5..=KEPT_S * 6 / 5).contains(&kept_s()));
    }
}
