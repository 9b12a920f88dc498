//! Lines, times and the verdict.

use super::Output;
use crate::ambient::Stopwatch;
use anyhow::Result;
use serde::Serialize;

/// One check and how it went.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// Whether it held.
    pub ok: bool,
    /// How long it took, in ms.
    pub ms: f64,
}

/// How everything went.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether every check held and the demo is as it was.
    pub ok: bool,
    /// The checks that ran, in order.
    pub checks: Vec<Check>,
    /// Why it failed, on one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// Collects checks and shows them as they end.
pub(super) struct Recorder {
    output: Output,
    total: Stopwatch,
    checks: Vec<Check>,
}

impl Recorder {
    pub(super) fn new(output: Output) -> Self {
        Self { output, total: Stopwatch::start(), checks: Vec::new() }
    }

    /// Runs one check.
    pub(super) async fn check<T>(&mut self, name: &str, check: impl Future<Output = Result<T>>) -> Result<T> {
        let watch = Stopwatch::start();
        let result = check.await;
        let ms = (watch.elapsed().as_secs_f64() * 10_000.0).round() / 10.0;
        let ok = result.is_ok();
        if self.output == Output::Lines {
            println!("  {} {ms:>8.1} ms  {name}", if ok { "ok  " } else { "FAIL" });
        }
        self.checks.push(Check { name: name.to_owned(), ok, ms });
        result.map_err(|error| error.context(name.to_owned()))
    }

    /// The verdict.
    pub(super) fn finish(self, outcome: Result<()>) -> Report {
        let failure = outcome.err().map(|error| format!("{error:#}").replace('\n', " "));
        if self.output == Output::Lines {
            let seconds = self.total.elapsed().as_secs_f64();
            match &failure {
                None => println!("smoke: all {} checks passed in {seconds:.1} s", self.checks.len()),
                Some(failure) => println!("smoke: FAILED after {seconds:.1} s: {failure}"),
            }
        }
        Report { ok: failure.is_none(), checks: self.checks, failure }
    }
}

#[cfg(test)]
mod tests {
    use super::{Output, Recorder};

    #[tokio::test]
    async fn the_verdict_names_the_check_that_failed_and_why() {
        let mut recorder = Recorder::new(Output::Silent);
        assert!(recorder.check("first", async { Ok(()) }).await.is_ok());
        let outcome = recorder.check("second", async { anyhow::bail!("no\nanswer") }).await;
        let report = recorder.finish(outcome);
        assert!(!report.ok);
        assert_eq!(report.failure.as_deref(), Some("second: no answer"));
        assert_eq!(report.checks.iter().map(|check| check.ok).collect::<Vec<_>>(), [true, false]);
    }
}
