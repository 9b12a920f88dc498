//! What long work shows of itself: a bar with rate and time left on a terminal, plain lines elsewhere.
//!
//! On standard error, so that standard output stays for results. It refuses to know what is counted.

use std::{io::Write as _, time::Duration};

/// How often a terminal is refreshed.
pub(crate) const REFRESH: Duration = Duration::from_millis(250);
/// How often a line is added where nothing can be refreshed.
pub(crate) const LINE_EVERY: Duration = Duration::from_secs(5);
/// Takes a terminal's line away, to write it anew.
pub(crate) const AFRESH: &str = "\r\x1b[2K";
/// Characters of a whole bar.
const WIDTH: usize = 24;

/// How far something is, how fast and how long still: `first` was done when it was first seen, `elapsed` ago.
#[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
pub(crate) fn line(what: &str, (done, total): (u64, u64), first: u64, elapsed: Duration) -> String {
    let percent = done.saturating_mul(100).checked_div(total).unwrap_or(100);
    let full = usize::try_from(percent).unwrap_or(WIDTH).saturating_mul(WIDTH) / 100;
    let bar = format!("{}{}", "#".repeat(full.min(WIDTH)), ".".repeat(WIDTH.saturating_sub(full)));
    let text = format!("[{bar}] {percent:>3} %  {done} of {total} {what}");
    let seconds = elapsed.as_secs_f64();
    let rate = done.saturating_sub(first) as f64 / seconds;
    // Before the first second a rate is chance.
    if seconds < 1.0 || rate < 1.0 {
        return text;
    }
    let left = total.saturating_sub(done) as f64 / rate;
    format!("{text}, {rate:.0}/s, {left:.0} s left")
}

/// A closed standard error is no reason to stop working.
pub(crate) fn say(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}
