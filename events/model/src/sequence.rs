//! Following a log over a lossy wire: which event comes next, which is old, and where a hole is.
//!
//! Pure, so that the guard and every projection that lives outside its log's database decide alike.

use crate::{Cursor, Position};

/// Which events a follower sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Every event: the next one has the next position.
    Everything,
    /// Only class `access`: the next one names the last applied as its predecessor.
    AccessOnly,
}

/// What to do with an event that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is the next one: apply it, then call [`Sequence::applied`].
    Apply,
    /// It was applied before: ignore it.
    Old,
    /// Something between `after` and this event was not seen: fetch it from the owner's log route.
    Hole {
        /// The last applied position.
        after: Position,
    },
    /// It belongs to another epoch: drop everything and start cold.
    OtherEpoch,
}

/// A follower's place in one log.
#[derive(Clone, Copy, Debug)]
pub struct Sequence {
    view: View,
    at: Cursor,
}

impl Sequence {
    /// A follower that has applied everything up to `at`.
    pub const fn new(view: View, at: Cursor) -> Self {
        Self { view, at }
    }

    /// The last applied place.
    pub const fn at(&self) -> Cursor {
        self.at
    }

    /// Judges an event that arrived.
    pub const fn judge(&self, event: Cursor, previous_access: Position) -> Step {
        if event.epoch != self.at.epoch {
            return Step::OtherEpoch;
        }
        if event.position <= self.at.position {
            return Step::Old;
        }
        let follows = match self.view {
            View::Everything => event.position == self.at.position.saturating_add(1),
            // A cold follower starts at a head, which may lie behind the last access event: a predecessor at or
            // below what is applied leaves nothing unseen between.
            View::AccessOnly => previous_access <= self.at.position,
        };
        if follows { Step::Apply } else { Step::Hole { after: self.at.position } }
    }

    /// Records that everything up to `position` is applied.
    pub const fn applied(&mut self, position: Position) {
        if position > self.at.position {
            self.at.position = position;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Sequence, Step, View};
    use crate::Cursor;

    fn at(position: u64) -> Cursor {
        Cursor { epoch: 1, position }
    }

    #[test]
    fn the_next_event_is_applied_and_an_old_one_ignored() {
        let everything = Sequence::new(View::Everything, at(4));
        assert_eq!(everything.judge(at(5), 2), Step::Apply);
        assert_eq!(everything.judge(at(4), 2), Step::Old);
        assert_eq!(everything.judge(at(6), 2), Step::Hole { after: 4 });
    }

    #[test]
    fn a_follower_of_access_sees_a_hole_by_the_predecessor() {
        let mut access = Sequence::new(View::AccessOnly, at(4));
        assert_eq!(access.judge(at(9), 4), Step::Apply);
        assert_eq!(access.judge(at(9), 7), Step::Hole { after: 4 });
        access.applied(9);
        assert_eq!(access.judge(at(9), 4), Step::Old);
    }

    #[test]
    fn another_epoch_is_never_applied() {
        let access = Sequence::new(View::AccessOnly, at(4));
        assert_eq!(access.judge(Cursor { epoch: 2, position: 5 }, 4), Step::OtherEpoch);
    }
}
