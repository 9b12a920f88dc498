//! What an operator reads: the log lines, the metrics and the traces that are promised (`docs/api/operator.md`).

mod lag;
mod promised;
mod traces;

use kisum::local::{Part, Stack};
use serde_json::Value;
use std::{fs, time::Duration};

/// The longest wait for anything on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// What a service has printed so far.
fn printed(stack: &Stack, part: Part) -> String {
    fs::read_to_string(stack.layout().log(part.name())).unwrap_or_default()
}

/// The whole lines of a service's log.
fn lines(stack: &Stack, part: Part) -> Vec<Value> {
    let text = printed(stack, part);
    let whole = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    whole.filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The page of metrics of a service.
pub(crate) async fn metrics(stack: &Stack, part: Part) -> String {
    let url = format!("{}/metrics", stack.addresses_with(|at| at.ops(part)));
    let answer = reqwest::get(&url).await.unwrap_or_else(|error| panic!("{part}: {error}"));
    answer.text().await.unwrap_or_else(|error| panic!("{part}: {error}"))
}

/// The sum of a metric's samples whose labels contain `label`.
pub(crate) fn sum(page: &str, name: &str, label: &str) -> f64 {
    let samples = page.lines().filter_map(|line| line.strip_prefix(name)).filter(|rest| rest.starts_with(['{', ' ']));
    let matching = samples.filter(|rest| rest.contains(label));
    matching.filter_map(|rest| rest.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

/// Waits until `holds` answers something.
async fn until<T>(what: &str, holds: impl AsyncFn() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(found) = holds().await {
                return found;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what} did not come about"))
}
