//! Waiting longer and longer between attempts, at random, so that many processes do not return at once.

use crate::ambient::random;
use std::time::Duration;

/// `consistency.md`, *Herds*: reconnects with full jitter 50 ms – 5 s.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(5);

/// The waits between attempts that fail.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next wait: drawn between 50 ms and a ceiling that doubles with every failure, up to 5 s.
    pub fn next_wait(&mut self) -> Duration {
        let ceiling = FIRST.saturating_mul(1 << self.failures.min(7)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        FIRST + ceiling.saturating_sub(FIRST).mul_f64(random())
    }

    /// An attempt succeeded.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, FIRST, LONGEST};

    #[test]
    fn waits_grow_and_stay_between_the_first_and_the_longest() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next_wait(), FIRST);
        for _ in 0..100 {
            assert!((FIRST..=LONGEST).contains(&backoff.next_wait()));
        }
        backoff.reset();
        assert_eq!(backoff.next_wait(), FIRST);
    }
}
