//! Log lines as flat JSON objects.
//!
//! It owns the line's form: `timestamp`, `level`, `service`, `environment`, the fields of the enclosing request span
//! and the fields of the event, in one object (plan §19). It masks what looks like a token, a secret in an address or
//! an e-mail address, so that a careless field does no harm; it does not replace care.

use super::{ambient::Clock, mask::mask, outlet};
use std::{
    cell::RefCell,
    fmt::{self, Write as _},
    io::Write as _,
    ops::Range,
};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

/// Fields of spans that say nothing to who reads lines (`span_export`).
const FOR_COLLECTORS: [&str; 4] = ["parent_span_id", "span_kind", "sampled", "links"];

/// Bytes of the fields of a request's span.
const SPAN_LEN_USUAL: usize = 512;

/// Bytes that a thread keeps between two lines.
const KEPT_LEN_MAX: usize = 64 * 1024;

thread_local! {
    /// What a line is put together in; a line is written for every request, so the memory for it is there already.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

#[derive(Default)]
struct Scratch {
    line: Vec<u8>,
    event: Fields,
}

/// Writes one JSON object per event to standard output.
pub struct JsonLines {
    /// The members that every line has, as they stand in it.
    common: Vec<u8>,
    clock: Clock,
}

impl JsonLines {
    /// For one service in one environment.
    pub fn new(service: &str, environment: &str) -> Self {
        let mut common = Vec::new();
        for (name, value) in [("service", service), ("environment", environment)] {
            member(&mut common, name, |text| string(text, value));
        }
        Self { common, clock: Clock::system() }
    }

    /// Puts an event's line together and hands it to `write`.
    fn line<S, F>(&self, event: &Event<'_>, context: &Context<'_, S>, write: F)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
        F: FnOnce(&[u8]),
    {
        SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
            Ok(mut scratch) => self.line_in(&mut scratch, event, context, write),
            // An event within the making of a line: a Display that logs.
            Err(_) => self.line_in(&mut Scratch::default(), event, context, write),
        });
    }

    fn line_in<S, F>(&self, scratch: &mut Scratch, event: &Event<'_>, context: &Context<'_, S>, write: F)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
        F: FnOnce(&[u8]),
    {
        let Scratch { line, event: fields } = scratch;
        line.clear();
        fields.clear();
        event.record(fields);
        // Time and level first, for whoever reads a line as it is; neither holds a character that JSON escapes.
        let (now, level) = (self.clock.now(), event.metadata().level());
        // Writing to a Vec does not fail.
        let _ = write!(line, "{{\"timestamp\":\"{now}\",\"level\":\"{level}\"");
        line.extend_from_slice(&self.common);
        member(line, "target", |text| string(text, event.metadata().target()));
        // What is nearer to the event wins: a name stands in a line once.
        let mut span = context.event_span(event);
        let mut inner: Vec<&'static str> = Vec::new();
        while let Some(here) = span {
            if let Some(outer) = here.extensions().get::<Fields>() {
                for (name, text) in outer.entries() {
                    if !fields.holds(name) && !inner.contains(&name) {
                        put(line, name, text);
                    }
                }
                let parent = here.parent();
                if parent.is_some() {
                    inner.extend(outer.entries().map(|(name, _)| name));
                }
            }
            span = here.parent();
        }
        for (name, text) in fields.entries() {
            put(line, name, text);
        }
        line.extend_from_slice(b"}\n");
        write(line);
        line.shrink_to(KEPT_LEN_MAX);
        fields.text.shrink_to(KEPT_LEN_MAX);
    }
}

/// Fields of a span or an event, their values as JSON.
#[derive(Default)]
struct Fields {
    text: Vec<u8>,
    values: Vec<(&'static str, Range<usize>)>,
    /// What a value is formatted into before it is looked at.
    shown: String,
}

impl Fields {
    fn clear(&mut self) {
        self.text.clear();
        self.values.clear();
    }

    fn holds(&self, name: &str) -> bool {
        self.values.iter().any(|(known, _)| *known == name)
    }

    fn entries(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.values.iter().map(|(name, range)| (*name, self.text.get(range.clone()).unwrap_or_default()))
    }

    /// Notes a value; one that is recorded again replaces the earlier one.
    fn note(&mut self, field: &Field, write: impl FnOnce(&mut Vec<u8>)) {
        let name = field.name().trim_start_matches("r#");
        if FOR_COLLECTORS.contains(&name) {
            return;
        }
        let start = self.text.len();
        write(&mut self.text);
        let range = start..self.text.len();
        match self.values.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = range,
            None => self.values.push((name, range)),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.note(field, |text| string(text, &mask(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut shown = std::mem::take(&mut self.shown);
        shown.clear();
        // Writing to a String does not fail; a Debug that does leaves what it wrote.
        let _ = write!(shown, "{value:?}");
        self.note(field, |text| string(text, &mask(&shown)));
        self.shown = shown;
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.note(field, |text| json(text, &value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.note(field, |text| json(text, &value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.note(field, |text| json(text, &value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.note(field, |text| json(text, &value));
    }
}

/// Adds a member behind others.
fn put(line: &mut Vec<u8>, name: &str, value: &[u8]) {
    member(line, name, |text| text.extend_from_slice(value));
}

fn member(line: &mut Vec<u8>, name: &str, value: impl FnOnce(&mut Vec<u8>)) {
    line.push(b',');
    string(line, name);
    line.push(b':');
    value(line);
}

fn string(text: &mut Vec<u8>, value: &str) {
    json(text, &value);
}

fn json(text: &mut Vec<u8>, value: &impl serde::Serialize) {
    let start = text.len();
    if serde_json::to_writer(&mut *text, value).is_err() {
        // Numbers and texts are always written; a line stays a line in any case.
        text.truncate(start);
        text.extend_from_slice(b"null");
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for JsonLines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            fields.text.reserve(SPAN_LEN_USUAL);
            fields.values.reserve(attributes.fields().len());
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
        let is_urgent = *event.metadata().level() <= Level::WARN;
        self.line(event, &context, |line| outlet::put(line, is_urgent));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use tracing_subscriber::layer::SubscriberExt;

    struct Collect(JsonLines, std::sync::Arc<std::sync::Mutex<Vec<Value>>>);

    impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Collect {
        fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
            self.0.on_new_span(attributes, id, context);
        }
        fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
            self.0.on_record(id, values, context);
        }
        fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
            self.0.line(event, &context, |line| {
                let value = serde_json::from_slice(line).unwrap_or_else(|e| panic!("{e}"));
                self.1.lock().unwrap_or_else(|e| panic!("{e}")).push(value);
            });
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
