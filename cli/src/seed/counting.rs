//! What a person sees while many things are made: a bar with rate and time left on a terminal, plain lines elsewhere.
//!
//! On standard error, so that standard output stays for results.

use crate::ambient::Stopwatch;
use std::{
    io::{IsTerminal as _, Write as _},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// How often a terminal is refreshed.
const REFRESH: Duration = Duration::from_millis(250);
/// How often a line is added where nothing can be refreshed.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Characters of a whole bar.
const WIDTH: usize = 24;

/// Does the work, and shows meanwhile how much of it `made` says is done.
///
/// # Errors
/// The work's own.
pub(super) async fn shown<T, E>(
    what: &str,
    total: u64,
    made: &AtomicU64,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let is_terminal = std::io::stderr().is_terminal();
    let watch = Stopwatch::start();
    let show = |start: &str, end: &str| {
        say(&format!("{start}{}{end}", line(what, made.load(Ordering::Relaxed), total, watch.elapsed())));
    };
    tokio::pin!(work);
    let outcome = loop {
        tokio::select! {
            outcome = &mut work => break outcome,
            () = tokio::time::sleep(if is_terminal { REFRESH } else { LINE_EVERY }) => {
                if is_terminal { show("\r\x1b[2K  ", "") } else { show("  ", "\n") }
            }
        }
    };
    show(if is_terminal { "\r\x1b[2K  " } else { "  " }, "\n");
    outcome
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
fn line(what: &str, made: u64, total: u64, elapsed: Duration) -> String {
    let percent = made.saturating_mul(100).checked_div(total).unwrap_or(100);
    let full = usize::try_from(percent).unwrap_or(WIDTH).saturating_mul(WIDTH) / 100;
    let bar = format!("{}{}", "#".repeat(full.min(WIDTH)), ".".repeat(WIDTH.saturating_sub(full)));
    let text = format!("[{bar}] {percent:>3} %  {made} of {total} {what}");
    let seconds = elapsed.as_secs_f64();
    let rate = made as f64 / seconds;
    // Before the first second a rate is chance.
    if seconds < 1.0 || rate <= 0.0 {
        return text;
    }
    let left = total.saturating_sub(made) as f64 / rate;
    format!("{text}, {rate:.0}/s, {left:.0} s left")
}

/// A closed standard error is no reason to stop working.
fn say(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

#[cfg(test)]
mod tests {
    use super::line;
    use std::time::Duration;

    #[test]
    fn a_line_says_how_much_how_fast_and_how_long_still() {
        let at = |made, seconds| line("members", made, 2000, Duration::from_millis(seconds));
        assert_eq!(at(0, 0), "[........................]   0 %  0 of 2000 members");
        assert_eq!(at(500, 10_000), "[######..................]  25 %  500 of 2000 members, 50/s, 30 s left");
        assert_eq!(at(2000, 40_000), "[########################] 100 %  2000 of 2000 members, 50/s, 0 s left");
    }
}
