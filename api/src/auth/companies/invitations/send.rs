//! Inviting an address, and sending an invitation once more.

use super::{InvitationView, PENDING_MAX, count_mail, expiry, holder, no_such_invitation, of_company, of_send};
use crate::{
    auth::{
        Auth,
        companies::{self, By, Sent, grounds::Grounds, refusals},
        lookup::Email,
        race::{self, Outcome},
    },
    shared::{
        access_position::AccessPosition,
        ambient,
        problem::{self, Problem},
    },
};
use kisum_domains::{
    Invitation,
    invitation::{self, GRANTS_MAX, NewToken, SendInvitation},
};
use kisum_events::{CompanyId, InvitationId, InvitedGrants, SecretId, StreamName, TenantRole, UserId};
use kisum_log::{ClaimKey, Loaded};
use std::collections::BTreeSet;
use uuid::Uuid;

/// The command's name, for its idempotency key.
const SEND: &str = "invitation.send";

/// Whom to invite.
#[derive(Clone, Debug)]
pub(in crate::auth) struct NewInvitation {
    /// Into this company.
    pub(in crate::auth) company: CompanyId,
    /// This address.
    pub(in crate::auth) email: Email,
    /// With this role.
    pub(in crate::auth) role: TenantRole,
    /// With these grants.
    pub(in crate::auth) grants: InvitedGrants,
}

/// Invites an address. What is pending for it on the same terms is sent once more; what has expired is ended first.
///
/// # Errors
/// The contract's problem for whatever rule refuses it; 409 `already_a_member`, `already_invited` on other terms,
/// `limit_reached`; 429 for too many mails.
pub(in crate::auth) async fn invite(
    auth: &Auth,
    by: &By,
    wanted: &NewInvitation,
    sent: &Sent,
) -> Result<(InvitationView, AccessPosition), Problem> {
    let (actor, company) = (by.actor(), wanted.company);
    let account = auth.lookup.email(&wanted.email);
    let claim = ClaimKey::invitation(&account, company);
    let mut is_counted = false;
    for _ in 0..race::ATTEMPTS_MAX {
        let grounds = Grounds::read(auth, by, company).await?;
        if let Some(position) = sent.earlier(auth, &actor, Some(company), SEND).await? {
            return present(auth, position).await;
        }
        let held = holder(auth, &claim).await?;
        if let Some(held) = &held
            && expiry::end_if_due(auth, held).await?
        {
            continue;
        }
        let (loaded, id) = held.map_or_else(fresh, |held| {
            let id = held.stream.id().parse().unwrap_or_default();
            (held, InvitationId::new(id))
        });
        let is_new = loaded.version == 0;
        let events = decide(auth, &grounds, (&loaded, id), wanted)?;
        refuse_member(auth, company, &account).await?;
        if is_new {
            refuse_too_many(auth, company).await?;
        }
        if !is_counted {
            count_mail(auth, company, &account).await?;
            is_counted = true;
        }
        let mut append = sent.append(&actor, Some(company), SEND);
        grounds.guard_acting(&mut append, &loaded.stream);
        grounds.guard_rights(&mut append, &wanted.grants.permissions);
        append.guard(&grounds.company);
        if is_new {
            append.claim(claim.clone(), &loaded.stream);
        }
        let state = append.write(&loaded, events).map_err(problem::of_append)?;
        match race::settle(auth.append(append).await)? {
            Outcome::Done(receipt) if receipt.duplicate => return present(auth, (&receipt).into()).await,
            Outcome::Done(receipt) => {
                note(company, id, by);
                return Ok((InvitationView::new(&loaded.stream, &state, auth.clock.now()), (&receipt).into()));
            }
            // Somebody else has invited the address at the same moment: that one is the one to send again.
            Outcome::Taken | Outcome::Again => {}
        }
    }
    Err(race::lost())
}

fn fresh() -> (Loaded<Invitation>, InvitationId) {
    let id = InvitationId::new(ambient::new_id());
    (Loaded::new_stream(StreamName::invitation(id)), id)
}

fn decide(
    auth: &Auth,
    grounds: &Grounds,
    (loaded, id): (&Loaded<Invitation>, InvitationId),
    wanted: &NewInvitation,
) -> Result<Vec<kisum_events::InvitationEvent>, Problem> {
    let (token, now) = (new_token(auth, grounds, id), auth.clock.now());
    if loaded.version == 0 {
        let NewInvitation { company, email, role, grants } = wanted.clone();
        let email = email.given().to_owned();
        let command = SendInvitation { company_id: company, role, grants, email, token };
        return invitation::send(&loaded.state, &grounds.authority(), command, now).map_err(of_send);
    }
    let again = invitation::resend(&loaded.state, &grounds.authority(), token, now).map_err(of_send)?;
    if (loaded.state.role, &loaded.state.grants) != (wanted.role, &wanted.grants) {
        let message = "This address is invited already, on other terms: withdraw that invitation first.";
        return Err(Problem::conflict("already_invited", message));
    }
    Ok(again)
}

/// Sends a pending invitation once more, with a new token.
///
/// # Errors
/// 404, 409 `not_pending`, and as [`invite`].
pub(in crate::auth) async fn resend(
    auth: &Auth,
    by: &By,
    (company, id): (CompanyId, InvitationId),
    sent: &Sent,
) -> Result<(InvitationView, AccessPosition), Problem> {
    let (actor, command) = (by.actor(), format!("{id}|invitation.resend"));
    let mut is_counted = false;
    for _ in 0..race::ATTEMPTS_MAX {
        let grounds = Grounds::read(auth, by, company).await?;
        let loaded = of_company(auth, company, id).await?;
        if let Some(position) = sent.earlier(auth, &actor, Some(company), &command).await? {
            return Ok((InvitationView::new(&loaded.stream, &loaded.state, auth.clock.now()), position));
        }
        let token = new_token(auth, &grounds, id);
        let events =
            invitation::resend(&loaded.state, &grounds.authority(), token, auth.clock.now()).map_err(of_send)?;
        if !is_counted {
            let claim = loaded.state.email.get().and_then(|text| Email::parse(text)).ok_or_else(no_such_invitation)?;
            count_mail(auth, company, &auth.lookup.email(&claim)).await?;
            is_counted = true;
        }
        let mut append = sent.append(&actor, Some(company), &command);
        grounds.guard_acting(&mut append, &loaded.stream);
        grounds.guard_rights(&mut append, &loaded.state.grants.permissions);
        append.guard(&grounds.company);
        let state = append.write(&loaded, events).map_err(problem::of_append)?;
        match race::settle(auth.append(append).await)? {
            Outcome::Done(receipt) if receipt.duplicate => return present(auth, (&receipt).into()).await,
            Outcome::Done(receipt) => {
                note(company, id, by);
                return Ok((InvitationView::new(&loaded.stream, &state, auth.clock.now()), (&receipt).into()));
            }
            Outcome::Again | Outcome::Taken => {}
        }
    }
    Err(race::lost())
}

/// Reads what is to be granted, each key once and in order.
///
/// # Errors
/// 400 for too many; 422 for a key that no catalog can have.
pub(super) fn read_grants(modules: &[String], permissions: &[String]) -> Result<InvitedGrants, Problem> {
    if modules.len().saturating_add(permissions.len()) > GRANTS_MAX {
        return Err(Problem::validation(format!("An invitation names {GRANTS_MAX} modules and permissions at most.")));
    }
    let modules: BTreeSet<_> = modules.iter().map(|key| companies::module(key)).collect::<Result<_, _>>()?;
    let permissions: BTreeSet<_> =
        permissions.iter().map(|key| companies::permission(key)).collect::<Result<_, _>>()?;
    Ok(InvitedGrants { modules: modules.into_iter().collect(), permissions: permissions.into_iter().collect() })
}

fn new_token(auth: &Auth, grounds: &Grounds, id: InvitationId) -> NewToken {
    let secret_id = SecretId::new(ambient::new_id());
    let hash = auth.mailed_key.invitation(id, secret_id).hash();
    NewToken { secret_id, hash, invited_by: grounds.acting_id() }
}

fn note(company: CompanyId, id: InvitationId, by: &By) {
    let actor = by.actor();
    tracing::info!(event = "invitation.sent", company_id = %company, invitation_id = %id, %actor, "an invitation was sent");
}

/// Refuses an address that is a member's. Without an account it costs the same reads: nobody has the nil id.
async fn refuse_member(auth: &Auth, company: CompanyId, account: &str) -> Result<(), Problem> {
    let holder = auth.log.claim_holder(&ClaimKey::email(account)).await.map_err(problem::of_load)?;
    let user = holder.and_then(|stream| stream.id().parse().ok()).unwrap_or(UserId::new(Uuid::nil()));
    let member = auth.log.claim_holder(&ClaimKey::member(company, user)).await.map_err(problem::of_load)?;
    if member.is_some() { Err(refusals::already_a_member()) } else { Ok(()) }
}

/// Refuses more invitations than may wait.
async fn refuse_too_many(auth: &Auth, company: CompanyId) -> Result<(), Problem> {
    let pending = sqlx::query_scalar!(
        r#"select count(*) as "count!" from (
               select from invitation_list_v1 where company_id = $1 and status = 'pending' limit $2) waiting"#,
        company.uuid(),
        PENDING_MAX
    );
    let pending = pending.fetch_one(auth.log.pool()).await.map_err(problem::of_query)?;
    if pending < PENDING_MAX {
        return Ok(());
    }
    Err(Problem::conflict("limit_reached", format!("{PENDING_MAX} invitations of the company wait already.")))
}

/// The invitation that an earlier sending of the same command wrote.
async fn present(auth: &Auth, position: AccessPosition) -> Result<(InvitationView, AccessPosition), Problem> {
    let stream = companies::stream_at(auth, position).await?.ok_or_else(no_such_invitation)?;
    let state = auth.log.load::<Invitation>(&stream).await.map_err(problem::of_load)?.state;
    Ok((InvitationView::new(&stream, &state, auth.clock.now()), position))
}
