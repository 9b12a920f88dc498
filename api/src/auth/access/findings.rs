//! What a command about a company's members is decided on, read in one snapshot.
//!
//! It owns gathering it. It refuses to decide: `kisum_domains` does, and the append checks that nothing of it has
//! changed meanwhile.

use super::{
    Access, AccessError,
    snapshot::{Question, StateRow},
    states::States,
};
use crate::auth::person::Person;
use kisum_domains::{Catalog, Company, Membership, Role, schedule};
use kisum_events::{CompanyId, Cursor, ModuleKey, RoleId};
use kisum_guard::XOrg;
use kisum_log::Loaded;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Name of the limit on a company's members (`Limits`).
const SEATS: &str = "seats";

/// A company, who asks, and what may be given. Nobody is admitted by this yet.
pub(in crate::auth) struct Findings {
    /// The company, where there is one.
    pub(in crate::auth) company: Option<(CompanyId, Loaded<Company>)>,
    /// The asking person's membership of it, where there is one.
    pub(in crate::auth) membership: Option<Loaded<Membership>>,
    /// The named roles that it lists.
    pub(in crate::auth) roles: BTreeMap<RoleId, Loaded<Role>>,
    /// Whether a person asks and is signed in.
    pub(in crate::auth) is_signed_in: bool,
    /// Modules that the company owns now.
    pub(in crate::auth) owned: BTreeSet<ModuleKey>,
    /// What exists to be granted.
    pub(in crate::auth) catalog: Arc<Catalog>,
    /// How many members the company may have.
    pub(in crate::auth) seat_limit: Option<i64>,
    /// Head of the auth log.
    pub(in crate::auth) head: Cursor,
    /// Whether what is neither owned nor in the catalog does not exist: not while a projection begins an epoch.
    pub(in crate::auth) is_core_known: bool,
}

impl Access {
    /// Reads what a command about the company that `org` names is decided on; `person` is who asks, or nobody when
    /// a service does.
    ///
    /// # Errors
    /// [`AccessError`] where it cannot be read.
    pub(in crate::auth) async fn findings(&self, org: XOrg, person: Option<Person>) -> Result<Findings, AccessError> {
        let question = match person {
            Some(Person { user, session, .. }) => Question { user, session, company: org },
            None => Question::of_nobody(org),
        };
        let snapshot = self.read(&question).await?;
        let mut states = States::read(&self.log, &question, &snapshot, None).await?;
        let now = self.clock.now();
        let is_signed_in = person.is_some_and(|person| states.is_signed_in(person.user, now));
        let owned = schedule::owned(&states.entitlements, now);
        let seat_limit = schedule::limits(&states.entitlements, now).get(SEATS).copied();
        let (company_id, roles) = (snapshot.company_id(), states.take_roles());
        Ok(Findings {
            company: company_id.zip(loaded(snapshot.company.as_ref(), states.company)),
            membership: loaded(snapshot.membership.as_ref(), states.membership),
            roles,
            is_signed_in,
            seat_limit,
            head: snapshot.auth,
            is_core_known: snapshot.core.epoch > 0 && snapshot.is_catalog_known,
            owned,
            catalog: states.catalog,
        })
    }
}

fn loaded<A>(row: Option<&StateRow>, state: Option<A>) -> Option<Loaded<A>> {
    let (row, state) = row.zip(state)?;
    Some(Loaded { stream: row.stream.clone(), version: row.version, position: row.position, state })
}
