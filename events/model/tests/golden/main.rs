//! The stored form of every event, text for text.
//!
//! `golden/{type}.json` holds what the log has stored since the type exists: the public part exactly as encoded, and
//! the sealed part before encryption. A text here never changes once it was released. A new shape is a new schema: an
//! upcaster in the events' table, a file `golden/{type}.v2.json`, and `becomes` in the older one, which says what it is
//! read as from then on.

mod envelope;
mod files;
mod letter;
mod samples;

use files::{Catalogue, Golden, Written};
use kisum_events::{
    AddonEvent, AnyEvent, CompanyEvent, DecodeError, DelegationEvent, Event, InvitationEvent, KeyringEvent, LogEvent,
    MembershipEvent, ModuleEvent, PackageEvent, RoleEvent, SessionEvent, SigninEvent, StaffEvent, SubscriptionEvent,
    UserEvent,
};
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

fn decode(golden: &Golden, sealed: Option<&Map<String, Value>>) -> Result<AnyEvent, DecodeError> {
    AnyEvent::decode(7, &golden.r#type, golden.schema, golden.data.get(), sealed)
}

/// Every type of both logs with its newest schema.
fn catalogue() -> Catalogue {
    fn of<E: Event>() -> impl Iterator<Item = (&'static str, u16)> {
        E::TYPES.iter().map(|name| (*name, E::newest_schema(name)))
    }
    let mut types = BTreeMap::new();
    types.extend(of::<UserEvent>());
    types.extend(of::<SessionEvent>());
    types.extend(of::<CompanyEvent>());
    types.extend(of::<MembershipEvent>());
    types.extend(of::<ModuleEvent>());
    types.extend(of::<PackageEvent>());
    types.extend(of::<AddonEvent>());
    types.extend(of::<SubscriptionEvent>());
    types.extend(of::<LogEvent>());
    types.extend(of::<KeyringEvent>());
    types.extend(of::<StaffEvent>());
    types.extend(of::<SigninEvent>());
    types.extend(of::<InvitationEvent>());
    types.extend(of::<RoleEvent>());
    types.extend(of::<DelegationEvent>());
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden");
    Catalogue { folder, types, reread: |golden, sealed| decode(golden, sealed).map(|event| Written::of_any(&event)) }
}

#[test]
fn every_schema_of_every_type_is_read_as_its_golden_file_says_and_no_file_is_left_over() {
    assert_eq!(catalogue().faults(), [] as [&str; 0]);
}

#[test]
fn every_type_has_a_sample() {
    let sampled: BTreeSet<&str> = samples::samples().iter().map(|event| Written::of_any(event).event_type).collect();
    assert_eq!(sampled, catalogue().types.into_keys().collect());
}

#[test]
fn encoding_equals_the_golden_text() {
    for event in samples::samples() {
        let written = Written::of_any(&event);
        let golden = catalogue().newest(written.event_type);
        assert_eq!(golden.schema, written.schema, "{}", golden.r#type);
        assert_eq!(golden.effect, written.effect, "{}", golden.r#type);
        assert_eq!(golden.data.get(), written.parts.data, "{}", golden.r#type);
        assert_eq!(golden.sealed, written.parts.sealed, "{}", golden.r#type);
    }
}

#[test]
fn decoding_the_golden_text_gives_the_event_back() {
    for event in samples::samples() {
        let golden = catalogue().newest(Written::of_any(&event).event_type);
        assert_eq!(decode(&golden, golden.sealed.as_ref()).unwrap_or_else(|error| panic!("{error}")), event);
    }
}

#[test]
fn the_public_part_alone_decodes_with_its_sealed_fields_absent() {
    for event in samples::samples() {
        let golden = catalogue().newest(Written::of_any(&event).event_type);
        let written = Written::of_any(&decode(&golden, None).unwrap_or_else(|error| panic!("{error}")));
        assert_eq!(written.event_type, golden.r#type);
        assert_eq!(written.parts.data, golden.data.get());
        assert_eq!(written.parts.sealed, None);
    }
}

#[test]
fn a_sealed_value_never_stands_in_the_public_part() {
    for event in samples::samples() {
        let parts = Written::of_any(&event).parts;
        for (field, value) in parts.sealed.into_iter().flatten() {
            let value = value.as_str().map(str::to_owned).unwrap_or_else(|| value.to_string());
            assert!(!parts.data.contains(&value), "{field}");
            assert!(!format!("{event:?}").contains(&value), "{field} in Debug");
        }
    }
}

#[test]
fn an_unknown_type_is_refused_by_position_and_type() {
    for unknown in ["membership.promoted", "invoice.sent", "user", "addon.sold", ""] {
        let error = AnyEvent::decode(7, unknown, 1, "{}", None).err();
        let Some(DecodeError::UnknownType { position: 7, event_type }) = error else {
            panic!("{unknown}: {error:?}");
        };
        assert_eq!(event_type, unknown);
    }
}

#[test]
fn a_newer_schema_is_refused_by_position_and_type_whatever_its_shape() {
    for data in [r#"{"used":3}"#, r#"{"seats":{"used":3}}"#] {
        let error = AnyEvent::decode(9, "company.seats_changed", 2, data, None).err();
        let Some(DecodeError::NewerSchema { position: 9, event_type, schema: 2, known: 1 }) = error else {
            panic!("{error:?}");
        };
        assert_eq!(event_type, "company.seats_changed");
    }
}

#[test]
fn schema_0_is_refused_by_position_and_type() {
    let error = AnyEvent::decode(9, "company.seats_changed", 0, r#"{"used":3}"#, None).err();
    let Some(DecodeError::NoSchema { position: 9, event_type }) = error else { panic!("{error:?}") };
    assert_eq!(event_type, "company.seats_changed");
}

#[test]
fn another_shape_is_refused_by_position_and_type() {
    let cases = [
        ("company.seats_changed", "{}"),
        ("company.seats_changed", r#"{"used":"three"}"#),
        ("company.seats_changed", "[]"),
        ("company.seats_changed", "{"),
        ("membership.module_granted", r#"{"module":"Not A Key"}"#),
        ("session.ended", r#"{"userId":"nobody","cause":"logout","tokensUntil":"2026-03-01T12:00:00Z"}"#),
    ];
    for (event_type, data) in cases {
        let error = AnyEvent::decode(11, event_type, 1, data, None).err();
        let Some(DecodeError::Shape { position: 11, event_type: named, .. }) = error else {
            panic!("{event_type} {data}: {error:?}");
        };
        assert_eq!(named, event_type);
    }
}

#[test]
fn a_field_that_a_later_release_added_is_ignored() {
    let decoded = AnyEvent::decode(7, "company.seats_changed", 1, r#"{"used":3,"colour":"green"}"#, None);
    let expected = AnyEvent::Company(CompanyEvent::SeatsChanged { used: 3 });
    assert_eq!(decoded.unwrap_or_else(|error| panic!("{error}")), expected);
}

#[test]
fn a_field_that_came_later_is_written_where_it_is_known_and_read_back() {
    let golden = catalogue().newest("session.started");
    let Ok(AnyEvent::Session(SessionEvent::Started {
        user_id,
        amr,
        idle_until,
        absolute_until,
        token_hash,
        ip,
        agent,
        ..
    })) = decode(&golden, None)
    else {
        panic!("{}", golden.data.get());
    };
    let user_version = Some(3);
    let started =
        SessionEvent::Started { user_id, amr, idle_until, absolute_until, token_hash, ip, agent, user_version };
    let data = Written::of(&started).parts.data;
    assert!(data.contains(r#""userVersion":3"#), "{data}");
    let reread = AnyEvent::decode(7, "session.started", 1, &data, None).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(reread, AnyEvent::Session(started));
}
