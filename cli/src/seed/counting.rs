//! What a person sees while many things are made: a bar with rate and time left on a terminal, plain lines elsewhere.
//!
//! On standard error, so that standard output stays for results.

use crate::{
    ambient::Stopwatch,
    bar::{AFRESH, LINE_EVERY, REFRESH, line, say},
};
use std::{
    io::IsTerminal as _,
    sync::atomic::{AtomicU64, Ordering},
};

/// Does the work, and shows meanwhile how much of it `made` says is done.
///
/// # Errors
/// The work's own.
pub(crate) async fn shown<T, E>(
    what: &str,
    total: u64,
    made: &AtomicU64,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let is_terminal = std::io::stderr().is_terminal();
    let watch = Stopwatch::start();
    let start = if is_terminal { format!("{AFRESH}  ") } else { "  ".to_owned() };
    let show = |end: &str| {
        let text = line(what, (made.load(Ordering::Relaxed), total), 0, watch.elapsed());
        say(&format!("{start}{text}{end}"));
    };
    tokio::pin!(work);
    let outcome = loop {
        tokio::select! {
            outcome = &mut work => break outcome,
            () = tokio::time::sleep(if is_terminal { REFRESH } else { LINE_EVERY }) => {
                show(if is_terminal { "" } else { "\n" });
            }
        }
    };
    show("\n");
    outcome
}

#[cfg(test)]
mod tests {
    use super::line;
    use std::time::Duration;

    #[test]
    fn a_line_says_how_much_how_fast_and_how_long_still() {
        let at = |made, seconds| line("members", (made, 2000), 0, Duration::from_millis(seconds));
        assert_eq!(at(0, 0), "[........................]   0 %  0 of 2000 members");
        assert_eq!(at(500, 10_000), "[######..................]  25 %  500 of 2000 members, 50/s, 30 s left");
        assert_eq!(at(2000, 40_000), "[########################] 100 %  2000 of 2000 members, 50/s, 0 s left");
    }
}
