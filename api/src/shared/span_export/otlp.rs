//! Spans in the form that collectors read: `ExportTraceServiceRequest` as JSON (OTLP 1.x, *JSON Protobuf Encoding*):
//! ids in hexadecimal, 64-bit numbers as text, enumerations as numbers.

use super::layer::Finished;
use kisum_events::TraceParent;
use serde_json::{Value, json};

/// `Status.code` of a span whose work failed.
const STATUS_ERROR: u8 = 2;

/// Who exports.
pub(super) fn resource(service: &str, environment: &str) -> Value {
    json!({ "attributes": [
        attribute("service.namespace", &Value::from("kisum")),
        attribute("service.name", &Value::from(service)),
        attribute("deployment.environment.name", &Value::from(environment)),
    ] })
}

/// The body of one request.
pub(super) fn request(resource: &Value, spans: &[Finished]) -> Value {
    let spans: Vec<Value> = spans.iter().map(span).collect();
    json!({ "resourceSpans": [{
        "resource": resource,
        "scopeSpans": [{ "scope": { "name": "kisum" }, "spans": spans }],
    }] })
}

fn span(finished: &Finished) -> Value {
    let fields = &finished.fields;
    let mut span = json!({
        "traceId": fields.trace_id,
        "spanId": fields.span_id,
        "name": name(finished),
        "kind": kind(&fields.kind),
        "startTimeUnixNano": finished.begun_ns.to_string(),
        "endTimeUnixNano": finished.ended_ns.to_string(),
        "attributes": fields.others.iter().map(|(name, value)| attribute(name, value)).collect::<Vec<_>>(),
    });
    if let Some(members) = span.as_object_mut() {
        if !fields.parent_span_id.is_empty() {
            members.insert("parentSpanId".to_owned(), Value::from(fields.parent_span_id.as_str()));
        }
        let links: Vec<Value> = fields.links.split(' ').filter_map(TraceParent::parse).map(link).collect();
        if !links.is_empty() {
            members.insert("links".to_owned(), Value::from(links));
        }
        if failed(finished) {
            members.insert("status".to_owned(), json!({ "code": STATUS_ERROR }));
        }
    }
    span
}

/// A name of which there are few: the route of a request, the callee of a question, the projection of a batch.
fn name(finished: &Finished) -> String {
    let text = |name| field(finished, name).and_then(Value::as_str);
    match (text("method"), text("route"), text("callee"), text("projection")) {
        (Some(method), Some(route), _, _) => format!("{method} {route}"),
        (_, _, Some(callee), _) => format!("{} {callee}", finished.name),
        (_, _, _, Some(projection)) => format!("{} {projection}", finished.name),
        _ => finished.name.to_owned(),
    }
}

/// `SpanKind`; what says none is internal.
fn kind(text: &str) -> u8 {
    match text {
        "server" => 2,
        "client" => 3,
        "producer" => 4,
        "consumer" => 5,
        _ => 1,
    }
}

/// A request that was answered with 5xx.
fn failed(finished: &Finished) -> bool {
    field(finished, "status").and_then(Value::as_u64).is_some_and(|status| status >= 500)
}

fn field<'a>(finished: &'a Finished, name: &str) -> Option<&'a Value> {
    finished.fields.others.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
}

fn link(to: TraceParent) -> Value {
    json!({ "traceId": to.trace_id().to_string(), "spanId": to.span_id().to_string() })
}

fn attribute(name: &str, value: &Value) -> Value {
    let value = match value {
        Value::Bool(value) => json!({ "boolValue": value }),
        Value::Number(value) if value.is_i64() || value.is_u64() => json!({ "intValue": value.to_string() }),
        Value::Number(value) => json!({ "doubleValue": value }),
        Value::String(value) => json!({ "stringValue": value }),
        other => json!({ "stringValue": other.to_string() }),
    };
    json!({ "key": name, "value": value })
}
