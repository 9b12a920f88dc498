//! What a command about a company's members is decided on, read in one snapshot.
//!
//! It owns gathering it. It refuses to decide: `kisum_domains` does, and the append checks that nothing of it has
//! changed meanwhile.

use super::{
    Access, AccessError,
    snapshot::{Depth, Question, StateRow},
    states::States,
};
use kisum_domains::{Authority, Catalog, Company, Membership, schedule};
use kisum_events::{CompanyId, Cursor, ModuleKey};
use kisum_guard::XOrg;
use kisum_log::{Append, Loaded};
use std::collections::BTreeSet;

use crate::auth::person::Person;

/// Name of the limit on a company's members (`Limits`).
const SEATS: &str = "seats";

/// A company, who acts, and what may be given.
pub(in crate::auth) struct Grounds {
    /// The company; version 0 when there is none.
    pub(in crate::auth) company: Loaded<Company>,
    /// The acting person's membership of it, when a person acts and is a member.
    pub(in crate::auth) acting: Option<Loaded<Membership>>,
    /// Whether the acting person is signed in; true when a service acts.
    pub(in crate::auth) is_signed_in: bool,
    /// How many members it may have.
    pub(in crate::auth) seat_limit: Option<i64>,
    /// Head of the auth log.
    pub(in crate::auth) head: Cursor,
    /// How far the entitlements are folded; epoch 0 when they have not begun.
    pub(in crate::auth) core: Cursor,
    owned: BTreeSet<ModuleKey>,
    catalog: Catalog,
}

impl Grounds {
    /// What the acting person, or the platform, may do.
    pub(in crate::auth) fn authority(&self) -> Authority<'_> {
        match &self.acting {
            Some(acting) => Authority::member(&acting.state, &self.owned, &self.catalog),
            None => Authority::platform(&self.owned, &self.catalog),
        }
    }

    /// Makes an append depend on the acting membership. Where that is the stream to be written, its version is checked
    /// anyway.
    pub(in crate::auth) fn guard_acting(&self, append: &mut Append, written: &kisum_events::StreamName) {
        if let Some(acting) = self.acting.as_ref().filter(|acting| acting.stream != *written) {
            append.guard(acting);
        }
    }
}

impl Access {
    /// Reads what a command about `company` is decided on; `person` is who acts, or nobody when a service does.
    ///
    /// # Errors
    /// [`AccessError`] where it cannot be read.
    pub(in crate::auth) async fn grounds(
        &self,
        company: CompanyId,
        person: Option<Person>,
    ) -> Result<Grounds, AccessError> {
        let org = XOrg::Id(company);
        let question = match person {
            Some(Person { user, session }) => Question { user, session, company: org },
            None => Question::of_nobody(org),
        };
        let snapshot = self.read(&question, Depth::States).await?;
        let states = States::read(&self.log, &question, &snapshot, None).await?;
        let now = self.clock.now();
        let is_signed_in = person.is_none_or(|person| states.is_signed_in(person.user, now));
        let owned = schedule::owned(&states.entitlements, now);
        let seat_limit = schedule::limits(&states.entitlements, now).get(SEATS).copied();
        let company_stream = kisum_events::StreamName::company(company);
        Ok(Grounds {
            company: loaded(snapshot.company.as_ref(), states.company)
                .unwrap_or_else(|| Loaded::new_stream(company_stream)),
            acting: loaded(snapshot.membership.as_ref(), states.membership),
            is_signed_in,
            seat_limit,
            head: snapshot.auth,
            core: snapshot.core,
            owned,
            catalog: states.catalog,
        })
    }
}

fn loaded<A>(row: Option<&StateRow>, state: Option<A>) -> Option<Loaded<A>> {
    let (row, state) = row.zip(state)?;
    Some(Loaded { stream: row.stream.clone(), version: row.version, position: row.position, state })
}
