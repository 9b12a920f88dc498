//! What a person sees while a log is folded: a bar with rate and time left on a terminal, plain lines elsewhere.
//!
//! On standard error, so that standard output stays for results.

use crate::{
    ambient::Stopwatch,
    bar::{self, AFRESH, LINE_EVERY, say},
};
use kisum_projectors::Stage;
use std::{io::IsTerminal as _, time::Duration};

/// The progress of one projection.
pub(super) struct Bar {
    name: String,
    is_terminal: bool,
    watch: Stopwatch,
    /// Where the fold was when it was first seen, for the rate.
    first: Option<(u64, Duration)>,
    said: Option<(Stage, Duration)>,
}

impl Bar {
    pub(super) fn on_stderr(name: String) -> Self {
        Self { name, is_terminal: std::io::stderr().is_terminal(), watch: Stopwatch::start(), first: None, said: None }
    }

    /// Shows a stage, unless that would only repeat what was said.
    pub(super) fn show(&mut self, stage: &Stage) {
        if let Some(text) = self.next(stage, self.watch.elapsed()) {
            say(&text);
        }
    }

    /// Takes the bar away: what is said next is a result.
    pub(super) fn close(&self) {
        if self.is_terminal && self.said.is_some() {
            say(AFRESH);
        }
    }

    /// What to say of a stage so long after the beginning, if anything.
    fn next(&mut self, stage: &Stage, elapsed: Duration) -> Option<String> {
        if let (Stage::Folding { at, .. }, None) = (stage, self.first) {
            self.first = Some((*at, elapsed));
        }
        let is_news = match &self.said {
            None => true,
            Some(_) if self.is_terminal => true,
            Some((said, _)) if !is_same_kind(said, stage) => true,
            Some((said, at)) => said != stage && elapsed.saturating_sub(*at) >= LINE_EVERY,
        };
        let text = line(stage, self.first, elapsed);
        if !is_news || text.is_empty() {
            return None;
        }
        self.said = Some((stage.clone(), elapsed));
        let name = &self.name;
        Some(if self.is_terminal { format!("{AFRESH}{name}: {text}") } else { format!("{name}: {text}\n") })
    }
}

/// Whether one stage only goes on with another.
fn is_same_kind(said: &Stage, stage: &Stage) -> bool {
    match (said, stage) {
        (Stage::Comparing { table, .. }, Stage::Comparing { table: other, .. }) => table == other,
        _ => std::mem::discriminant(said) == std::mem::discriminant(stage),
    }
}

fn line(stage: &Stage, first: Option<(u64, Duration)>, elapsed: Duration) -> String {
    match stage {
        Stage::Waiting => String::new(),
        Stage::Folding { at, to } => folding(*at, *to, first, elapsed),
        Stage::Interrupted { why } => format!("the log cannot be read and is asked again: {why}"),
        Stage::Comparing { table, rows: 0 } => format!("comparing {table}"),
        Stage::Comparing { table, rows } => format!("comparing {table}: {rows} rows differ so far"),
    }
}

fn folding(at: u64, to: u64, first: Option<(u64, Duration)>, elapsed: Duration) -> String {
    let (from, since) = first.unwrap_or((at, elapsed));
    bar::line("events", (at, to), from, elapsed.saturating_sub(since))
}

#[cfg(test)]
mod tests {
    use super::{Bar, Stage, Stopwatch, folding};
    use std::time::Duration;

    fn bar(is_terminal: bool) -> Bar {
        Bar { name: "x".to_owned(), is_terminal, watch: Stopwatch::start(), first: None, said: None }
    }

    #[test]
    fn a_bar_says_how_far_how_fast_and_how_long_still() {
        let text = folding(600, 1000, Some((100, Duration::from_secs(1))), Duration::from_secs(3));
        assert_eq!(text, "[##############..........]  60 %  600 of 1000 events, 250/s, 2 s left");
    }

    #[test]
    fn nothing_is_guessed_in_the_first_second() {
        let text = folding(5, 1000, Some((0, Duration::ZERO)), Duration::from_millis(10));
        assert!(text.ends_with("5 of 1000 events"), "{text}");
        assert!(folding(0, 0, None, Duration::ZERO).contains("100 %"));
    }

    #[test]
    fn without_a_terminal_there_is_a_line_for_each_stage_and_now_and_then_one_more() {
        let (mut bar, at) = (bar(false), Duration::from_secs);
        let folding = |at| Stage::Folding { at, to: 1000 };
        let comparing = |table, rows| Stage::Comparing { table, rows };
        assert_eq!(bar.next(&Stage::Waiting, at(0)), None);
        assert!(
            bar.next(&folding(10), at(1)).is_some_and(|text| text.starts_with("x: [") && text.ends_with("events\n"))
        );
        assert_eq!(bar.next(&folding(20), at(2)), None);
        assert!(bar.next(&folding(510), at(6)).is_some_and(|text| text.ends_with("100/s, 5 s left\n")));
        assert_eq!(bar.next(&comparing("a", 0), at(7)).as_deref(), Some("x: comparing a\n"));
        assert_eq!(bar.next(&comparing("a", 3), at(8)), None);
        assert_eq!(bar.next(&comparing("b", 0), at(8)).as_deref(), Some("x: comparing b\n"));
    }

    #[test]
    fn on_a_terminal_one_line_is_kept_fresh() {
        let mut bar = bar(true);
        for at in 1..4 {
            let text = bar.next(&Stage::Folding { at, to: 9 }, Duration::from_millis(at));
            assert!(text.is_some_and(|text| text.starts_with("\r\x1b[2Kx: [") && !text.ends_with('\n')));
        }
    }
}
