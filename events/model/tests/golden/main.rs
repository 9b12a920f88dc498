//! The stored form of every event, text for text.
//!
//! `golden/{type}.json` holds what the log has stored since the type exists: the public part exactly as encoded, and
//! the sealed part before encryption. A text here never changes once it was released; a new shape is a new schema
//! with an upcaster, and gets a file of its own.

mod samples;

use kisum_events::{
    AddonEvent, AnyEvent, CompanyEvent, DecodeError, Encoded, Event, LogEvent, MembershipEvent, ModuleEvent,
    PackageEvent, SessionEvent, SubscriptionEvent, UserEvent,
};
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};
use std::{collections::BTreeSet, fs, path::PathBuf};

/// One golden file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    r#type: String,
    schema: u16,
    effect: String,
    data: Box<RawValue>,
    sealed: Option<Map<String, Value>>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn golden(event_type: &str) -> Golden {
    let path = folder().join(format!("{event_type}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Type, schema, effect and stored parts of an event.
struct Written {
    event_type: &'static str,
    schema: u16,
    effect: &'static str,
    parts: Encoded,
}

fn write(event: &AnyEvent) -> Written {
    fn of<E: Event>(event: &E) -> Written {
        Written {
            event_type: event.event_type(),
            schema: event.schema(),
            effect: event.effect().name(),
            parts: event.encode().unwrap_or_else(|error| panic!("{}: {error}", event.event_type())),
        }
    }
    match event {
        AnyEvent::User(event) => of(event),
        AnyEvent::Session(event) => of(event),
        AnyEvent::Company(event) => of(event),
        AnyEvent::Membership(event) => of(event),
        AnyEvent::Module(event) => of(event),
        AnyEvent::Package(event) => of(event),
        AnyEvent::Addon(event) => of(event),
        AnyEvent::Subscription(event) => of(event),
        AnyEvent::Log(event) => of(event),
    }
}

fn all_types() -> BTreeSet<&'static str> {
    [
        UserEvent::TYPES,
        SessionEvent::TYPES,
        CompanyEvent::TYPES,
        MembershipEvent::TYPES,
        ModuleEvent::TYPES,
        PackageEvent::TYPES,
        AddonEvent::TYPES,
        SubscriptionEvent::TYPES,
        LogEvent::TYPES,
    ]
    .concat()
    .into_iter()
    .collect()
}

#[test]
fn every_type_has_a_sample_and_a_golden_file_and_no_file_is_left_over() {
    let sampled: BTreeSet<&str> = samples::samples().iter().map(|event| write(event).event_type).collect();
    assert_eq!(sampled, all_types());
    let files: BTreeSet<String> = fs::read_dir(folder())
        .unwrap_or_else(|error| panic!("{error}"))
        .map(|entry| entry.unwrap_or_else(|error| panic!("{error}")).file_name().to_string_lossy().into_owned())
        .collect();
    let expected: BTreeSet<String> = all_types().iter().map(|name| format!("{name}.json")).collect();
    assert_eq!(files, expected);
}

#[test]
fn encoding_equals_the_golden_text() {
    for event in samples::samples() {
        let written = write(&event);
        let golden = golden(written.event_type);
        assert_eq!(golden.r#type, written.event_type);
        assert_eq!(golden.schema, written.schema, "{}", golden.r#type);
        assert_eq!(golden.effect, written.effect, "{}", golden.r#type);
        assert_eq!(golden.data.get(), written.parts.data, "{}", golden.r#type);
        assert_eq!(golden.sealed, written.parts.sealed, "{}", golden.r#type);
    }
}

#[test]
fn decoding_the_golden_text_gives_the_event_back() {
    for event in samples::samples() {
        let golden = golden(write(&event).event_type);
        let decoded = AnyEvent::decode(7, &golden.r#type, golden.schema, golden.data.get(), golden.sealed.as_ref());
        assert_eq!(decoded.unwrap_or_else(|error| panic!("{error}")), event);
    }
}

#[test]
fn the_public_part_alone_decodes_with_its_sealed_fields_absent() {
    for event in samples::samples() {
        let golden = golden(write(&event).event_type);
        let decoded = AnyEvent::decode(7, &golden.r#type, golden.schema, golden.data.get(), None);
        let written = write(&decoded.unwrap_or_else(|error| panic!("{error}")));
        assert_eq!(written.event_type, golden.r#type);
        assert_eq!(written.parts.data, golden.data.get());
        assert_eq!(written.parts.sealed, None);
    }
}

#[test]
fn a_sealed_value_never_stands_in_the_public_part() {
    for event in samples::samples() {
        let parts = write(&event).parts;
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
