//! A bounded memory of tokens that were already used.
//!
//! It owns forgetting them when they expire. It refuses to forget earlier: when it is full it says so, because a
//! forgotten token could be used twice.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet},
    sync::{Mutex, PoisonError},
};

/// What is known of a token that is being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It was not used before, and is remembered from now on.
    First,
    /// It was used before.
    Again,
    /// As many tokens as fit are remembered already.
    Full,
}

pub(crate) struct Replays {
    capacity: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    names: HashSet<Box<str>>,
    by_end: BinaryHeap<Reverse<(i64, Box<str>)>>,
}

impl Replays {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, held: Mutex::default() }
    }

    /// Records the use of `name`, which nobody accepts from `until_s` on.
    pub(crate) fn first_use(&self, name: &str, until_s: i64, now_s: i64) -> Seen {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        while held.by_end.peek().is_some_and(|Reverse((end, _))| *end <= now_s) {
            if let Some(Reverse((_, gone))) = held.by_end.pop() {
                held.names.remove(&gone);
            }
        }
        if held.names.contains(name) {
            return Seen::Again;
        }
        if held.names.len() >= self.capacity {
            return Seen::Full;
        }
        held.names.insert(name.into());
        held.by_end.push(Reverse((until_s, name.into())));
        Seen::First
    }
}

#[cfg(test)]
mod tests {
    use super::{Replays, Seen};

    #[test]
    fn a_token_is_good_once_until_it_expires() {
        let replays = Replays::new(8);
        assert_eq!(replays.first_use("a", 10, 0), Seen::First);
        assert_eq!(replays.first_use("a", 10, 9), Seen::Again);
        assert_eq!(replays.first_use("a", 20, 10), Seen::First);
    }

    #[test]
    fn a_full_memory_refuses_instead_of_forgetting() {
        let replays = Replays::new(2);
        replays.first_use("a", 10, 0);
        replays.first_use("b", 20, 0);
        assert_eq!(replays.first_use("c", 30, 5), Seen::Full);
        assert_eq!(replays.first_use("b", 20, 5), Seen::Again);
        assert_eq!(replays.first_use("c", 30, 10), Seen::First);
        assert_eq!(replays.first_use("b", 20, 10), Seen::Again);
    }
}
