//! Bodies made from what a document says of them.

use serde_json::{Map, Value, json};

/// The schema of an operation's JSON body, where it takes one.
pub(super) fn body_schema<'a>(document: &'a Value, operation: &'a Value) -> Option<&'a Value> {
    let schema = operation.pointer("/requestBody/content/application~1json/schema")?;
    Some(resolved(document, schema))
}

/// What a schema is once references and "this or null" are followed.
pub(super) fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#'));
        return resolved(document, target.unwrap_or_else(|| panic!("{reference} leads nowhere")));
    }
    for name in ["oneOf", "anyOf", "allOf"] {
        let alternatives = schema[name].as_array().into_iter().flatten();
        if let Some(one) = alternatives.into_iter().find(|one| one["type"] != "null") {
            return resolved(document, one);
        }
    }
    schema
}

/// A value of the documented shape, with every member that is known.
pub(super) fn value(document: &Value, schema: &Value) -> Value {
    let schema = resolved(document, schema);
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    if !schema["example"].is_null() {
        return schema["example"].clone();
    }
    match (type_of(schema), schema["format"].as_str()) {
        ("object", _) => {
            let members = schema["properties"].as_object().into_iter().flatten();
            Value::Object(members.map(|(name, member)| (name.clone(), value(document, member))).collect::<Map<_, _>>())
        }
        ("array", _) => json!([value(document, &schema["items"])]),
        ("integer" | "number", _) => schema.get("minimum").cloned().unwrap_or(json!(1)),
        ("boolean", _) => json!(true),
        (_, Some("uuid")) => json!("018f3a5c-0000-7000-8000-000000000001"),
        (_, Some("date-time")) => json!("2026-01-01T00:00:00Z"),
        _ => json!("text"),
    }
}

/// The type that a schema names first beside null.
pub(super) fn type_of(schema: &Value) -> &str {
    let types = schema["type"].as_array().into_iter().flatten().chain([&schema["type"]]);
    types.filter_map(Value::as_str).find(|name| *name != "null").unwrap_or("object")
}
