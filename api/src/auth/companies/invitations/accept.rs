//! `POST /auth/invitations/accept`: whoever reads the invited address' mail becomes a member.
//!
//! Somebody with an account shows so by their session, which has to be of the invited address; somebody without one gets
//! theirs by the same append, its address verified by the mail. What the invitation is worth is decided on the right of
//! whoever sent it, as it is now: the append guards their membership and their person. To whoever has no good token, or not
//! the address, one refusal is like the other.

use super::{claim_of, forget_key};
use crate::{
    auth::{
        Auth,
        companies::{MembershipView, active_user, grounds::Grounds, refusals},
        credentials::{check_name, check_password, of_hash},
        limiter::Limit,
        login::append_for,
        lookup::Email,
        person::{self, denied},
        race::{self, Outcome},
        signed_in,
        tokens::InvitationToken,
    },
    shared::{
        ambient,
        client_ip::ClientIp,
        extract::ApiJson,
        problem::{self, Problem, reason},
        request_label::RequestLabel,
        respond::{Created, Receipted, SuccessBody},
    },
};
use axum::extract::State;
use http::{HeaderMap, header::AUTHORIZATION};
use kisum_domains::{
    Invitation, Membership, User, company,
    invitation::{self, AcceptInvitation, AcceptInvitationError, Acceptance, Found, NotGood},
    password::PasswordPolicy,
    user::{self, RegisterUser},
};
use kisum_events::{Actor, MembershipId, StreamName, UserId};
use kisum_log::{Append, ClaimKey, Loaded, Receipt};
use serde::Deserialize;
use utoipa::ToSchema;

/// Tokens of invitations that are tried from one network within a window.
const NETWORK: Limit = Limit { max: 300, window_s: 60 };

/// What a mail brought; and who somebody is to be who has no account.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::auth) struct AcceptBody {
    /// The token behind the `#token=` of the link.
    token: String,
    /// Without an access token: their display name, 1 to 200 characters.
    name: Option<String>,
    /// Without an access token: their password, 15 to 128 characters, not one that everybody tries first.
    password: Option<String>,
}

/// Accepts an invitation: with an access token of the invited address, or with name and password where it has no account.
#[utoipa::path(post, path = "/auth/invitations/accept", tag = "invitations", request_body = AcceptBody,
    security((), ("bearer" = [])),
    responses((status = 201, description = "The membership.", body = SuccessBody<MembershipView>)))]
pub(in crate::auth) async fn accept_invitation(
    State(auth): State<Auth>,
    ClientIp(address): ClientIp,
    headers: HeaderMap,
    label: RequestLabel,
    ApiJson(body): ApiJson<AcceptBody>,
) -> Result<Receipted<Created<MembershipView>>, Problem> {
    let AcceptBody { token, name, password } = body;
    let joining = match (name, password) {
        (None, None) => Joining::Known(person::signed_in(&auth, &headers).await?.user),
        (Some(name), Some(password)) if !headers.contains_key(AUTHORIZATION) => Joining::New { name, password },
        _ => {
            let message = "Either an access token is wanted, or both name and password, and not both.";
            return Err(Problem::validation(message));
        }
    };
    let key = format!("ratelimit:invitation:ip:{}", ClientIp(address).limit_key());
    auth.limits.allow(&key, NETWORK).await.map_err(|limited| Problem::rate_limited(limited.retry_after_s))?;
    let token = token.parse().map_err(|_| not_good())?;
    let joining = match joining {
        Joining::Known(user) => Joiner::Known(user),
        Joining::New { name, password } => Joiner::New(registration(&auth, &token, name, password).await?),
    };
    let joined = accept(&auth, &token, &joining, &label).await?;
    let Joined { id, state, receipt } = joined;
    Ok(Receipted::new(Created(MembershipView::new(id, &state)), &receipt))
}

/// Who says that they were invited.
enum Joining {
    Known(UserId),
    New { name: String, password: String },
}

/// The same, once there is nothing left to check of the request.
enum Joiner {
    Known(UserId),
    New(RegisterUser),
}

/// Somebody without an account, their password hashed: who has no good token costs no hash.
async fn registration(
    auth: &Auth,
    token: &InvitationToken,
    name: String,
    password: String,
) -> Result<RegisterUser, Problem> {
    check_name("name", &name)?;
    let invitation = load(auth, token).await?;
    let email = found(auth, &invitation, token)?.email.to_owned();
    let account = Email::parse(&email).map(|email| auth.lookup.email(&email)).ok_or_else(not_good)?;
    refuse_account(auth, &account).await?;
    check_password("password", &password, &[&email, &name], PasswordPolicy::SingleFactor)?;
    let password_hash = Some(auth.passwords.hash(password).await.map_err(of_hash)?);
    Ok(RegisterUser { email, name, password_hash, authenticator: None })
}

async fn load(auth: &Auth, token: &InvitationToken) -> Result<Loaded<Invitation>, Problem> {
    auth.log.load(&StreamName::invitation(token.invitation())).await.map_err(problem::of_load)
}

fn found<'a>(auth: &Auth, invitation: &'a Loaded<Invitation>, token: &InvitationToken) -> Result<Found<'a>, Problem> {
    invitation::find(&invitation.state, &token.presented(), auth.clock.now()).map_err(|NotGood| not_good())
}

/// A member who has just become one.
struct Joined {
    id: MembershipId,
    state: Membership,
    receipt: Receipt,
}

/// Writes invitation, membership, company and, for somebody new, the person, in one append.
async fn accept(
    auth: &Auth,
    token: &InvitationToken,
    joiner: &Joiner,
    label: &RequestLabel,
) -> Result<Joined, Problem> {
    for _ in 0..race::ATTEMPTS_MAX {
        let invitation = load(auth, token).await?;
        let found = found(auth, &invitation, token)?;
        let account = Email::parse(found.email).map(|email| auth.lookup.email(&email)).ok_or_else(not_good)?;
        let user = joining(auth, joiner, &account).await?;
        let user_id: UserId = user.stream.id().parse().map_err(|_| Problem::internal())?;
        let grounds = grounds(auth, &found).await?;
        let id = MembershipId::new(ambient::new_id());
        let command = AcceptInvitation { token: token.presented(), user_id, membership_id: id };
        let now = auth.clock.now();
        let accepted =
            invitation::accept(&invitation.state, &grounds.of.authority(), &command, now).map_err(of_accept)?;

        let mut append = append_for(Actor::User(user_id), label);
        let member = ClaimKey::member(found.company_id, user_id);
        if auth.log.claim_holder(&member).await.map_err(problem::of_load)?.is_some() {
            return Err(refusals::already_a_member());
        }
        append.claim(member, &StreamName::membership(id));
        write_user(&mut append, &user, joiner, &account)?;
        grounds.guard(&mut append, &invitation.state);
        let state = write(auth, &mut append, (&invitation, &grounds.of), (id, accepted))?;
        match race::settle(auth.append(append).await)? {
            Outcome::Done(receipt) => {
                forget_key(auth, &invitation.stream);
                let company_id = found.company_id;
                tracing::info!(event = "invitation.accepted", %company_id, membership_id = %id, %user_id);
                return Ok(Joined { id, state, receipt });
            }
            // Whoever took the address or the place has an account, or a membership, by now.
            Outcome::Taken | Outcome::Again => {}
        }
    }
    Err(race::lost())
}

/// Who joins: somebody known whose address it is, or nobody yet.
async fn joining(auth: &Auth, joiner: &Joiner, account: &str) -> Result<Loaded<User>, Problem> {
    match joiner {
        Joiner::Known(id) => {
            let user = active_user(auth, *id).await?;
            // Somebody else's session hears what a stranger does.
            if signed_in::account(auth, *id, &user.state) == account { Ok(user) } else { Err(not_good()) }
        }
        Joiner::New(_) => {
            refuse_account(auth, account).await?;
            Ok(Loaded::new_stream(StreamName::user(UserId::new(ambient::new_id()))))
        }
    }
}

/// Refuses an address that has an account: the link opens nothing of it.
async fn refuse_account(auth: &Auth, account: &str) -> Result<(), Problem> {
    let holder = auth.log.claim_holder(&ClaimKey::email(account)).await.map_err(problem::of_load)?;
    if holder.is_none() {
        return Ok(());
    }
    let message = "This address has an account already. Sign in to it, and follow the link again.";
    Err(Problem::conflict("email_taken", message))
}

fn write_user(append: &mut Append, user: &Loaded<User>, joiner: &Joiner, account: &str) -> Result<(), Problem> {
    match joiner {
        Joiner::Known(_) => append.guard(user),
        Joiner::New(registration) => {
            let events = user::register_by_mail(&user.state, registration.clone());
            let events = events.map_err(|error| problem::of_defect(&error))?;
            append.claim(ClaimKey::email(account), &user.stream);
            append.write(user, events).map_err(problem::of_append)?;
        }
    }
    Ok(())
}

/// What an acceptance rests on.
struct Rests {
    of: Grounds,
    /// Whoever sent the invitation, as a person; nobody where the platform did.
    inviter: Option<Loaded<User>>,
}

impl Rests {
    fn guard(&self, append: &mut Append, invitation: &Invitation) {
        // Their membership is never the one that begins.
        self.of.guard_acting(append, &self.of.company.stream);
        self.of.guard_rights(append, &invitation.grants.permissions);
        if let Some(inviter) = &self.inviter {
            append.guard(inviter);
        }
    }
}

async fn grounds(auth: &Auth, found: &Found<'_>) -> Result<Rests, Problem> {
    let (mut member, mut inviter) = (None, None);
    if let Some(id) = found.invited_by {
        let loaded = auth.log.load::<Membership>(&StreamName::membership(id)).await.map_err(problem::of_load)?;
        let user = signed_in::load_user(auth, loaded.state.user_id.ok_or_else(rests_on_nothing)?).await?;
        if !user.state.is_active() {
            return Err(rests_on_nothing());
        }
        (member, inviter) = (Some(loaded), Some(user));
    }
    let of = Grounds::of_inviter(auth, found.company_id, member).await?;
    if !of.company.state.is_active() {
        return Err(denied(reason::COMPANY_NOT_ACTIVE, "The company that invites you is not active."));
    }
    Ok(Rests { of, inviter })
}

fn write(
    auth: &Auth,
    append: &mut Append,
    (invitation, grounds): (&Loaded<Invitation>, &Grounds),
    (id, accepted): (MembershipId, Acceptance),
) -> Result<Membership, Problem> {
    if let Some(claim) = claim_of(auth, &invitation.state) {
        append.release(claim, &invitation.stream);
    }
    append.write(invitation, accepted.invitation).map_err(problem::of_append)?;
    let membership = Loaded::<Membership>::new_stream(StreamName::membership(id));
    let state = append.write(&membership, accepted.membership).map_err(problem::of_append)?;
    let before = Membership::default();
    let followed = company::follow_membership(&grounds.company.state, id, &before, &state, grounds.seat_limit)
        .map_err(refusals::of_company_members)?;
    if followed.is_empty() {
        append.guard(&grounds.company);
    }
    append.write(&grounds.company, followed).map_err(problem::of_append)?;
    Ok(state)
}

fn of_accept(error: AcceptInvitationError) -> Problem {
    match error {
        AcceptInvitationError::NotGood(NotGood) => not_good(),
        AcceptInvitationError::RestsOnNothing(_) => rests_on_nothing(),
    }
}

fn not_good() -> Problem {
    Problem::conflict(
        "token_not_good",
        "This invitation was used, withdrawn or sent again, is too old, or is not yours.",
    )
}

fn rests_on_nothing() -> Problem {
    let message = "Whoever invited you may no longer add you to the company. Ask to be invited again.";
    Problem::conflict("invitation_void", message)
}
