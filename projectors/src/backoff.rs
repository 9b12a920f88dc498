//! Waiting longer and longer between attempts, at random, so that many processes do not return at once. It owns this
//! crate's only randomness.

use std::{hash::BuildHasher, time::Duration};

/// `consistency.md`, *Herds*: reconnects with full jitter 50 ms – 5 s.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(5);

/// The waits between attempts that fail.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next wait: drawn between [`FIRST`] and twice the ceiling before, at most [`LONGEST`].
    pub(crate) fn next(&mut self) -> Duration {
        let ceiling = FIRST.saturating_mul(1 << self.failures.min(7)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        FIRST + ceiling.saturating_sub(FIRST).mul_f64(random())
    }

    /// An attempt succeeded.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A number in `[0, 1)`. Spreading load needs no more than the seed of a hash map.
fn random() -> f64 {
    let bits = std::hash::RandomState::new().hash_one(()) >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::{Backoff, FIRST, LONGEST};

    #[test]
    fn waits_grow_and_stay_between_the_first_and_the_longest() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next(), FIRST);
        for _ in 0..100 {
            assert!((FIRST..=LONGEST).contains(&backoff.next()));
        }
        backoff.reset();
        assert_eq!(backoff.next(), FIRST);
    }
}
