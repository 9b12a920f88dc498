//! Domain refusals as problems: one arm each.

use crate::{
    auth::person::denied,
    shared::problem::{self, Problem, reason},
};
use kisum_domains::{
    authority::{GrantRefused, Refused},
    company::{CompanyStandingError, MembersError, SetPolicyError},
    delegation::{DELEGATIONS_MAX, DelegationError, PERMISSIONS_MAX as DELEGATED_MAX},
    membership::{ChangeMembershipError, GrantError, ROLES_MAX},
    role::{PERMISSIONS_MAX, RoleError},
};

/// Why a grant was not changed.
pub(super) fn of_grant(error: GrantError) -> Problem {
    match error {
        GrantError::NotAMember => no_such_member(),
        GrantError::NotActive => Problem::conflict(reason::SUSPENDED, "The member is suspended."),
        GrantError::NoSuchRole => no_such_role(),
        GrantError::TooManyRoles => {
            Problem::conflict("limit_reached", format!("A member has at most {ROLES_MAX} roles."))
        }
        GrantError::Refused(refused) => of_refused(refused),
        GrantError::Grant(refused) => of_grant_refused(&refused),
    }
}

/// Why a delegation policy was not set.
pub(super) fn of_policy(error: SetPolicyError) -> Problem {
    match error {
        SetPolicyError::Unknown => Problem::not_found("There is no such company."),
        SetPolicyError::NoSuchPolicy => Problem::not_found("There is a delegation policy for ADMIN and for MANAGER."),
        SetPolicyError::Refused(refused) => of_refused(refused),
        SetPolicyError::Catalog(refused) => of_grant_refused(&refused),
    }
}

/// Why a named role was not made, changed or deleted.
pub(super) fn of_role(error: RoleError) -> Problem {
    match error {
        // Its id was just drawn.
        RoleError::AlreadyExists => problem::of_defect(&error),
        RoleError::NoSuchRole | RoleError::Refused(Refused::OtherCompany) => no_such_role(),
        RoleError::TooManyPermissions => {
            Problem::validation(format!("A role has at most {PERMISSIONS_MAX} permissions."))
        }
        RoleError::Refused(refused @ (Refused::ActorNotActive | Refused::RoleTooLow)) => of_refused(refused),
        RoleError::Grant(refused) => of_grant_refused(&refused),
    }
}

/// Another role of the company has the name.
pub(super) fn role_name_taken() -> Problem {
    Problem::conflict("name_taken", "The company has another role of this name.")
}

/// Why nothing was passed on, or a delegation not ended.
pub(super) fn of_delegation(error: DelegationError) -> Problem {
    match error {
        DelegationError::NotAMember => no_such_member(),
        DelegationError::NotActive => Problem::conflict(reason::SUSPENDED, "The member is suspended."),
        DelegationError::ToOneself => Problem::unprocessable("Nobody passes anything on to themselves."),
        DelegationError::Permissions => {
            Problem::validation(format!("A delegation has 1 to {DELEGATED_MAX} permissions."))
        }
        DelegationError::NoTime => Problem::unprocessable("The delegation would end before it begins."),
        DelegationError::TooLong => Problem::unprocessable("A delegation ends within 90 days."),
        DelegationError::TooMany => Problem::conflict(
            "limit_reached",
            format!("A member gives and receives {DELEGATIONS_MAX} delegations at a time at most."),
        ),
        DelegationError::Unknown => no_such_delegation(),
        DelegationError::Refused(refused) => of_refused(refused),
        DelegationError::Grant(refused) => of_grant_refused(&refused),
    }
}

/// There is no such delegation, as far as the caller may know.
pub(super) fn no_such_delegation() -> Problem {
    Problem::not_found("The company has no such delegation.")
}

/// Why a membership was not created or changed.
pub(super) fn of_change(error: ChangeMembershipError) -> Problem {
    match error {
        ChangeMembershipError::AlreadyExists => already_a_member(),
        ChangeMembershipError::NotAMember => no_such_member(),
        ChangeMembershipError::Refused(refused) => of_refused(refused),
    }
}

/// Why a company does not bear a change of its members.
pub(in crate::auth) fn of_company_members(error: MembersError) -> Problem {
    match error {
        MembersError::LastSuperadmin => {
            Problem::conflict("last_superadmin", "The company would be left without a superadmin.")
        }
        MembersError::LimitReached { limit } => {
            Problem::conflict("limit_reached", format!("All {limit} seats of the company are used."))
        }
    }
}

/// Why a company's standing was not changed.
pub(in crate::auth) fn of_standing(error: CompanyStandingError) -> Problem {
    match error {
        CompanyStandingError::Unknown => Problem::not_found("There is no such company."),
        CompanyStandingError::NotPending => Problem::conflict("not_pending", "The company is not pending."),
        CompanyStandingError::NotActive => Problem::conflict("not_active", "The company is not active."),
        CompanyStandingError::NotSuspended => Problem::conflict("not_suspended", "The company is not suspended."),
    }
}

/// The person is a member already.
pub(super) fn already_a_member() -> Problem {
    Problem::conflict("already_a_member", "This person is a member of the company already.")
}

/// There is no such named role, as far as the caller may know.
pub(super) fn no_such_role() -> Problem {
    Problem::not_found("The company has no such role.")
}

/// There is no such member, as far as the caller may know.
pub(super) fn no_such_member() -> Problem {
    Problem::not_found("The company has no such member.")
}

/// Why somebody may not change a membership or a company at all.
pub(super) fn of_refused(refused: Refused) -> Problem {
    match refused {
        Refused::ActorNotActive => denied(reason::SUSPENDED, "Your membership is suspended."),
        Refused::OtherCompany => no_such_member(),
        Refused::RoleTooLow => denied(reason::ROLE_TOO_LOW, "Your role does not allow this."),
    }
}

/// Why something may not be granted.
pub(super) fn of_grant_refused(refused: &GrantRefused) -> Problem {
    match refused {
        GrantRefused::UnknownModule { module } => Problem::unprocessable(format!("There is no module {module}.")),
        GrantRefused::UnknownPermission { permission } => {
            Problem::unprocessable(format!("There is no permission {permission}."))
        }
        GrantRefused::RetiredPermission { permission } => {
            Problem::unprocessable(format!("The permission {permission} can no longer be granted."))
        }
        GrantRefused::ModuleNotOwned { module } => {
            denied(reason::MODULE_NOT_OWNED, &format!("The company does not own the module {module}."))
        }
        GrantRefused::NotGrantable { what } => denied(reason::NOT_GRANTABLE, &format!("You may not grant {what}.")),
    }
}
