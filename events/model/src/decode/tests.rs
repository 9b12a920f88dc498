//! Every way of reading a stored event, by an enum whose one type has had three schemas.

use crate::{DecodeError, Effect, Event, Sealed, UpcastError, decode_as, event::events};
use serde_json::{Map, Value, json};

events! {
    /// What happens to a tale.
    #[expect(unreachable_pub, reason = "the table declares enums for everybody")]
    TaleEvent {
        /// Schema 1: `name`, sealed `author`. Schema 2: `title` and `words` instead of `name`. Schema 3: sealed
        /// `teller` instead of `author`, and `words` in tens.
        Told = "tale.told" Widens ["teller"] upcast [named_to_titled, author_to_teller] {
            title: String,
            words: u32,
            #[serde(default)] teller: Sealed<String>,
        },
        Closed = "tale.closed" None,
    }
}

fn named_to_titled(mut data: Map<String, Value>) -> Result<Map<String, Value>, UpcastError> {
    let title = data.remove("name").ok_or_else(|| UpcastError::new("there is no name"))?;
    data.insert("title".to_owned(), title);
    data.insert("words".to_owned(), 1.into());
    Ok(data)
}

fn author_to_teller(mut data: Map<String, Value>) -> Result<Map<String, Value>, UpcastError> {
    if let Some(author) = data.remove("author") {
        data.insert("teller".to_owned(), author);
    }
    let words = data.get("words").and_then(Value::as_u64).ok_or_else(|| UpcastError::new("words are no number"))?;
    data.insert("words".to_owned(), words.saturating_mul(10).into());
    Ok(data)
}

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(object) = value else { panic!("{value} is no object") };
    object
}

fn read(event_type: &str, schema: u16, data: &str, sealed: Option<Value>) -> Result<TaleEvent, DecodeError> {
    decode_as(7, event_type, schema, data, sealed.map(object).as_ref())
}

fn told(words: u32, teller: Sealed<String>) -> TaleEvent {
    TaleEvent::Told { title: "Odyssey".to_owned(), words, teller }
}

fn homer() -> Sealed<String> {
    Sealed::new("Homer".to_owned())
}

#[track_caller]
fn gives(found: Result<TaleEvent, DecodeError>, expected: &TaleEvent) {
    assert_eq!(&found.unwrap_or_else(|error| panic!("{error}")), expected);
}

#[test]
fn each_schema_takes_the_upcasters_that_it_lacks_in_order_and_no_other() {
    gives(read("tale.told", 1, r#"{"name":"Odyssey"}"#, Some(json!({"author":"Homer"}))), &told(10, homer()));
    let second = r#"{"title":"Odyssey","words":4}"#;
    gives(read("tale.told", 2, second, Some(json!({"author":"Homer"}))), &told(40, homer()));
    gives(read("tale.told", 3, second, Some(json!({"teller":"Homer"}))), &told(4, homer()));
}

#[test]
fn a_sealed_field_that_cannot_be_read_stays_absent_in_every_schema() {
    gives(read("tale.told", 1, r#"{"name":"Odyssey"}"#, None), &told(10, Sealed::absent()));
    gives(read("tale.told", 2, r#"{"title":"Odyssey","words":4}"#, None), &told(40, Sealed::absent()));
    gives(read("tale.told", 3, r#"{"title":"Odyssey","words":4}"#, None), &told(4, Sealed::absent()));
}

#[test]
fn the_schema_that_is_written_is_one_above_the_upcasters_of_its_type_alone() {
    let told = told(4, homer());
    assert_eq!((told.schema(), TaleEvent::Closed.schema()), (3, 1));
    assert_eq!(TaleEvent::newest_schema("tale.told"), 3);
    let encoded = told.encode().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(encoded.data, r#"{"title":"Odyssey","words":4}"#);
    assert_eq!(encoded.sealed, Some(object(json!({"teller":"Homer"}))));
    gives(read("tale.told", told.schema(), &encoded.data, encoded.sealed.map(Value::Object)), &told);
    assert_eq!((told.effect(), told.company(), told.own_position_field()), (Effect::Widens, None, None));
}

#[test]
fn a_schema_above_its_type_s_newest_is_refused_whatever_other_types_have() {
    for (event_type, schema, newest) in [("tale.told", 4, 3), ("tale.closed", 2, 1), ("tale.told", u16::MAX, 3)] {
        let error = read(event_type, schema, "{}", None).err();
        let Some(DecodeError::NewerSchema { position: 7, event_type: named, schema: found, known }) = error else {
            panic!("{event_type} {schema}: {error:?}");
        };
        assert_eq!((named.as_str(), found, known), (event_type, schema, newest));
    }
}

#[test]
fn schema_0_is_refused_even_where_the_shape_would_fit() {
    for event_type in ["tale.told", "tale.closed"] {
        let error = read(event_type, 0, r#"{"name":"Odyssey"}"#, None).err();
        let Some(DecodeError::NoSchema { position: 7, event_type: named }) = error else {
            panic!("{event_type}: {error:?}");
        };
        assert_eq!(named, event_type);
    }
}

#[test]
fn an_unknown_type_is_refused_before_its_schema_is_looked_at() {
    for (unknown, schema) in [("tale.forgotten", 1), ("tale.forgotten", 9), ("tale", 0), ("", 1)] {
        let error = read(unknown, schema, "{}", None).err();
        let Some(DecodeError::UnknownType { position: 7, event_type }) = error else {
            panic!("{unknown}: {error:?}");
        };
        assert_eq!(event_type, unknown);
    }
}

#[test]
fn old_data_that_an_upcaster_refuses_is_named_with_the_schema_that_it_could_not_leave() {
    for (schema, data, stuck, why) in [
        (1, r#"{"title":"Odyssey"}"#, 1, "there is no name"),
        (2, r#"{"title":"Odyssey","words":"four"}"#, 2, "words are no number"),
    ] {
        let Err(error) = read("tale.told", schema, data, None) else { panic!("{data} was read") };
        let DecodeError::Upcast { position: 7, event_type, schema: at, source } = &error else {
            panic!("{data}: {error:?}");
        };
        assert_eq!((event_type.as_str(), *at, source.to_string().as_str()), ("tale.told", stuck, why));
        let says = format!("event 7 of type 'tale.told' cannot be brought from schema {stuck} to the next");
        assert_eq!(error.to_string(), says);
    }
}

#[test]
fn data_that_is_no_object_or_becomes_no_event_has_the_wrong_shape() {
    for (schema, data) in
        [(1, "[]"), (1, "{"), (1, r#"{"name":3}"#), (2, r#"{"words":4}"#), (3, r#"{"name":"Odyssey"}"#)]
    {
        let error = read("tale.told", schema, data, None).err();
        let Some(DecodeError::Shape { position: 7, event_type, .. }) = error else {
            panic!("{schema} {data}: {error:?}");
        };
        assert_eq!(event_type, "tale.told");
    }
}
