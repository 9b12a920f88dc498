//! Domain refusals as what a client is answered with, as `kisum_api`'s `companies/refusals.rs` has them.

use crate::model::Refusal;
use kisum_domains::{
    authority::{GrantRefused, Refused},
    company::{CompanyStandingError, MembersError, SetPolicyError},
    delegation::DelegationError,
    membership::{ChangeMembershipError, GrantError},
    role::RoleError,
};

pub(crate) const NOT_FOUND: Refusal = refusal(404, "not_found", None);
pub(crate) const SESSION_REVOKED: Refusal = refusal(401, "session_revoked", None);
pub(crate) const ALREADY_A_MEMBER: Refusal = conflict("already_a_member");
pub(crate) const NAME_TAKEN: Refusal = conflict("name_taken");
pub(crate) const SLUG_TAKEN: Refusal = conflict("slug_taken");
pub(crate) const SUSPENDED: Refusal = conflict("suspended");
const UNPROCESSABLE: Refusal = refusal(422, "unprocessable", None);
const INVALID: Refusal = refusal(400, "validation_error", None);

const fn refusal(status: u16, code: &'static str, reason: Option<&'static str>) -> Refusal {
    Refusal { status, code, reason }
}

pub(crate) const fn forbidden(reason: &'static str) -> Refusal {
    refusal(403, "forbidden", Some(reason))
}

const fn conflict(reason: &'static str) -> Refusal {
    refusal(409, "conflict", Some(reason))
}

pub(crate) fn of_refused(refused: Refused) -> Refusal {
    match refused {
        Refused::ActorNotActive => forbidden("suspended"),
        Refused::OtherCompany => NOT_FOUND,
        Refused::RoleTooLow => forbidden("role_too_low"),
    }
}

fn of_grant_refused(refused: &GrantRefused) -> Refusal {
    match refused {
        GrantRefused::UnknownModule { .. }
        | GrantRefused::UnknownPermission { .. }
        | GrantRefused::RetiredPermission { .. } => UNPROCESSABLE,
        GrantRefused::ModuleNotOwned { .. } => forbidden("module_not_owned"),
        GrantRefused::NotGrantable { .. } => forbidden("not_grantable"),
    }
}

pub(crate) fn of_grant(error: GrantError) -> Refusal {
    match error {
        GrantError::NotAMember | GrantError::NoSuchRole => NOT_FOUND,
        GrantError::NotActive => SUSPENDED,
        GrantError::TooManyRoles => conflict("limit_reached"),
        GrantError::Refused(refused) => of_refused(refused),
        GrantError::Grant(refused) => of_grant_refused(&refused),
    }
}

pub(crate) fn of_change(error: ChangeMembershipError) -> Refusal {
    match error {
        ChangeMembershipError::AlreadyExists => ALREADY_A_MEMBER,
        ChangeMembershipError::NotAMember => NOT_FOUND,
        ChangeMembershipError::Refused(refused) => of_refused(refused),
    }
}

pub(crate) fn of_members(error: MembersError) -> Refusal {
    match error {
        MembersError::LastSuperadmin => conflict("last_superadmin"),
        MembersError::LimitReached { .. } => conflict("limit_reached"),
    }
}

pub(crate) fn of_policy(error: SetPolicyError) -> Refusal {
    match error {
        SetPolicyError::Unknown | SetPolicyError::NoSuchPolicy => NOT_FOUND,
        SetPolicyError::Refused(refused) => of_refused(refused),
        SetPolicyError::Catalog(refused) => of_grant_refused(&refused),
    }
}

pub(crate) fn of_role(error: RoleError) -> Refusal {
    match error {
        RoleError::AlreadyExists => panic!("the id was just drawn"),
        RoleError::NoSuchRole | RoleError::Refused(Refused::OtherCompany) => NOT_FOUND,
        RoleError::TooManyPermissions => INVALID,
        RoleError::Refused(refused @ (Refused::ActorNotActive | Refused::RoleTooLow)) => of_refused(refused),
        RoleError::Grant(refused) => of_grant_refused(&refused),
    }
}

pub(crate) fn of_delegation(error: DelegationError) -> Refusal {
    match error {
        DelegationError::NotAMember | DelegationError::Unknown => NOT_FOUND,
        DelegationError::NotActive => SUSPENDED,
        DelegationError::Permissions => INVALID,
        DelegationError::ToOneself | DelegationError::NoTime | DelegationError::TooLong => UNPROCESSABLE,
        DelegationError::TooMany => conflict("limit_reached"),
        DelegationError::Refused(refused) => of_refused(refused),
        DelegationError::Grant(refused) => of_grant_refused(&refused),
    }
}

pub(crate) fn of_standing(error: CompanyStandingError) -> Refusal {
    match error {
        CompanyStandingError::Unknown => NOT_FOUND,
        CompanyStandingError::NotPending => conflict("not_pending"),
        CompanyStandingError::NotActive => conflict("not_active"),
        CompanyStandingError::NotSuspended => conflict("not_suspended"),
    }
}
