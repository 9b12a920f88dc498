//! The three words that every rule is told in, and the names that the stories use.

use kisum_domains::{Catalog, PermissionStanding};
use kisum_events::{Aggregate, CompanyId, DelegationId, EventId, MembershipId, RoleId, Timestamp, UserId};
use std::{collections::BTreeSet, fmt::Debug, str::FromStr, time::Duration};

/// A state that history led to.
pub(crate) struct Given<A> {
    pub(crate) state: A,
}

/// What a decision answered.
#[must_use]
pub(crate) struct When<T, E> {
    answer: Result<T, E>,
}

/// Folds history from the beginning.
pub(crate) fn given<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> Given<A> {
    let mut state = A::default();
    for (event, version) in events.into_iter().zip(1_u64..) {
        state.evolve(&event, version);
    }
    Given { state }
}

impl<A> Given<A> {
    pub(crate) fn when<T, E>(self, decide: impl FnOnce(&A) -> Result<T, E>) -> When<T, E> {
        When { answer: decide(&self.state) }
    }
}

impl<T: PartialEq + Debug, E: PartialEq + Debug> When<T, E> {
    pub(crate) fn then(self, expected: impl Into<T>) {
        assert_eq!(self.answer, Ok(expected.into()));
    }

    pub(crate) fn refused(self, error: E) {
        assert_eq!(self.answer, Err(error));
    }
}

impl<V: PartialEq + Debug, E: PartialEq + Debug> When<Vec<V>, E> {
    pub(crate) fn then_nothing(self) {
        assert_eq!(self.answer, Ok(vec![]));
    }
}

/// Reads a key that the story knows to be well formed.
pub(crate) fn key<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

fn id<T: FromStr<Err: Debug>>(kind: u8, number: u8) -> T {
    key(&format!("01890000-0000-7000-80{kind:02x}-0000000000{number:02x}"))
}

pub(crate) fn user(number: u8) -> UserId {
    id(1, number)
}

pub(crate) fn company(number: u8) -> CompanyId {
    id(2, number)
}

pub(crate) fn member(number: u8) -> MembershipId {
    id(3, number)
}

pub(crate) fn delegation(number: u8) -> DelegationId {
    id(6, number)
}

pub(crate) fn role(number: u8) -> RoleId {
    id(5, number)
}

pub(crate) fn event(number: u8) -> EventId {
    id(4, number)
}

/// That many seconds into the story.
pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000).plus(Duration::from_secs(seconds))
}

pub(crate) fn keys<T: FromStr<Err: Debug> + Ord>(texts: &[&str]) -> BTreeSet<T> {
    texts.iter().map(|text| key(text)).collect()
}

/// A catalog of four modules: `basic.notes.read` is retired, the rest may be granted.
pub(crate) fn catalog() -> Catalog {
    let grantable = ["basic.events.read", "finance.bills.read", "finance.bills.create", "market.contracts.read"];
    let grantable = grantable.map(|text| (key(text), PermissionStanding::Grantable));
    Catalog {
        modules: keys(&["ai", "basic", "finance", "market"]),
        permissions: grantable.into_iter().chain([(key("basic.notes.read"), PermissionStanding::Retired)]).collect(),
    }
}
