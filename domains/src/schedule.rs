//! The entitlement schedule of a company: which module is owned within which `[from, until)`, and by which purchase.
//!
//! It owns the arithmetic: what is owned at an instant, when that changes, and how a purchase replaces another. It
//! refuses to know why something was bought. Who is active is always asked with an instant, never stored.

use kisum_events::{EntitlementSource, Limits, ModuleEntitlement, ModuleKey, Timestamp};
use std::collections::BTreeSet;

/// The module that alone opens the Core App (contract; consistency, *Core App*).
pub const BASIC: &str = "basic";

/// Whether Basic is owned at `now`. Nobody derives it again.
pub fn basic_active(schedule: &[ModuleEntitlement], now: Timestamp) -> bool {
    schedule.iter().any(|entry| entry.module.as_str() == BASIC && entry.is_active(now))
}

/// Modules owned at `now`.
pub fn owned(schedule: &[ModuleEntitlement], now: Timestamp) -> BTreeSet<ModuleKey> {
    schedule.iter().filter(|entry| entry.is_active(now)).map(|entry| entry.module.clone()).collect()
}

/// Limits of what is owned at `now`; of several sources the largest counts.
pub fn limits(schedule: &[ModuleEntitlement], now: Timestamp) -> Limits {
    let mut largest = Limits::new();
    for (name, value) in schedule.iter().filter(|entry| entry.is_active(now)).flat_map(|entry| &entry.limits) {
        largest.entry(name.clone()).and_modify(|known| *known = (*known).max(*value)).or_insert(*value);
    }
    largest
}

/// The next instant after `now` at which the owned modules or their limits differ from now's; `None` when they never
/// do. A purchase that takes over from another without a gap changes nothing.
pub fn next_change(schedule: &[ModuleEntitlement], now: Timestamp) -> Option<Timestamp> {
    let instants: BTreeSet<Timestamp> =
        schedule.iter().flat_map(|entry| [Some(entry.from), entry.until]).flatten().filter(|at| *at > now).collect();
    if instants.is_empty() {
        return None;
    }
    let current = (owned(schedule, now), limits(schedule, now));
    instants.into_iter().find(|at| (owned(schedule, *at), limits(schedule, *at)) != current)
}

/// What one purchase gives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Purchase<'a> {
    pub(crate) source: &'a EntitlementSource,
    pub(crate) modules: &'a [ModuleKey],
    pub(crate) limits: &'a Limits,
    pub(crate) from: Timestamp,
    pub(crate) until: Option<Timestamp>,
}

impl Purchase<'_> {
    pub(crate) fn entries(&self) -> impl Iterator<Item = ModuleEntitlement> + '_ {
        self.modules.iter().map(|module| ModuleEntitlement {
            module: module.clone(),
            source: self.source.clone(),
            from: self.from,
            until: self.until,
            limits: self.limits.clone(),
        })
    }
}

/// The schedule in which whatever `closes` picks ends at `at`; what would have started then or later is gone.
pub(crate) fn close(
    schedule: &[ModuleEntitlement],
    at: Timestamp,
    closes: impl Fn(&EntitlementSource) -> bool,
) -> Vec<ModuleEntitlement> {
    schedule
        .iter()
        .filter(|entry| !closes(&entry.source) || entry.from < at)
        .map(|entry| {
            let mut entry = entry.clone();
            if closes(&entry.source) {
                entry.until = Some(entry.until.map_or(at, |until| until.min(at)));
            }
            entry
        })
        .collect()
}

/// The one form of a schedule: in order, an entry that continues another merged with it, and without the past. Two
/// schedules that mean the same from `now` on are equal in it.
pub(crate) fn normal(mut schedule: Vec<ModuleEntitlement>, now: Timestamp) -> Vec<ModuleEntitlement> {
    schedule.retain(|entry| entry.until.is_none_or(|until| until > entry.from));
    schedule.sort_by(|a, b| (&a.module, &a.source, a.from, a.until).cmp(&(&b.module, &b.source, b.from, b.until)));
    schedule.dedup();
    let mut merged: Vec<ModuleEntitlement> = Vec::with_capacity(schedule.len());
    for entry in schedule {
        match merged.last_mut() {
            Some(last) if continues(last, &entry) => last.until = entry.until,
            _ => merged.push(entry),
        }
    }
    // Last, so that what ends now and goes on under a new version keeps its beginning.
    merged.retain(|entry| entry.until.is_none_or(|until| until > now));
    merged
}

fn continues(last: &ModuleEntitlement, next: &ModuleEntitlement) -> bool {
    last.until == Some(next.from)
        && (&last.module, &last.source, &last.limits) == (&next.module, &next.source, &next.limits)
}
