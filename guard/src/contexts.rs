//! Answers about access that are kept: who asked for which company, and what came of it.
//!
//! It owns finding and dropping them, and how many there are. It refuses to decide whether an answer may be kept or
//! used: the fill rule and the leases are `state`'s.

use crate::{answer::Answer, named::Named, org::XOrg};
use kisum_events::{AccessSubject, AsOf, CompanyId, MembershipId, UserId};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// What is looked up: a person and a company as the request named it. The same company by id and by slug are two
/// entries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Asked {
    pub(crate) user: UserId,
    pub(crate) org: XOrg,
}

#[derive(Debug)]
struct Entry {
    answer: Arc<Answer>,
    serial: u64,
    /// Used since the eviction last came by.
    used: AtomicBool,
}

/// Keys of entries by something that they name.
#[derive(Debug)]
struct Index<K>(HashMap<K, HashSet<Asked>>);

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Copy + Eq + Hash> Index<K> {
    fn insert(&mut self, name: Option<K>, asked: &Asked) {
        if let Some(name) = name {
            self.0.entry(name).or_default().insert(asked.clone());
        }
    }

    fn remove(&mut self, name: Option<K>, asked: &Asked) {
        if let Some(name) = name
            && let Some(entries) = self.0.get_mut(&name)
        {
            entries.remove(asked);
            if entries.is_empty() {
                self.0.remove(&name);
            }
        }
    }

    fn of(&self, name: K) -> Vec<Asked> {
        self.0.get(&name).map(|entries| entries.iter().cloned().collect()).unwrap_or_default()
    }
}

#[derive(Debug)]
pub(crate) struct Contexts {
    capacity: usize,
    serial: u64,
    entries: HashMap<Asked, Entry>,
    by_user: Index<UserId>,
    by_company: Index<CompanyId>,
    by_membership: Index<MembershipId>,
    /// Answers that know of no membership in the company, such as "not a member".
    strangers: Index<CompanyId>,
    /// Entries in the order they came, with their serial: one whose serial differs was replaced or dropped since.
    order: VecDeque<(Asked, u64)>,
}

impl Contexts {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            serial: 0,
            entries: HashMap::new(),
            by_user: Index::default(),
            by_company: Index::default(),
            by_membership: Index::default(),
            strangers: Index::default(),
            order: VecDeque::new(),
        }
    }

    pub(crate) fn get(&self, asked: &Asked) -> Option<&Arc<Answer>> {
        let entry = self.entries.get(asked)?;
        entry.used.store(true, Ordering::Relaxed);
        Some(&entry.answer)
    }

    /// Keeps an answer, unless what is kept is newer in either log (`security.md` 21). Says whether it did.
    pub(crate) fn insert(&mut self, asked: Asked, answer: Arc<Answer>) -> bool {
        if self.entries.get(&asked).is_some_and(|kept| is_newer(&kept.answer.as_of, &answer.as_of)) {
            return false;
        }
        self.remove(&asked);
        while self.entries.len() >= self.capacity {
            self.evict();
        }
        self.serial = self.serial.wrapping_add(1);
        let subject = &answer.subject;
        self.by_user.insert(Some(asked.user), &asked);
        self.by_company.insert(subject.company_id, &asked);
        self.by_membership.insert(subject.membership_id, &asked);
        self.strangers.insert(stranger_to(subject), &asked);
        for giver in &subject.relies_on {
            self.by_user.insert(Some(giver.user_id), &asked);
            self.by_membership.insert(Some(giver.membership_id), &asked);
        }
        self.order.push_back((asked.clone(), self.serial));
        self.entries.insert(asked, Entry { answer, serial: self.serial, used: AtomicBool::new(false) });
        if self.order.len() > self.capacity.saturating_mul(2) {
            let entries = &self.entries;
            self.order.retain(|(asked, serial)| entries.get(asked).is_some_and(|entry| entry.serial == *serial));
        }
        true
    }

    /// Lets one entry give way: the oldest that was not used since its last turn.
    fn evict(&mut self) {
        while let Some((asked, serial)) = self.order.pop_front() {
            match self.entries.get(&asked) {
                Some(entry) if entry.serial == serial => {
                    if entry.used.swap(false, Ordering::Relaxed) {
                        self.order.push_back((asked, serial));
                    } else {
                        self.remove(&asked);
                        return;
                    }
                }
                _ => {}
            }
        }
        // The order knows every entry, so this is not reached with entries left; it ends the caller's loop if it is.
        self.clear();
    }

    fn remove(&mut self, asked: &Asked) {
        if let Some(entry) = self.entries.remove(asked) {
            let subject = &entry.answer.subject;
            self.by_user.remove(Some(asked.user), asked);
            self.by_company.remove(subject.company_id, asked);
            self.by_membership.remove(subject.membership_id, asked);
            self.strangers.remove(stranger_to(subject), asked);
            for giver in &subject.relies_on {
                self.by_user.remove(Some(giver.user_id), asked);
                self.by_membership.remove(Some(giver.membership_id), asked);
            }
        }
    }

    /// Drops every answer that an event makes old.
    pub(crate) fn drop_named(&mut self, named: &Named) {
        let candidates = match *named {
            Named::Keys => return,
            Named::Everybody => return self.clear(),
            Named::Company(company) => self.by_company.of(company),
            Named::User(user) | Named::EndedSession { user, .. } => self.by_user.of(user),
            Named::Membership { id, company, user } => {
                // Besides the membership's own entry: answers that knew of no membership.
                let others = match (user, company) {
                    (Some(user), _) => self.by_user.of(user),
                    (None, Some(company)) => self.strangers.of(company),
                    (None, None) => return self.clear(),
                };
                self.by_membership.of(id).into_iter().chain(others).collect()
            }
        };
        for asked in candidates {
            if self.entries.get(&asked).is_some_and(|entry| named.concerns(&entry.answer.subject)) {
                self.remove(&asked);
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self { serial: self.serial, ..Self::new(self.capacity) };
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

fn stranger_to(subject: &AccessSubject) -> Option<CompanyId> {
    subject.company_id.filter(|_| subject.membership_id.is_none())
}

/// Whether `kept` saw more of either log than `given`. Epochs differ only around a cold start, which clears all.
fn is_newer(kept: &AsOf, given: &AsOf) -> bool {
    (kept.auth.epoch, kept.auth.position) > (given.auth.epoch, given.auth.position)
        || (kept.core.epoch, kept.core.position) > (given.core.epoch, given.core.position)
}

#[cfg(test)]
#[path = "contexts_tests.rs"]
mod tests;
