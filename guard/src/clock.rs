//! Time and chance as the guard sees them, so that everything else takes them as arguments.
//!
//! It owns the crate's only reads of a clock and of randomness. It refuses to compare clocks of two machines: the
//! wall clock is for claims and `validUntil`, the boot clock for leases.

use kisum_events::Timestamp;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use uuid::Uuid;

/// A point on this machine's CLOCK_BOOTTIME: it goes on while the machine sleeps, never backwards, and nobody sets
/// it. Meaningless on another machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootTime(Duration);

impl BootTime {
    /// The point that long after boot.
    pub const fn since_boot(span: Duration) -> Self {
        Self(span)
    }

    /// This point and a span later.
    pub const fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }

    /// This point and a span earlier; stops at boot.
    pub const fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span))
    }

    /// How long after `earlier` this is; zero when it is not.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// The clocks in use: the machine's, or one that a test moves.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    manual: Option<Arc<Mutex<Manual>>>,
}

#[derive(Debug)]
struct Manual {
    wall: Timestamp,
    boot: BootTime,
}

impl Clock {
    /// The machine's clocks.
    pub const fn system() -> Self {
        Self { manual: None }
    }

    /// A clock that stands at `wall` until [`Clock::advance`] moves it; clones move together.
    pub fn manual(wall: Timestamp) -> Self {
        // A day after boot, so that subtracting a few seconds does not meet zero.
        let boot = BootTime::since_boot(Duration::from_secs(86_400));
        Self { manual: Some(Arc::new(Mutex::new(Manual { wall, boot }))) }
    }

    /// Moves a manual clock on; the machine's clocks move by themselves.
    pub fn advance(&self, span: Duration) {
        if let Some(manual) = &self.manual {
            let mut manual = manual.lock().unwrap_or_else(PoisonError::into_inner);
            manual.wall = manual.wall.plus(span);
            manual.boot = manual.boot.plus(span);
        }
    }

    /// Wall time.
    pub fn now(&self) -> Timestamp {
        match &self.manual {
            Some(manual) => manual.lock().unwrap_or_else(PoisonError::into_inner).wall,
            None => system_now(),
        }
    }

    /// Boot time.
    pub fn boot(&self) -> BootTime {
        match &self.manual {
            Some(manual) => manual.lock().unwrap_or_else(PoisonError::into_inner).boot,
            None => system_boot(),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this module is where time enters the crate")]
fn system_now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

fn system_boot() -> BootTime {
    // Apple's CLOCK_MONOTONIC counts sleep, as Linux's CLOCK_BOOTTIME does.
    #[cfg(target_os = "linux")]
    let clock = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = rustix::time::ClockId::Monotonic;
    let at = rustix::time::clock_gettime(clock);
    BootTime(Duration::new(u64::try_from(at.tv_sec).unwrap_or(0), u32::try_from(at.tv_nsec).unwrap_or(0)))
}

/// A random name that nobody can guess (122 bits), such as a token's `jti`.
#[expect(clippy::disallowed_methods, reason = "this module is where randomness enters the crate")]
pub(crate) fn random_id() -> Uuid {
    Uuid::new_v4()
}

/// A new step's id in a trace: 64 bits, of which all but two are random.
pub(crate) fn new_span_id() -> u64 {
    random_id().as_u64_pair().1
}

/// A new trace's id.
pub(crate) fn new_trace_id() -> u128 {
    random_id().as_u128()
}

/// `span` with up to `percent` % added or taken away, so that a fleet does not act in step.
pub(crate) fn jittered(span: Duration, percent: u32) -> Duration {
    let draw = u32::try_from(random_id().as_u128() & 0xffff).unwrap_or(0);
    // 0‥65535 → −percent‥+percent, in hundredths of a percent of the span.
    let spread = percent.saturating_mul(2).saturating_mul(100);
    let shift = spread.saturating_mul(draw) / 0xffff;
    let parts = 10_000_u32.saturating_sub(percent.saturating_mul(100)).saturating_add(shift);
    span.saturating_mul(parts) / 10_000
}

#[cfg(test)]
mod tests {
    use super::{Clock, jittered};
    use kisum_events::Timestamp;
    use std::time::Duration;

    #[test]
    fn a_manual_clock_stands_still_until_it_is_moved() {
        let clock = Clock::manual(Timestamp::from_micros(1_700_000_000_000_000));
        let (wall, boot) = (clock.now(), clock.boot());
        let same = clock.clone();
        same.advance(Duration::from_secs(3));
        assert_eq!(clock.now(), wall.plus(Duration::from_secs(3)));
        assert_eq!(clock.boot().since(boot), Duration::from_secs(3));
    }

    #[test]
    fn the_machine_s_boot_clock_never_runs_backwards() {
        let clock = Clock::system();
        let first = clock.boot();
        assert!(clock.boot() >= first);
        assert!(clock.now() > Timestamp::from_micros(1_700_000_000_000_000));
    }

    #[test]
    fn jitter_stays_within_its_bounds() {
        for _ in 0..1000 {
            let span = jittered(Duration::from_secs(1), 20);
            assert!(span >= Duration::from_millis(800) && span <= Duration::from_millis(1200), "{span:?}");
        }
    }
}
