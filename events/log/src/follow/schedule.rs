//! When pages are asked for: now and then, when an event stays missing, and later and later while they fail.

use crate::Backoff;
use std::time::Duration;
use tokio::time::Instant;

/// How long a missing event may still come by itself: two subscriptions can deliver in disorder.
const DISORDER: Duration = Duration::from_millis(20);

/// The times at which a follower asks.
#[derive(Debug)]
pub(super) struct Schedule {
    poll_at: Instant,
    /// While an event is missing.
    repair_at: Option<Instant>,
    /// Since something came that only a page can explain.
    doubt_at: Option<Instant>,
    /// While the last page failed, nothing makes the next one come sooner.
    has_failed: bool,
    failures: Backoff,
}

impl Schedule {
    pub(super) fn at_once() -> Self {
        Self {
            poll_at: Instant::now(),
            repair_at: None,
            doubt_at: None,
            has_failed: false,
            failures: Backoff::default(),
        }
    }

    /// When to ask next.
    pub(super) fn next(&self) -> Instant {
        if self.has_failed {
            return self.poll_at;
        }
        [self.repair_at, self.doubt_at].into_iter().flatten().fold(self.poll_at, Instant::min)
    }

    pub(super) fn is_due(&self) -> bool {
        self.next() <= Instant::now()
    }

    /// A page is asked for: what was known to be missing before is in it.
    pub(super) fn asks(&mut self) {
        (self.repair_at, self.doubt_at) = (None, None);
    }

    /// A page came; the next one is asked for after `poll`.
    pub(super) fn asked(&mut self, poll: Duration) {
        self.has_failed = false;
        self.failures.reset();
        self.poll_at = Instant::now() + poll;
    }

    /// A page failed; answers how long the next one is put off.
    pub(super) fn failed(&mut self) -> Duration {
        let wait = self.failures.next_wait();
        self.has_failed = true;
        self.poll_at = Instant::now() + wait;
        wait
    }

    /// An event is missing. One that stays missing is asked about even while later ones keep arriving.
    pub(super) fn repair(&mut self) {
        self.repair_at.get_or_insert_with(|| Instant::now() + DISORDER);
    }

    /// Nothing is missing any more.
    pub(super) fn repaired(&mut self) {
        self.repair_at = None;
    }

    /// Something came that only a page can explain: also the page under way may be older.
    pub(super) fn doubts(&mut self) {
        self.doubt_at = Some(Instant::now());
    }

    /// The log has grown.
    pub(super) fn woken(&mut self) {
        if !self.has_failed {
            self.poll_at = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Instant, Schedule};

    #[tokio::test(start_paused = true)]
    async fn a_failed_page_is_not_hurried_and_a_page_that_came_lets_holes_be_repaired() {
        let mut schedule = Schedule::at_once();
        let wait = schedule.failed();
        schedule.doubts();
        schedule.woken();
        assert_eq!(schedule.next(), Instant::now() + wait);
        schedule.asked(Duration::from_secs(1));
        assert!(schedule.is_due(), "the doubt came before the page was asked for");
    }

    #[tokio::test(start_paused = true)]
    async fn later_events_do_not_put_off_the_repair_of_a_hole() {
        let mut schedule = Schedule::at_once();
        schedule.asked(Duration::from_secs(1));
        schedule.repair();
        let repair = schedule.next();
        tokio::time::advance(Duration::from_millis(5)).await;
        schedule.repair();
        assert_eq!(schedule.next(), repair);
        schedule.repaired();
        assert!(schedule.next() > repair);
    }
}
