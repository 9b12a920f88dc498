//! Who acts through an internal route: a service on its own account, or the member of staff whose token it sends.
//!
//! It owns verifying that person again (`security.md` 16), that they are signed in, have a second factor and a role, and
//! how long ago they proved who they are. It refuses to take a token for less than it says: one that is sent and not good
//! is never passed over.

use super::load;
use crate::{
    auth::{
        Auth,
        access::Standing,
        person::{self, denied},
    },
    shared::{
        actor::ActorToken,
        caller::Caller,
        observe,
        problem::{Problem, reason},
    },
};
use axum::extract::FromRequestParts;
use http::request::Parts;
use kisum_domains::Staff;
use kisum_events::{Actor, SessionId, StaffRole, StreamName, Timestamp, UserId};
use kisum_log::{Append, Loaded};
use std::time::Duration;

/// `acr` of somebody who has shown a second factor.
const TWO_FACTORS: &str = "aal2";
/// How long ago they may have shown it for what is of high risk (contract, *Auth*).
const STEPPED_UP_FOR: Duration = Duration::from_secs(10 * 60);

/// Who acts.
#[derive(Debug)]
pub(in crate::auth) struct Acting {
    service: String,
    staff: Option<StaffPerson>,
}

/// A member of staff, signed in with two factors.
#[derive(Debug)]
pub(in crate::auth) struct StaffPerson {
    /// Who.
    pub(in crate::auth) user: UserId,
    /// By which session.
    pub(in crate::auth) session: SessionId,
    /// When they last proved who they are.
    pub(in crate::auth) auth_time: Timestamp,
    /// How well.
    pub(in crate::auth) acr: String,
    /// Their roles, at least one, as of when they were admitted.
    pub(in crate::auth) staff: Loaded<Staff>,
}

impl StaffPerson {
    /// Whether they may do what is of high risk now.
    pub(in crate::auth) fn is_stepped_up(&self, now: Timestamp) -> bool {
        self.acr == TWO_FACTORS && now < self.auth_time.plus(STEPPED_UP_FOR)
    }
}

impl Acting {
    /// As the log names them.
    pub(in crate::auth) fn actor(&self) -> Actor {
        match &self.staff {
            Some(person) => Actor::User(person.user),
            None => Actor::Service(self.service.clone()),
        }
    }

    /// Refuses a member of staff who has none of these roles. A service is admitted by the trust file alone.
    ///
    /// # Errors
    /// 403 `role_too_low`.
    pub(in crate::auth) fn require(&self, roles: &[StaffRole]) -> Result<(), Problem> {
        match &self.staff {
            Some(person) if !roles.iter().any(|role| person.staff.state.roles.contains(role)) => Err(role_too_low()),
            Some(_) | None => Ok(()),
        }
    }

    /// The person for whom the service calls.
    ///
    /// # Errors
    /// 400 where no token was sent: this is no business of a service's own.
    pub(in crate::auth) fn person(&self) -> Result<&StaffPerson, Problem> {
        let missing = || Problem::validation("The header X-Actor-Token is missing: a person has to ask for this.");
        self.staff.as_ref().ok_or_else(missing)
    }

    /// The person, who has one of these roles and proved who they are a moment ago: for what is of high risk
    /// (`security.md` 31).
    ///
    /// # Errors
    /// 400 without a person; 403 `role_too_low`, `step_up_required`.
    pub(in crate::auth) fn stepped_up(&self, roles: &[StaffRole], now: Timestamp) -> Result<&StaffPerson, Problem> {
        let person = self.person()?;
        self.require(roles)?;
        if person.is_stepped_up(now) { Ok(person) } else { Err(step_up_required()) }
    }

    /// Makes an append depend on the roles of whom it is about, where those are not the acting person's own.
    pub(in crate::auth) fn guard_staff(&self, append: &mut Append, about: &Loaded<Staff>) {
        if self.staff.as_ref().is_none_or(|person| person.staff.stream != about.stream) {
            append.guard(about);
        }
    }

    /// Makes an append depend on the roles that the person acts by; where it writes them, their version is checked anyway.
    pub(in crate::auth) fn guard(&self, append: &mut Append, written: Option<&StreamName>) {
        if let Some(person) = &self.staff
            && written != Some(&person.staff.stream)
        {
            append.guard(&person.staff);
        }
    }
}

fn role_too_low() -> Problem {
    denied(reason::ROLE_TOO_LOW, "Your role does not allow this.")
}

fn step_up_required() -> Problem {
    denied(reason::STEP_UP_REQUIRED, "Prove once more who you are, with a second factor.")
}

impl FromRequestParts<Auth> for Acting {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, auth: &Auth) -> Result<Self, Problem> {
        let Caller { service } = Caller::from_request_parts(parts, auth).await?;
        let ActorToken(token) = ActorToken::from_request_parts(parts, auth).await?;
        let staff = match token {
            Some(token) => Some(admitted(auth, token.expose()).await?),
            None => None,
        };
        Ok(Self { service, staff })
    }
}

/// The person of a token: signed in, of the staff, with two factors.
async fn admitted(auth: &Auth, token: &str) -> Result<StaffPerson, Problem> {
    let person = person::of_token(auth, token).await?;
    match auth.access.standing(person.user, person.session).await.map_err(person::unprovable)? {
        Standing::Live => {}
        Standing::Over => return Err(person::session_over(person)),
    }
    let staff = load(auth, person.user).await?;
    if staff.state.roles.is_empty() {
        return Err(role_too_low());
    }
    // Verified a moment ago; asked again for what only staff need to know of it.
    let claims = auth.verifier.verify(token, auth.clock.now()).await?;
    if claims.acr != TWO_FACTORS {
        return Err(step_up_required());
    }
    observe::note_person(person.user, person.session, None);
    let (user, session) = (person.user, person.session);
    Ok(StaffPerson { user, session, auth_time: claims.auth_time, acr: claims.acr.clone(), staff })
}
