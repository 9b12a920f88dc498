//! What a person sees while something takes long: a line for each step that takes more than a second.
//!
//! On a terminal a running step counts its seconds in place; elsewhere it says once that it has begun.

use crate::ambient::Stopwatch;
use std::{
    io::{IsTerminal as _, Write as _},
    time::Duration,
};

/// A step shorter than this is only reported when it is done.
const QUIET: Duration = Duration::from_secs(1);
/// How often a terminal is refreshed.
const REFRESH: Duration = Duration::from_millis(250);

/// Reports steps on standard error, so that standard output stays for results.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    terminal: bool,
}

impl Progress {
    /// For a person at a terminal, or for a log, as standard error says.
    pub fn on_stderr() -> Self {
        Self { terminal: std::io::stderr().is_terminal() }
    }

    /// Runs one step and says how long it took.
    ///
    /// # Errors
    /// The step's own.
    pub async fn step<T, E>(&self, name: &str, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let watch = Stopwatch::start();
        tokio::pin!(work);
        let mut announced = false;
        let outcome = loop {
            let pause = if watch.elapsed() < QUIET { QUIET } else { REFRESH };
            tokio::select! {
                outcome = &mut work => break outcome,
                () = tokio::time::sleep(pause) => {
                    self.running(name, watch.elapsed(), announced);
                    announced = true;
                }
            }
        };
        let mark = if outcome.is_ok() { "ok" } else { "failed" };
        let start = if self.terminal && announced { "\r\x1b[2K" } else { "" };
        say(&format!("{start}  {mark:<6} {name} ({:.1} s)\n", watch.elapsed().as_secs_f64()));
        outcome
    }

    fn running(&self, name: &str, elapsed: Duration, announced: bool) {
        if self.terminal {
            say(&format!("\r\x1b[2K  …      {name} ({} s)", elapsed.as_secs()));
        } else if !announced {
            say(&format!("  …      {name}\n"));
        }
    }
}

/// A closed standard error is no reason to stop working.
fn say(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}
