//! Proofs that a position of a log was its head at some moment, and the lease that follows.
//!
//! It owns the arithmetic of "every change is honoured at most 5 s after its commit" (`consistency.md`). It refuses
//! to compare clocks of two machines: a proof's moment is the asking, minus the age that the answer states.

use crate::clock::BootTime;
use kisum_events::{Head, Position};
use std::{collections::VecDeque, time::Duration};

/// How long after a proof's moment what it proved may be relied on.
pub(crate) const LEASE: Duration = Duration::from_secs(5);

/// Proofs kept; they arrive once a second and are worthless after [`LEASE`].
const PROOFS_MAX: usize = 32;

/// The log had no access event above `access_position` at `at`.
#[derive(Clone, Copy, Debug)]
struct Proof {
    at: BootTime,
    position: Position,
    access_position: Position,
}

/// What became of a head that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// It is a proof.
    Yes,
    /// It is lower than one seen before: another replica's older read.
    Older,
}

/// The proofs of one log in one epoch.
#[derive(Debug, Default)]
pub(crate) struct Proofs {
    recent: VecDeque<Proof>,
    highest: Position,
}

impl Proofs {
    /// Records a head that was asked for at `asked`.
    pub(crate) fn record(&mut self, asked: BootTime, head: &Head) -> Counted {
        if head.position < self.highest {
            return Counted::Older;
        }
        self.highest = head.position;
        let at = asked.minus(Duration::from_millis(head.age_ms));
        self.recent.retain(|proof| proof.at.plus(LEASE) > at);
        if self.recent.len() >= PROOFS_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(Proof { at, position: head.position, access_position: head.access_position });
        Counted::Yes
    }

    /// The moment of the newest proof that `position` satisfies.
    pub(crate) fn proven(&self, position: Position) -> Option<BootTime> {
        self.recent.iter().filter(|proof| proof.access_position <= position).map(|proof| proof.at).max()
    }

    /// The highest position up to which nothing is missing to whoever has applied the access events up to `applied`: what
    /// a head showed behind them is of the class `info`.
    pub(crate) fn reached(&self, applied: Position) -> Position {
        let satisfied = self.recent.iter().filter(|proof| proof.access_position <= applied);
        satisfied.map(|proof| proof.position).fold(applied, Position::max)
    }

    /// Until when what was computed from `position` may be relied on.
    pub(crate) fn lease(&self, position: Position) -> Option<BootTime> {
        self.proven(position).map(|at| at.plus(LEASE))
    }

    /// The highest access position among proofs that count still: what an answer must have seen to be provable now.
    pub(crate) fn newest(&self, now: BootTime) -> Option<Position> {
        let running = self.recent.iter().filter(|proof| now < proof.at.plus(LEASE));
        running.map(|proof| proof.access_position).max()
    }
}

#[cfg(test)]
mod tests {
    use super::{Counted, LEASE, Proofs};
    use crate::clock::BootTime;
    use kisum_events::Head;
    use std::time::Duration;

    fn at(seconds: u64) -> BootTime {
        BootTime::since_boot(Duration::from_secs(seconds))
    }

    fn head(position: u64, access_position: u64, age_ms: u64) -> Head {
        Head { epoch: 1, position, access_position, age_ms }
    }

    #[test]
    fn behind_the_last_access_event_a_head_shows_how_far_nothing_is_missing() {
        let mut proofs = Proofs::default();
        proofs.record(at(100), &head(9, 7, 0));
        proofs.record(at(101), &head(12, 11, 0));
        assert_eq!([6, 7, 10, 11, 20].map(|applied| proofs.reached(applied)), [6, 9, 10, 12, 20]);
    }

    #[test]
    fn a_lease_runs_from_the_asking_minus_the_age() {
        let mut proofs = Proofs::default();
        proofs.record(at(100), &head(9, 7, 250));
        assert_eq!(proofs.lease(7), Some(at(100).minus(Duration::from_millis(250)).plus(LEASE)));
    }

    #[test]
    fn a_proof_counts_only_once_its_head_is_applied() {
        let mut proofs = Proofs::default();
        proofs.record(at(100), &head(9, 7, 0));
        proofs.record(at(101), &head(20, 15, 0));
        assert_eq!(proofs.lease(6), None);
        assert_eq!(proofs.lease(7), Some(at(105)));
        assert_eq!(proofs.lease(14), Some(at(105)));
        assert_eq!(proofs.lease(15), Some(at(106)));
    }

    #[test]
    fn a_lower_head_of_the_same_epoch_is_another_replica_s_older_read() {
        let mut proofs = Proofs::default();
        proofs.record(at(100), &head(9, 7, 0));
        assert_eq!(proofs.record(at(103), &head(8, 7, 0)), Counted::Older);
        assert_eq!(proofs.lease(7), Some(at(105)));
    }

    #[test]
    fn a_proof_that_ran_out_demands_nothing() {
        let mut proofs = Proofs::default();
        proofs.record(at(100), &head(9, 7, 0));
        assert_eq!(proofs.newest(at(104)), Some(7));
        assert_eq!(proofs.newest(at(105)), None);
    }
}
