//! Erasing a person: everything they have ends, and with the event that says so their key is gone (`security.md` 13).
//!
//! It owns what an erasure takes along, invitations to their address included, and its order: the ledger first, then one append. What it takes along is shown
//! before (`Affected`) and has to be named (`security.md` 31).

use super::{ledger::Entry, standing::missing};
use crate::{
    auth::{
        Auth, companies,
        login::append_for,
        lookup::Email,
        race::{self, Outcome},
        sessions, signed_in,
        staff::{self, Acting},
    },
    shared::{
        problem::{self, Problem, conflict},
        request_label::RequestLabel,
    },
};
use kisum_domains::{
    Authority, Company, Membership, User, company,
    company::MembersError,
    membership::{self, MembershipStatus},
    staff::RevokeRoleError,
    user::{self, UserStandingError, UserStatus},
};
use kisum_events::{CompanyId, Cursor, MembershipId, SessionEndCause, StreamName, UserId};
use kisum_log::{Append, ClaimKey, Loaded, Receipt};
use std::{collections::BTreeMap, time::Duration};

/// Events of one append that ends memberships, beside those that end sessions: an append takes 256. Whoever has more loses
/// the others before.
const EVENTS_MAX: usize = 100;
/// Memberships that are looked for. Nobody has more; whoever did would be erased by asking again.
const LISTED_MAX: i64 = 1_000;
/// How long an erasure waits for the list of members.
const LIST_WAIT: Duration = Duration::from_secs(2);

/// A membership that an erasure ends.
#[derive(Debug)]
pub(in crate::auth) struct Belonging {
    pub(in crate::auth) id: MembershipId,
    pub(in crate::auth) company_id: CompanyId,
    pub(in crate::auth) membership: Loaded<Membership>,
    pub(in crate::auth) company: Loaded<Company>,
}

impl Belonging {
    /// Events that its end is at most: its own, two of the company's, and two for each delegation that it gave.
    fn events_max(&self) -> usize {
        self.membership.state.given.len().saturating_mul(2).saturating_add(3)
    }

    /// Whether the company would be left without a superadmin.
    pub(in crate::auth) fn is_last_superadmin(&self) -> bool {
        let superadmins = &self.company.state.superadmins;
        superadmins.len() == 1 && superadmins.contains(&self.id)
    }
}

/// What an erasure affects, as of one look.
#[derive(Debug)]
pub(in crate::auth) struct Affected {
    /// The person.
    pub(in crate::auth) user: Loaded<User>,
    /// Memberships that end, in the order of their ids.
    pub(in crate::auth) memberships: Vec<Belonging>,
}

/// What whoever asks for an erasure was shown.
#[derive(Clone, Debug)]
pub(in crate::auth) struct Confirmed {
    /// The version of the person.
    pub(in crate::auth) version: u64,
    /// Their memberships.
    pub(in crate::auth) memberships: Vec<MembershipId>,
}

/// Somebody who is no more.
#[derive(Debug)]
pub(in crate::auth) struct Erased {
    /// Their state.
    pub(in crate::auth) user: Loaded<User>,
    /// Where it was written; absent where it had been before.
    pub(in crate::auth) receipt: Option<Receipt>,
}

/// Reads what an erasure would affect.
///
/// # Errors
/// 404 when there is no such person; 503 when it cannot be read, or the list of members lags.
pub(in crate::auth) async fn affected(auth: &Auth, user: UserId) -> Result<Affected, Problem> {
    let loaded = signed_in::load_user(auth, user).await?;
    if loaded.state.status == UserStatus::Unknown {
        return Err(missing());
    }
    Ok(Affected { user: loaded, memberships: belongings(auth, user).await? })
}

/// The memberships that a person has.
async fn belongings(auth: &Auth, user: UserId) -> Result<Vec<Belonging>, Problem> {
    let head = auth.log.head().await.map_err(problem::of_load)?;
    let head = Cursor { epoch: head.epoch, position: head.position };
    // An erased superadmin would count as one for ever: what the list lacks must not be overlooked.
    if !matches!(tokio::time::timeout(LIST_WAIT, auth.member_list.reached(head)).await, Ok(Ok(_))) {
        return Err(Problem::unavailable("The list of members is behind; try again."));
    }
    let ids = sqlx::query_scalar!(
        "select membership_id from member_list_v1 where user_id = $1 and status <> 'revoked'
         order by position limit $2",
        user.uuid(),
        LISTED_MAX
    )
    .fetch_all(auth.log.pool())
    .await
    .map_err(problem::of_query)?;
    let streams = ids.into_iter().map(|id| StreamName::membership(MembershipId::new(id)));
    let memberships = auth.log.load_all::<Membership>(streams).await.map_err(problem::of_load)?;
    let of = |membership: &Loaded<Membership>| membership.state.company_id.map(StreamName::company);
    let companies = auth.log.load_all::<Company>(memberships.iter().filter_map(of)).await.map_err(problem::of_load)?;
    let mut companies: BTreeMap<_, _> = companies.into_iter().map(|it| (it.stream.clone(), it)).collect();
    let mut found = Vec::new();
    for membership in memberships.into_iter().filter(|it| it.state.status != MembershipStatus::Revoked) {
        let (Ok(id), Some(company_id)) = (membership.stream.id().parse(), membership.state.company_id) else {
            continue;
        };
        // A person has one membership of a company: the claim sees to that.
        let Some(company) = companies.remove(&StreamName::company(company_id)) else { continue };
        found.push(Belonging { id, company_id, membership, company });
    }
    found.sort_by_key(|belonging| belonging.id);
    Ok(found)
}

/// Erases a person: sessions, memberships, staff roles and the claim of their address go by the same append, and so does
/// their key. Asked again, it finishes what an earlier attempt left.
///
/// # Errors
/// 404 when there is no such person; 409 `version` when what it affects is not what was shown, `last_superadmin` when a
/// company would be left without one (the message names it), `last_owner`; 503 when the ledger cannot be written.
pub(in crate::auth) async fn erase(
    auth: &Auth,
    acting: &Acting,
    (user, confirmed): (UserId, &Confirmed),
    label: &RequestLabel,
) -> Result<Erased, Problem> {
    let found = affected(auth, user).await?;
    if matches!(found.user.state.status, UserStatus::Erased { .. }) {
        end_memberships(auth, acting, found.memberships, label).await?;
        return Ok(Erased { user: found.user, receipt: None });
    }
    let shown: Vec<_> = found.memberships.iter().map(|it| it.id).collect();
    if (found.user.version, &shown) != (confirmed.version, &confirmed.memberships) {
        return Err(changed());
    }
    refuse_last(&found.memberships)?;
    let account = signed_in::account(auth, user, &found.user.state);
    // Before: whoever is erased has no address by which they could be found.
    forget_invitations(auth, acting, &account, label).await?;
    let mut rest = found.memberships;
    let last = take_some(&mut rest);
    end_memberships(auth, acting, rest, label).await?;
    let erased = finally(auth, acting, (user, confirmed, last), label).await?;
    auth.log.forget(user);
    // One that began at the same moment was not on the list yet; it was guarded on a person who still was.
    let left = belongings(auth, user).await?;
    end_memberships(auth, acting, left, label).await?;
    forget_invitations(auth, acting, &account, label).await?;
    Ok(erased)
}

/// Takes back what companies have sent to the person's address.
async fn forget_invitations(auth: &Auth, acting: &Acting, account: &str, label: &RequestLabel) -> Result<(), Problem> {
    let begin = || {
        let mut append = append_for(acting.actor(), label);
        acting.guard(&mut append, None);
        append
    };
    companies::forget(auth, account, begin).await
}

fn changed() -> Problem {
    Problem::conflict(conflict::VERSION, "What would be erased is not what was shown; look again.")
}

fn refuse_last(memberships: &[Belonging]) -> Result<(), Problem> {
    let slugs = memberships.iter().filter(|it| it.is_last_superadmin()).map(|it| it.company.state.slug.as_ref());
    let names: Vec<_> = slugs.flatten().map(ToString::to_string).collect();
    if names.is_empty() {
        return Ok(());
    }
    let message = format!("These companies would be left without a superadmin: {}.", names.join(", "));
    Err(Problem::conflict("last_superadmin", message))
}

/// Takes from the end as many as one append ends, one at least.
fn take_some(memberships: &mut Vec<Belonging>) -> Vec<Belonging> {
    let mut events = 0;
    let fitting = memberships.iter().rev().take_while(|it| {
        events += it.events_max();
        events <= EVENTS_MAX
    });
    let some = fitting.count().max(1);
    memberships.split_off(memberships.len().saturating_sub(some))
}

/// Ends memberships, some at a time. Where somebody changes one of them meanwhile, whoever asks has to ask again.
async fn end_memberships(
    auth: &Auth,
    acting: &Acting,
    mut memberships: Vec<Belonging>,
    label: &RequestLabel,
) -> Result<(), Problem> {
    while !memberships.is_empty() {
        let some = take_some(&mut memberships);
        let mut append = append_for(acting.actor(), label);
        acting.guard(&mut append, None);
        write_ends(auth, &mut append, &some).await?;
        if append.is_empty() {
            continue;
        }
        match race::settle(auth.append(append).await)? {
            Outcome::Done(_) => {}
            Outcome::Again | Outcome::Taken => return Err(changed()),
        }
    }
    Ok(())
}

async fn write_ends(auth: &Auth, append: &mut Append, memberships: &[Belonging]) -> Result<(), Problem> {
    let (owned, catalog) = Default::default();
    for Belonging { id, company_id, membership, company } in memberships {
        let events = membership::revoke(&membership.state, &Authority::platform(&owned, &catalog))
            .map_err(|error| problem::of_defect(&error))?;
        // A membership that ends has forgotten what it gave; who received it has to hear of it.
        companies::end_given(auth, append, membership, &events).await?;
        let after = append.write(membership, events).map_err(problem::of_append)?;
        let followed = company::follow_membership(&company.state, *id, &membership.state, &after, None);
        let followed = followed.map_err(|error| match error {
            MembersError::LastSuperadmin | MembersError::LimitReached { .. } => changed(),
        })?;
        append.write(company, followed).map_err(problem::of_append)?;
        if let Some(user) = membership.state.user_id {
            append.release(ClaimKey::member(*company_id, user), &membership.stream);
        }
    }
    Ok(())
}

/// The append that erases, and the lines of the ledger around it.
async fn finally(
    auth: &Auth,
    acting: &Acting,
    (user, confirmed, mut last): (UserId, &Confirmed, Vec<Belonging>),
    label: &RequestLabel,
) -> Result<Erased, Problem> {
    let now = || auth.clock.now();
    auth.ledger.note(user, Entry::Erasing, now()).await.map_err(of_ledger)?;
    for attempt in 0..race::ATTEMPTS_MAX {
        let loaded = signed_in::load_user(auth, user).await?;
        let appended = if loaded.version == confirmed.version {
            attempt_once(auth, acting, (user, &loaded, &last), (label, attempt)).await
        } else {
            Err(changed())
        };
        match appended {
            Ok(Some((state, receipt))) => {
                let at = Cursor { epoch: receipt.epoch, position: receipt.last };
                auth.ledger.note(user, Entry::Erased(at), now()).await.map_err(of_ledger)?;
                tracing::warn!(event = "user.erased", user_id = %user, actor = %acting.actor(), "a person was erased");
                let version = loaded.version.saturating_add(1);
                let user = Loaded { state, version, position: receipt.first, ..loaded };
                return Ok(Erased { user, receipt: Some(receipt) });
            }
            Ok(None) => match as_shown(belongings(auth, user).await?, &confirmed.memberships) {
                Ok(found) => last = found,
                Err(problem) => return withdraw(auth, user, problem).await,
            },
            // Whether it was made cannot be told of a 503: then the ledger keeps the first line alone.
            Err(problem) if problem.status.is_server_error() => return Err(problem),
            Err(problem) => return withdraw(auth, user, problem).await,
        }
    }
    withdraw(auth, user, race::lost()).await
}

/// Says in the ledger that nobody was erased, unless another request has erased them meanwhile: that one's line stands, and
/// what it did is answered.
async fn withdraw(auth: &Auth, user: UserId, problem: Problem) -> Result<Erased, Problem> {
    let loaded = signed_in::load_user(auth, user).await?;
    if matches!(loaded.state.status, UserStatus::Erased { .. }) {
        return Ok(Erased { user: loaded, receipt: None });
    }
    auth.ledger.note(user, Entry::Withdrawn, auth.clock.now()).await.map_err(of_ledger)?;
    Err(problem)
}

fn of_ledger(error: std::io::Error) -> Problem {
    tracing::error!(event = "erasure.ledger", error = %error, "the ledger of erasures cannot be written");
    Problem::unavailable("The ledger of erasures cannot be written.")
}

/// The memberships that end now, of those that were shown: what came meanwhile was not confirmed.
fn as_shown(found: Vec<Belonging>, shown: &[MembershipId]) -> Result<Vec<Belonging>, Problem> {
    if found.iter().all(|it| shown.contains(&it.id)) { Ok(found) } else { Err(changed()) }
}

/// One attempt; nothing where the race was lost.
async fn attempt_once(
    auth: &Auth,
    acting: &Acting,
    (user, loaded, last): (UserId, &Loaded<User>, &[Belonging]),
    (label, attempt): (&RequestLabel, u32),
) -> Result<Option<(User, Receipt)>, Problem> {
    refuse_last(last)?;
    let events = user::erase(&loaded.state).map_err(|UserStandingError::Unknown| missing())?;
    let mut append = append_for(acting.actor(), label);
    acting.guard(&mut append, Some(&StreamName::staff(user)));
    let state = append.write(loaded, events).map_err(problem::of_append)?;
    write_ends(auth, &mut append, last).await?;
    let as_staff = staff::load(auth, user).await?;
    let another = as_staff.state.is_owner() && staff::another_owner(auth, user, &mut append).await?;
    let revoked = kisum_domains::staff::revoke_all(&as_staff.state, another)
        .map_err(|RevokeRoleError::LastOwner| staff::last_owner())?;
    staff::release_owner(&mut append, user, &as_staff);
    append.write(&as_staff, revoked).map_err(problem::of_append)?;
    if let Some(claim) = held_address(auth, loaded).await? {
        append.release(claim, &loaded.stream);
    }
    let mut ended = None;
    if sessions::may_end_along(attempt) {
        ended = Some(sessions::end_all(auth, user, None, SessionEndCause::UserErased, &mut append).await?);
    }
    match race::settle(auth.append(append).await)? {
        Outcome::Done(receipt) => {
            if let Some(ended) = ended {
                ended.note(auth);
            }
            Ok(Some((state, receipt)))
        }
        Outcome::Again | Outcome::Taken => Ok(None),
    }
}

/// The claim of the person's address, where it is theirs.
async fn held_address(auth: &Auth, loaded: &Loaded<User>) -> Result<Option<ClaimKey>, Problem> {
    let Some(email) = loaded.state.email.get().and_then(|text| Email::parse(text)) else {
        return claimed_address(auth, loaded).await;
    };
    let claim = ClaimKey::email(&auth.lookup.email(&email));
    let holder = auth.log.claim_holder(&claim).await.map_err(problem::of_load)?;
    Ok((holder.as_ref() == Some(&loaded.stream)).then_some(claim))
}

/// The same of somebody whose key is gone already, as after a restore (`docs/runbooks/erasure.md`): nobody knows their address
/// any more, so it is looked for among all. That is rare, and as slow as it is.
async fn claimed_address(auth: &Auth, loaded: &Loaded<User>) -> Result<Option<ClaimKey>, Problem> {
    let found = sqlx::query_scalar!(
        "select key from claim where holder = $1 and key like 'email:%' limit 1",
        loaded.stream.as_str()
    );
    let found = found.fetch_optional(auth.log.pool()).await.map_err(problem::of_query)?;
    Ok(found.and_then(|key| key.strip_prefix("email:").map(ClaimKey::email)))
}
