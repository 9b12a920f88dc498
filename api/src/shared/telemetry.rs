//! Logs, metrics and traces of a process.
//!
//! It owns the global subscriber and the global metrics recorder, both installed once. It refuses to let a token or an
//! e-mail address through: what looks like one is masked on its way out.

use super::{json_lines::JsonLines, metric_names, outlet, service_config::ServiceConfig, span_export};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::{
    str::FromStr,
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

/// Upper ends of the buckets of every `*_seconds` histogram, in seconds: fine below the guard's budgets
/// (`consistency.md`: 50 ms, 150 ms), coarse up to the request time-out.
const BUCKETS_S: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Upper ends of the buckets of batch sizes.
const BUCKETS_SIZE: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];
/// How often histograms that nobody reads are drained, so that they do not grow.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For a person at a terminal.
    Text,
}

impl FromStr for LogFormat {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err(()),
        }
    }
}

/// Starts logs, metrics and, where a collector is named, traces of this process, within its runtime. Only the first call of a process does something.
pub fn start(config: &ServiceConfig) {
    metrics();
    let (service, environment) = (config.service.as_str(), config.environment.name());
    let spans = config.otlp_endpoint.as_ref().and_then(|url| span_export::start(url.expose(), service, environment));
    let filter = EnvFilter::try_new(&config.log_filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter).with(spans);
    // A second start in one process (tests) keeps the first one's subscriber.
    let _ = match config.log_format {
        LogFormat::Json => registry.with(JsonLines::new(service, environment)).try_init(),
        LogFormat::Text => registry.with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr)).try_init(),
    };
}

/// The process's metrics, installed on first use.
pub fn metrics() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    static INSTALL: Mutex<()> = Mutex::new(());
    let _one_at_a_time = INSTALL.lock().unwrap_or_else(PoisonError::into_inner);
    HANDLE.get_or_init(install).clone()
}

fn install() -> PrometheusHandle {
    let recorder = builder().build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::warn!("another metrics recorder was installed before; /metrics stays empty");
    }
    metric_names::describe();
    handle
}

fn builder() -> PrometheusBuilder {
    let builder = PrometheusBuilder::new();
    let builder = match builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS_S) {
        Ok(builder) => builder,
        // Only an empty list of buckets is refused.
        Err(_) => PrometheusBuilder::new(),
    };
    builder
        .set_buckets_for_metric(Matcher::Suffix("_size".to_owned()), &BUCKETS_SIZE)
        .unwrap_or_else(|_| PrometheusBuilder::new())
}

/// Writes what is left of the log and sends what is left for the collector, at the end of a process.
pub async fn flush() {
    outlet::flush();
    span_export::flush().await;
    outlet::flush();
}

/// Keeps histograms small while nobody reads them; ends with the runtime.
pub fn spawn_upkeep() {
    let handle = metrics();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP_EVERY).await;
            handle.run_upkeep();
        }
    });
}
