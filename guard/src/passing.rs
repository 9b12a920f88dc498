//! Answers about companies that nobody knows: kept for two seconds, so that a client in a loop costs Auth little.
//!
//! It owns that short memory. It is apart from the contexts, so that random names push no context out.

use crate::{answer::Answer, clock::BootTime, contexts::Asked, named::Named};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

/// How long such an answer is kept (`consistency.md`, negative answers).
const KEPT: Duration = Duration::from_secs(2);
/// How many are kept.
const ANSWERS_MAX: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct Passing {
    answers: HashMap<Asked, (BootTime, Arc<Answer>)>,
    order: VecDeque<(BootTime, Asked)>,
}

impl Passing {
    pub(crate) fn get(&self, asked: &Asked, now: BootTime) -> Option<&Arc<Answer>> {
        self.answers.get(asked).filter(|(at, _)| now.since(*at) < KEPT).map(|(_, answer)| answer)
    }

    pub(crate) fn insert(&mut self, asked: Asked, answer: Arc<Answer>, now: BootTime) {
        while self.order.len() >= ANSWERS_MAX || self.order.front().is_some_and(|(at, _)| now.since(*at) >= KEPT) {
            let Some((at, gone)) = self.order.pop_front() else { break };
            if self.answers.get(&gone).is_some_and(|(held, _)| *held == at) {
                self.answers.remove(&gone);
            }
        }
        self.order.push_back((now, asked.clone()));
        self.answers.insert(asked, (now, answer));
    }

    pub(crate) fn drop_named(&mut self, named: &Named) {
        self.answers.retain(|_, (_, answer)| !named.concerns(&answer.subject));
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::{ANSWERS_MAX, Asked, Passing};
    use crate::{clock::BootTime, named::Named, org::XOrg, samples};
    use std::{sync::Arc, time::Duration};

    fn asked(n: usize) -> Asked {
        Asked { user: samples::user(1), org: XOrg::parse(&format!("nobody-{n}")).unwrap() }
    }

    fn at(ms: u64) -> BootTime {
        BootTime::since_boot(Duration::from_millis(ms))
    }

    #[test]
    fn an_unknown_company_is_remembered_for_two_seconds() {
        let mut passing = Passing::default();
        passing.insert(asked(1), Arc::new(samples::unknown_company(1)), at(0));
        assert!(passing.get(&asked(1), at(1999)).is_some());
        assert!(passing.get(&asked(1), at(2000)).is_none());
        passing.insert(asked(1), Arc::new(samples::unknown_company(1)), at(2500));
        passing.drop_named(&Named::User(samples::user(1)));
        assert!(passing.get(&asked(1), at(2501)).is_none());
    }

    #[test]
    fn random_names_take_bounded_room() {
        let mut passing = Passing::default();
        for n in 0..ANSWERS_MAX * 2 {
            passing.insert(asked(n), Arc::new(samples::unknown_company(1)), at(0));
        }
        assert!(passing.answers.len() <= ANSWERS_MAX && passing.order.len() <= ANSWERS_MAX);
    }
}
