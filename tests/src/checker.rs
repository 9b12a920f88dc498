//! Judges what people were answered while parts of the platform came and went: no wrong allow, no wrong refusal, no
//! silence longer than the product promises.
//!
//! It owns the rules, as a function of what happened and what was seen. It refuses to ask anybody, and to read a clock:
//! every time is since one start.

use std::time::Duration;

/// The product's bound on how long anything old may live, and on how long it may take to be well again
/// (`consistency.md`).
pub const BOUND: Duration = Duration::from_secs(5);

/// While nothing is down, an answer may be "not now" for a moment: on a busy machine a question to Auth may miss its
/// budget of 150 ms, and to be told so is what was promised. For longer than this, it is the platform that is ill.
const PASSING: Duration = Duration::from_secs(1);

/// What somebody who can prove nothing answers.
pub const UNAVAILABLE: &str = "503 service_unavailable";

/// One answer to one person.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Who.
    pub person: usize,
    /// When the question was sent.
    pub asked: Duration,
    /// When the answer was there.
    pub answered: Duration,
    /// In words: status, code, reason.
    pub answer: String,
    /// Whether it said when to come again.
    pub says_when: bool,
}

/// From when on a person is to be answered in another way.
#[derive(Clone, Debug)]
pub struct Change {
    /// Whose answer.
    pub person: usize,
    /// When the command was sent: not before then does it hold.
    pub sent: Duration,
    /// When its success was known: not after then was it committed.
    pub committed: Duration,
    /// The answer since.
    pub answer: String,
}

/// A span in which something was down.
#[derive(Clone, Copy, Debug)]
pub struct Outage {
    /// When the first part was killed.
    pub from: Duration,
    /// When the last one was ready again; never, while it lasts.
    pub until: Option<Duration>,
}

/// What happened.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// In the order of each person's changes; the first says how they begin.
    pub changes: Vec<Change>,
    /// In order.
    pub outages: Vec<Outage>,
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Neither what holds nor what held until so short a time ago.
    Answer {
        /// Whose.
        person: usize,
        /// When it was asked for.
        asked: Duration,
        /// What was said.
        said: String,
        /// What might have been said.
        allowed: Vec<String>,
    },
    /// "Not now", and not a word on when.
    NotSayingWhen {
        /// To whom.
        person: usize,
        /// When it was asked for.
        asked: Duration,
    },
    /// "Not now" though nothing is down, for too long.
    Unavailable {
        /// To whom.
        person: usize,
        /// Since when.
        since: Duration,
        /// Until when at least.
        until: Duration,
    },
}

impl Timeline {
    /// How a person begins.
    pub fn begins(&mut self, person: usize, answer: &str) {
        self.changes.push(Change {
            person,
            sent: Duration::ZERO,
            committed: Duration::ZERO,
            answer: answer.to_owned(),
        });
    }

    /// The answer that holds for a person now.
    pub fn answer_of(&self, person: usize) -> Option<&str> {
        self.changes.iter().rev().find(|change| change.person == person).map(|change| change.answer.as_str())
    }

    /// What a person may be told by somebody who decides at some time from `asked` to `answered`: what was in force
    /// then, or until [`BOUND`] before.
    fn allowed(&self, seen: &Observed) -> Vec<String> {
        let own: Vec<_> = self.changes.iter().filter(|change| change.person == seen.person).collect();
        let ends = own.iter().skip(1).map(|next| Some(next.committed + BOUND)).chain([None]);
        let may_be = own
            .iter()
            .zip(ends)
            .filter(|(change, end)| change.sent <= seen.answered && end.is_none_or(|end| seen.asked <= end));
        may_be.map(|(change, _)| change.answer.clone()).collect()
    }

    /// Whether something was down, or had just come back, at some time of a question.
    fn is_excused(&self, seen: &Observed) -> bool {
        self.outages
            .iter()
            .any(|outage| outage.from <= seen.answered && outage.until.is_none_or(|until| seen.asked <= until + BOUND))
    }

    /// Everything that is wrong with what was seen, which is in the order of each person's questions.
    pub fn judge(&self, observed: &[Observed]) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        let persons = observed.iter().map(|seen| seen.person).max().map_or(0, |last| last + 1);
        for person in 0..persons {
            // Since when nothing but "not now" is said, while nothing is down.
            let mut silent: Option<Duration> = None;
            for seen in observed.iter().filter(|seen| seen.person == person) {
                if seen.answer != UNAVAILABLE {
                    silent = None;
                    let allowed = self.allowed(seen);
                    if !allowed.contains(&seen.answer) {
                        wrong.push(Wrong::Answer { person, asked: seen.asked, said: seen.answer.clone(), allowed });
                    }
                    continue;
                }
                if !seen.says_when {
                    wrong.push(Wrong::NotSayingWhen { person, asked: seen.asked });
                }
                if self.is_excused(seen) {
                    silent = None;
                    continue;
                }
                let since = *silent.get_or_insert(seen.asked);
                if seen.answered.saturating_sub(since) > PASSING {
                    wrong.push(Wrong::Unavailable { person, since, until: seen.answered });
                }
            }
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::{Change, Observed, Outage, Timeline, UNAVAILABLE, Wrong};
    use std::time::Duration;

    const ALLOWED: &str = "200";
    const REFUSED: &str = "403 forbidden missing_permission";

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn seen(at: u64, answer: &str) -> Observed {
        let (asked, answered) = (ms(at), ms(at + 10));
        Observed { person: 0, asked, answered, answer: answer.to_owned(), says_when: true }
    }

    /// Allowed at first; refused by a command sent at 10 s and known to be committed at 10.1 s.
    fn revoked() -> Timeline {
        let mut timeline = Timeline::default();
        timeline.begins(0, ALLOWED);
        timeline.changes.push(Change {
            person: 0,
            sent: ms(10_000),
            committed: ms(10_100),
            answer: REFUSED.to_owned(),
        });
        timeline
    }

    fn down(from: u64, until: u64) -> Outage {
        Outage { from: ms(from), until: Some(ms(until)) }
    }

    #[test]
    fn a_change_that_is_honoured_within_the_bound_is_fine() {
        let answers = [seen(0, ALLOWED), seen(9_995, REFUSED), seen(15_100, ALLOWED), seen(15_200, REFUSED)];
        assert_eq!(revoked().judge(&answers), []);
    }

    #[test]
    fn an_allow_after_the_bound_is_wrong() {
        let wrong = revoked().judge(&[seen(15_101, ALLOWED)]);
        assert!(matches!(wrong.as_slice(), [Wrong::Answer { asked, said, allowed, .. }]
            if *asked == ms(15_101) && said == ALLOWED && *allowed == [REFUSED]));
    }

    #[test]
    fn an_allow_after_the_bound_is_wrong_whatever_is_down() {
        let timeline = Timeline { outages: vec![down(9_000, 20_000)], ..revoked() };
        assert_eq!(timeline.judge(&[seen(15_101, ALLOWED)]).len(), 1);
    }

    #[test]
    fn a_refusal_of_what_is_allowed_is_wrong_whatever_is_down() {
        let timeline = Timeline { outages: vec![down(0, 20_000)], ..revoked() };
        for refusal in [REFUSED, "401 unauthorized", "403 forbidden not_a_member", "500 internal_error", "no answer"] {
            // Answered 1 ms before the command was sent.
            assert_eq!(timeline.judge(&[seen(9_989, refusal)]).len(), 1, "{refusal}");
        }
        // Another reason than the one that holds is none of the two.
        assert_eq!(timeline.judge(&[seen(12_000, "403 forbidden not_a_member")]).len(), 1);
    }

    #[test]
    fn what_is_not_down_may_not_be_unavailable_for_long() {
        let answers = |step| [seen(0, UNAVAILABLE), seen(step, UNAVAILABLE), seen(step * 2, ALLOWED)];
        assert_eq!(revoked().judge(&answers(900)), []);
        let since_start = Wrong::Unavailable { person: 0, since: ms(0), until: ms(1_010) };
        assert_eq!(revoked().judge(&answers(1_000)), [since_start]);
    }

    #[test]
    fn what_is_down_may_be_unavailable_and_the_bound_longer() {
        let timeline = Timeline { outages: vec![down(1_000, 3_000)], ..revoked() };
        let until = |last: u64| (1..=last / 100).map(|n| seen(n * 100, UNAVAILABLE)).collect::<Vec<_>>();
        assert_eq!(timeline.judge(&until(9_000)), [], "5 s to be well, 1 s for what passes");
        assert!(matches!(timeline.judge(&until(9_200)).as_slice(), [Wrong::Unavailable { since, .. }, ..]
            if *since == ms(8_100)));
        let never_back = Timeline { outages: vec![Outage { from: ms(0), until: None }], ..revoked() };
        assert_eq!(never_back.judge(&until(60_000)), []);
    }

    #[test]
    fn unavailable_says_when_to_come_again() {
        let timeline = Timeline { outages: vec![down(0, 1_000)], ..revoked() };
        let wordless = Observed { says_when: false, ..seen(500, UNAVAILABLE) };
        assert_eq!(timeline.judge(&[wordless]), [Wrong::NotSayingWhen { person: 0, asked: ms(500) }]);
    }

    #[test]
    fn each_person_is_judged_by_what_holds_for_them() {
        let mut timeline = revoked();
        timeline.begins(1, REFUSED);
        let other = |at, answer| Observed { person: 1, ..seen(at, answer) };
        assert_eq!(timeline.judge(&[seen(0, ALLOWED), other(0, REFUSED)]), []);
        assert_eq!(timeline.judge(&[seen(0, ALLOWED), other(0, ALLOWED)]).len(), 1);
        assert_eq!((timeline.answer_of(0), timeline.answer_of(2)), (Some(REFUSED), None));
    }
}
