//! Making somebody a member.

use super::{By, Sent, grounds::Grounds, refusals};
use crate::{
    auth::{
        Auth,
        race::{self, Outcome},
        signed_in,
    },
    shared::{
        access_position::AccessPosition,
        ambient,
        problem::{self, Problem},
    },
};
use kisum_domains::{
    Membership, User, company,
    membership::{self, CreateMembership},
};
use kisum_events::{CompanyId, MembershipId, StreamName, TenantRole, UserId};
use kisum_log::{ClaimKey, Loaded};

/// Who is to become a member.
#[derive(Clone, Debug)]
pub(in crate::auth) struct NewMember {
    /// Of this company.
    pub(in crate::auth) company: CompanyId,
    /// This person.
    pub(in crate::auth) user: UserId,
    /// With this standing.
    pub(in crate::auth) role: TenantRole,
    /// By which way.
    pub(in crate::auth) via: &'static str,
}

/// A member who was added.
pub(in crate::auth) struct Added {
    /// The membership.
    pub(in crate::auth) id: MembershipId,
    /// Its state.
    pub(in crate::auth) state: Membership,
    /// Where it stands.
    pub(in crate::auth) position: AccessPosition,
}

/// The command's name, for its idempotency key.
const CREATE: &str = "membership.create";

/// Makes an existing person a member. The append writes the membership and the company, which counts seats and
/// superadmins, and guards the person and the acting member.
///
/// # Errors
/// The contract's problem for whatever rule refuses it.
pub(in crate::auth) async fn add(auth: &Auth, by: &By, new: &NewMember, sent: &Sent) -> Result<Added, Problem> {
    for _ in 0..race::ATTEMPTS_MAX {
        let grounds = Grounds::read(auth, by, new.company).await?;
        if let Some(position) = sent.earlier(auth, &by.actor(), Some(new.company), CREATE).await? {
            return present(auth, new, position).await;
        }
        let user = active_user(auth, new.user).await?;
        let id = MembershipId::new(ambient::new_id());
        let membership = Loaded::<Membership>::new_stream(StreamName::membership(id));
        let command =
            CreateMembership { company_id: new.company, user_id: new.user, role: new.role, via: new.via.to_owned() };
        let events =
            membership::create(&membership.state, &grounds.authority(), command).map_err(refusals::of_change)?;
        let mut append = sent.append(&by.actor(), Some(new.company), CREATE);
        append.guard(&user);
        grounds.guard_acting(&mut append, &membership.stream);
        append.claim(ClaimKey::member(new.company, new.user), &membership.stream);
        let state = append.write(&membership, events).map_err(problem::of_append)?;
        let before = Membership::default();
        let followed = company::follow_membership(&grounds.company.state, id, &before, &state, grounds.seat_limit)
            .map_err(refusals::of_company_members)?;
        if followed.is_empty() {
            append.guard(&grounds.company);
        }
        append.write(&grounds.company, followed).map_err(problem::of_append)?;
        match race::settle(auth.append(append).await)? {
            Outcome::Done(receipt) if receipt.duplicate => return present(auth, new, (&receipt).into()).await,
            Outcome::Done(receipt) => return Ok(Added { id, state, position: (&receipt).into() }),
            Outcome::Taken => return Err(refusals::already_a_member()),
            Outcome::Again => {}
        }
    }
    Err(race::lost())
}

/// The membership that an earlier sending of the same command made.
async fn present(auth: &Auth, new: &NewMember, position: AccessPosition) -> Result<Added, Problem> {
    let claim = ClaimKey::member(new.company, new.user);
    let holder = auth.log.claim_holder(&claim).await.map_err(problem::of_load)?;
    let stream = holder.ok_or_else(refusals::no_such_member)?;
    let id = stream.id().parse().map_err(|_| refusals::no_such_member())?;
    let loaded = auth.log.load::<Membership>(&stream).await.map_err(problem::of_load)?;
    Ok(Added { id, state: loaded.state, position })
}

/// Loads a person who may become a member.
///
/// # Errors
/// 404 when there is none, 409 when they are suspended.
pub(in crate::auth) async fn active_user(auth: &Auth, id: UserId) -> Result<Loaded<User>, Problem> {
    let user = signed_in::load_user(auth, id).await?;
    if user.version == 0 {
        return Err(Problem::not_found("There is no such person."));
    }
    if user.state.is_active() { Ok(user) } else { Err(Problem::conflict("suspended", "This person is suspended.")) }
}
