//! Log lines as flat JSON objects.
//!
//! It owns the line's form: `timestamp`, `level`, `service`, `environment`, the fields of the enclosing request span
//! and the fields of the event, in one object (plan §19). It masks what looks like a token, a secret in an address or
//! an e-mail address, so that a careless field does no harm; it does not replace care.

use super::ambient::Clock;
use serde_json::{Map, Value};
use std::{
    fmt::{self, Write as _},
    io::Write as _,
};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

/// Characters of one value at most: a line is a line, not a dump.
const VALUE_LEN_MAX: usize = 2_000;

/// Fields of spans that say nothing to who reads lines (`span_export`).
const FOR_COLLECTORS: [&str; 4] = ["parent_span_id", "span_kind", "sampled", "links"];

/// Writes one JSON object per event to standard output.
pub struct JsonLines {
    service: String,
    environment: String,
    clock: Clock,
}

impl JsonLines {
    /// For one service in one environment.
    pub fn new(service: &str, environment: &str) -> Self {
        Self { service: service.to_owned(), environment: environment.to_owned(), clock: Clock::system() }
    }

    fn line<S: Subscriber + for<'a> LookupSpan<'a>>(&self, event: &Event<'_>, context: &Context<'_, S>) -> String {
        let mut line = Map::new();
        line.insert("service".to_owned(), Value::from(self.service.as_str()));
        line.insert("environment".to_owned(), Value::from(self.environment.as_str()));
        line.insert("target".to_owned(), Value::from(event.metadata().target()));
        for span in context.event_scope(event).into_iter().flatten().collect::<Vec<_>>().into_iter().rev() {
            if let Some(Fields(fields)) = span.extensions().get::<Fields>() {
                line.extend(fields.iter().map(|(name, value)| (name.clone(), value.clone())));
            }
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        line.extend(fields.0);
        // Time and level first, for whoever reads a line as it is; neither holds a character that JSON escapes.
        let (now, level) = (self.clock.now(), event.metadata().level());
        let rest = Value::Object(line).to_string();
        let rest = rest.strip_prefix('{').unwrap_or("}");
        format!("{{\"timestamp\":\"{now}\",\"level\":\"{level}\",{rest}")
    }
}

/// Fields of a span or an event.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        let name = field.name().trim_start_matches("r#");
        if !FOR_COLLECTORS.contains(&name) {
            self.0.insert(name.to_owned(), value);
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Value::from(mask(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // Writing to a String does not fail; a Debug that does leaves what it wrote.
        let _ = write!(text, "{value:?}");
        self.put(field, Value::from(mask(&text)));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::from(value));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for JsonLines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = self.line(event, &context);
        line.push('\n');
        // There is nowhere left to report that the log cannot be written.
        let _ = std::io::stdout().lock().write_all(line.as_bytes());
    }
}

/// Hides what looks like a JSON Web Token, an e-mail address or the credentials in an address.
pub(super) fn mask(text: &str) -> String {
    let shortened: String = text.chars().take(VALUE_LEN_MAX).collect();
    if !shortened.contains('@') && !shortened.contains("eyJ") {
        return shortened;
    }
    shortened.split_inclusive(char::is_whitespace).map(mask_word).collect()
}

fn mask_word(word: &str) -> String {
    let space = if word.ends_with(char::is_whitespace) { " " } else { "" };
    let bare = word.trim_end();
    if bare.contains('@') {
        return format!("[masked]{space}");
    }
    match bare.find("eyJ") {
        Some(start) => format!("{}[masked]{space}", bare.get(..start).unwrap_or_default()),
        None => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn what_looks_like_a_token_or_an_address_is_masked() {
        assert_eq!(mask("refused for ann@acme.example today"), "refused for [masked] today");
        assert_eq!(mask("Bearer eyJhbGciOi.eyJzdWIi.sig"), "Bearer [masked]");
        assert_eq!(mask("postgres://u:p@host/db failed"), "[masked] failed");
        assert_eq!(mask("plain text"), "plain text");
    }

    struct Collect(JsonLines, std::sync::Arc<std::sync::Mutex<Vec<Value>>>);

    impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Collect {
        fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
            self.0.on_new_span(attributes, id, context);
        }
        fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
            self.0.on_record(id, values, context);
        }
        fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
            let line = self.0.line(event, &context);
            let value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}"));
            self.1.lock().unwrap_or_else(|e| panic!("{e}")).push(value);
        }
    }

    #[test]
    fn a_line_carries_service_environment_and_the_request_s_fields() {
        let lines = std::sync::Arc::default();
        let collect = Collect(JsonLines::new("auth", "test"), std::sync::Arc::clone(&lines));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(collect), || {
            let span = tracing::info_span!("request", request_id = "abc", user_id = tracing::field::Empty);
            let _in_request = span.enter();
            span.record("user_id", "u-1");
            tracing::info!(event = "logout", status = 204_u64, "signed out");
        });
        let lines = lines.lock().unwrap_or_else(|e| panic!("{e}"));
        let line = lines.first().unwrap_or_else(|| panic!("no line was written"));
        for (name, value) in [
            ("service", "auth"),
            ("environment", "test"),
            ("request_id", "abc"),
            ("user_id", "u-1"),
            ("event", "logout"),
            ("message", "signed out"),
        ] {
            assert_eq!(line[name], value, "{name}");
        }
        assert_eq!(line["status"], 204);
        assert!(line["timestamp"].as_str().is_some_and(|text| text.ends_with('Z')));
    }
}
