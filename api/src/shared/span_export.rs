//! Spans on their way to a collector: OTLP over HTTP, in its JSON form (OTLP 1.x, *OTLP/HTTP*).
//!
//! It owns the queue and the sending. It refuses to slow anything down: what does not fit into the queue is dropped and
//! counted, and so is a batch that the collector does not take. Without `OTEL_EXPORTER_OTLP_ENDPOINT` none of it exists.

mod layer;
mod otlp;

pub(super) use layer::SpanLayer;

use self::layer::Finished;
use super::problem::Chain;
use std::{sync::OnceLock, time::Duration};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};

/// Finished spans that wait to be sent at most; some hundred bytes each.
const QUEUE_MAX: usize = 4_096;
/// Spans in one request at most.
const BATCH_MAX: usize = 512;
/// How long a batch is gathered.
const GATHER: Duration = Duration::from_millis(500);
/// How long the collector may take for one batch.
const SEND_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the end of a process waits for the last batch.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// What goes through the queue.
#[derive(Debug)]
enum Queued {
    Span(Box<Finished>),
    /// Everything before it has been sent when this is answered.
    Flush(oneshot::Sender<()>),
}

/// The queue of this process, where spans are exported.
static QUEUE: OnceLock<mpsc::Sender<Queued>> = OnceLock::new();

/// Begins to export this process's spans to a collector; answers the layer that collects them. Nothing is answered when
/// another call of the process did so before, or there can be no HTTP client.
///
/// It has to be called within a runtime, which also ends it.
pub(super) fn start(endpoint: &str, service: &str, environment: &str) -> Option<SpanLayer> {
    let http = reqwest::Client::builder()
        .timeout(SEND_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .ok()?;
    let (queue, waiting) = mpsc::channel(QUEUE_MAX);
    QUEUE.set(queue.clone()).ok()?;
    let exporter = Exporter {
        http,
        url: format!("{}/v1/traces", endpoint.trim_end_matches('/')),
        resource: otlp::resource(service, environment),
        waiting,
        is_reached: true,
    };
    tokio::spawn(exporter.run());
    Some(SpanLayer::into_queue(queue))
}

/// Waits until what has been collected so far is sent, not for long; at the end of a process.
pub(super) async fn flush() {
    let Some(queue) = QUEUE.get() else { return };
    let (sent, done) = oneshot::channel();
    let flushed = async {
        if queue.send(Queued::Flush(sent)).await.is_ok() {
            let _ = done.await;
        }
    };
    let _too_slow = tokio::time::timeout(FLUSH_MAX, flushed).await;
}

/// Puts a finished span into the queue, or drops it when that is full.
fn enqueue(queue: &mpsc::Sender<Queued>, span: Finished) {
    if let Err(TrySendError::Full(_)) = queue.try_send(Queued::Span(Box::new(span))) {
        dropped("queue_full", 1);
    }
}

fn dropped(reason: &'static str, count: usize) {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    metrics::counter!("kisum_spans_dropped_total", "reason" => reason).increment(count);
}

struct Exporter {
    http: reqwest::Client,
    url: String,
    resource: serde_json::Value,
    waiting: mpsc::Receiver<Queued>,
    /// Whether the collector took the last batch: only a change is worth a line.
    is_reached: bool,
}

impl Exporter {
    async fn run(mut self) {
        while let Some(first) = self.waiting.recv().await {
            let (spans, flushed) = self.gather(first).await;
            if !spans.is_empty() {
                self.send(&spans).await;
            }
            if let Some(flushed) = flushed {
                let _nobody_waits = flushed.send(());
            }
        }
    }

    /// What comes within a moment after the first.
    async fn gather(&mut self, first: Queued) -> (Vec<Finished>, Option<oneshot::Sender<()>>) {
        let mut spans = Vec::new();
        let deadline = tokio::time::sleep(GATHER);
        tokio::pin!(deadline);
        let mut next = Some(first);
        loop {
            match next {
                Some(Queued::Span(span)) => spans.push(*span),
                Some(Queued::Flush(flushed)) => return (spans, Some(flushed)),
                None => return (spans, None),
            }
            if spans.len() >= BATCH_MAX {
                return (spans, None);
            }
            next = tokio::select! {
                next = self.waiting.recv() => next,
                () = &mut deadline => None,
            };
        }
    }

    async fn send(&mut self, spans: &[Finished]) {
        let body = otlp::request(&self.resource, spans).to_string();
        let request = self.http.post(&self.url).header(http::header::CONTENT_TYPE, "application/json").body(body);
        let sent = request.send().await.and_then(reqwest::Response::error_for_status);
        // The address may hold credentials.
        match sent.map_err(reqwest::Error::without_url) {
            Ok(_) => {
                self.is_reached = true;
                let count = u64::try_from(spans.len()).unwrap_or(u64::MAX);
                metrics::counter!("kisum_spans_exported_total").increment(count);
            }
            Err(error) => {
                dropped("not_taken", spans.len());
                if std::mem::take(&mut self.is_reached) {
                    tracing::warn!(event = "spans.not_taken", error = %Chain(&error), "the collector takes no spans");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
