//! Which spans are collected, and what of them.
//!
//! A span is collected when its fields say where it stands in a trace (`kisum_log::Caused` lists them) and that trace is
//! sampled. It owns reading the fields. It refuses to draw ids: they are there already, and travel in headers.

use super::{Queued, enqueue};
use crate::shared::{
    ambient::{Clock, Stopwatch},
    mask::mask,
};
use serde_json::Value;
use std::fmt::{self, Write as _};
use tokio::sync::mpsc;
use tracing::{
    Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

/// A span that is over.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) name: &'static str,
    pub(super) fields: Fields,
    pub(super) begun_ns: u128,
    pub(super) ended_ns: u128,
}

/// What the fields of a span say.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) trace_id: String,
    pub(super) span_id: String,
    pub(super) parent_span_id: String,
    pub(super) kind: String,
    pub(super) links: String,
    is_sampled: bool,
    /// Everything else.
    pub(super) others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn is_collected(&self) -> bool {
        self.is_sampled && !self.trace_id.is_empty() && !self.span_id.is_empty()
    }

    fn put(&mut self, name: &'static str, value: Value) {
        match self.others.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "trace_id" => value.clone_into(&mut self.trace_id),
            "span_id" => value.clone_into(&mut self.span_id),
            "parent_span_id" => value.clone_into(&mut self.parent_span_id),
            "span_kind" => value.clone_into(&mut self.kind),
            "links" => value.clone_into(&mut self.links),
            name => self.put(name.trim_start_matches("r#"), Value::from(mask(value).as_ref())),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // Writing to a String does not fail; a Debug that does leaves what it wrote.
        let _ = write!(text, "{value:?}");
        self.record_str(field, &text);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        match field.name() {
            "sampled" => self.is_sampled = value,
            name => self.put(name, Value::from(value)),
        }
    }
}

/// A span that is under way.
struct Begun {
    fields: Fields,
    at_ns: u128,
    watch: Stopwatch,
}

/// Collects spans.
pub(in crate::shared) struct SpanLayer {
    queue: mpsc::Sender<Queued>,
    clock: Clock,
}

impl SpanLayer {
    pub(super) const fn into_queue(queue: mpsc::Sender<Queued>) -> Self {
        Self { queue, clock: Clock::system() }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for SpanLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if fields.is_collected()
            && let Some(span) = context.span(id)
        {
            let at_ns = u128::try_from(self.clock.now().micros()).unwrap_or(0).saturating_mul(1_000);
            span.extensions_mut().insert(Begun { fields, at_ns, watch: Stopwatch::start() });
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(begun) = span.extensions_mut().get_mut::<Begun>()
        {
            values.record(&mut begun.fields);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(Begun { fields, at_ns, watch }) = span.extensions_mut().remove::<Begun>() else { return };
        let ended_ns = at_ns.saturating_add(watch.elapsed().as_nanos());
        enqueue(&self.queue, Finished { name: span.name(), fields, begun_ns: at_ns, ended_ns });
    }
}
