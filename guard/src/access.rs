//! Granted access to one company, for one request: what an application may rely on.
//!
//! It owns saying which permission is missing. It can be had only from the guard.

use crate::{
    problem::{Problem, reason},
    token::AccessClaims,
};
use kisum_events::{AccessContext, CompanyId, Denied, MembershipId, PermissionKey, SessionId, UserId};
use std::sync::Arc;

/// An active member of an active company, with what they may do there now.
#[derive(Clone, Debug)]
pub struct Access {
    pub(crate) claims: Arc<AccessClaims>,
    pub(crate) context: Arc<AccessContext>,
}

impl Access {
    /// The company: the only one that this request may touch.
    pub fn company_id(&self) -> CompanyId {
        self.context.company_id
    }

    /// The person.
    pub fn user_id(&self) -> UserId {
        self.context.user_id
    }

    /// The person's membership of the company.
    pub fn membership_id(&self) -> MembershipId {
        self.context.membership_id
    }

    /// The session of the request's token.
    pub fn session_id(&self) -> SessionId {
        self.claims.sid
    }

    /// What the token says.
    pub fn claims(&self) -> &AccessClaims {
        &self.claims
    }

    /// The whole context.
    pub fn context(&self) -> &AccessContext {
        &self.context
    }
}

/// The problem for something that a context does not allow.
pub(crate) fn denied(denied: &Denied) -> Problem {
    match denied {
        Denied::ModuleNotOwned { module } => {
            Problem::forbidden(reason::MODULE_NOT_OWNED, format!("The company does not own the module {module}."))
        }
        Denied::ModuleNotGranted { module } => {
            Problem::forbidden(reason::MODULE_NOT_GRANTED, format!("The module {module} is not granted to you."))
        }
        Denied::MissingPermission { permission } => {
            Problem::forbidden(reason::MISSING_PERMISSION, format!("The permission {permission} is missing."))
        }
    }
}

/// The permission that a piece of code names. Malformed means a defect of that code, so it allows nothing.
pub(crate) fn permission(key: &'static str) -> Result<PermissionKey, Problem> {
    key.parse().map_err(|error| {
        tracing::error!(error = %error, "a permission named in code is malformed");
        Problem::internal()
    })
}
