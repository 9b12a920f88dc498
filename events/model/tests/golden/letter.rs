//! That the walk over golden files would find what is wrong, shown on a type of its own that has had two schemas.

use crate::files::{Catalogue, Golden, Written};
use kisum_events::{CompanyId, DecodeError, Effect, Event, Sealed, UpcastError, Upcaster, decode_as};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, path::PathBuf};

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
enum Letter {
    /// In schema 1 the sealed `recipient` was called `to`, and nobody counted pages.
    #[serde(rename = "letter.sent")]
    Sent {
        pages: u32,
        #[serde(default)]
        recipient: Sealed<String>,
    },
}

fn to_becomes_recipient(mut data: Map<String, Value>) -> Result<Map<String, Value>, UpcastError> {
    if let Some(to) = data.remove("to") {
        data.insert("recipient".to_owned(), to);
    }
    data.insert("pages".to_owned(), 1.into());
    Ok(data)
}

impl Event for Letter {
    const TYPES: &'static [&'static str] = &["letter.sent"];
    fn event_type(&self) -> &'static str {
        "letter.sent"
    }
    fn effect(&self) -> Effect {
        Effect::None
    }
    fn company(&self) -> Option<CompanyId> {
        None
    }
    fn sealed_fields(&self) -> &'static [&'static str] {
        &["recipient"]
    }
    fn upcasters(_: &str) -> &'static [Upcaster] {
        &[to_becomes_recipient]
    }
}

fn reread(golden: &Golden, sealed: Option<&Map<String, Value>>) -> Result<Written, DecodeError> {
    decode_as(7, &golden.r#type, golden.schema, golden.data.get(), sealed).map(|letter: Letter| Written::of(&letter))
}

fn letters() -> Catalogue {
    Catalogue {
        folder: PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/letter"),
        types: BTreeMap::from([("letter.sent", Letter::newest_schema("letter.sent"))]),
        reread,
    }
}

/// The one thing that is wrong.
fn fault(letters: &Catalogue) -> String {
    let faults = letters.faults();
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults.concat()
}

#[test]
fn every_schema_of_a_type_is_read_as_its_golden_file_says() {
    assert_eq!(letters().faults(), [] as [&str; 0]);
}

#[test]
fn a_schema_without_a_file_and_a_file_without_a_schema_are_found() {
    let mut letters = letters();
    letters.types.insert("letter.burnt", 1);
    assert!(fault(&letters).starts_with("letter.burnt.json: No such file"), "{:?}", letters.faults());
    letters.types = BTreeMap::new();
    assert_eq!(letters.faults(), ["letter.sent.json: is left over", "letter.sent.v2.json: is left over"]);
}

#[test]
fn an_upcaster_that_does_not_do_what_the_file_says_is_found() {
    let forgetful: fn(&Golden, Option<&Map<String, Value>>) -> _ = |golden, _| reread(golden, None);
    let letters = Catalogue { reread: forgetful, ..letters() };
    let faults = letters.faults();
    assert_eq!(
        faults,
        [r#"letter.sent.json: becomes {"pages":1} with None"#, r#"letter.sent.v2.json: becomes {"pages":2} with None"#]
    );
}

#[test]
fn an_upcaster_that_requires_the_sealed_part_is_found() {
    let strict: fn(&Golden, Option<&Map<String, Value>>) -> _ = |golden, sealed| match sealed {
        None if golden.schema == 1 => Err(DecodeError::Upcast {
            position: 7,
            event_type: golden.r#type.clone(),
            schema: 1,
            source: UpcastError::new("there is no recipient"),
        }),
        sealed => reread(golden, sealed),
    };
    assert!(fault(&Catalogue { reread: strict, ..letters() }).starts_with("letter.sent.json: without its sealed part"));
}
