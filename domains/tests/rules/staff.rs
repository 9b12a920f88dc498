//! Rules of staff roles: what is given once, and that an owner stays.

use crate::given::given;
use kisum_domains::staff::{self, RevokeRoleError, Staff};
use kisum_events::{StaffEvent, StaffRole};

fn granted(role: StaffRole) -> StaffEvent {
    StaffEvent::RoleGranted { role }
}

fn revoked(role: StaffRole) -> StaffEvent {
    StaffEvent::RoleRevoked { role }
}

#[test]
fn a_role_is_given_and_taken_once() {
    let role = StaffRole::Support;
    given::<Staff>([]).when(|state| Ok::<_, RevokeRoleError>(staff::grant(state, role))).then([granted(role)]);
    given::<Staff>([granted(role)]).when(|state| Ok::<_, RevokeRoleError>(staff::grant(state, role))).then_nothing();
    given::<Staff>([granted(role)]).when(|state| staff::revoke(state, role, false)).then([revoked(role)]);
    given::<Staff>([granted(role), revoked(role)]).when(|state| staff::revoke(state, role, false)).then_nothing();
}

#[test]
fn the_last_owner_stays() {
    let owner = StaffRole::PlatformOwner;
    let history = [granted(owner), granted(StaffRole::Support)];
    given::<Staff>(history.clone())
        .when(|state| staff::revoke(state, owner, false))
        .refused(RevokeRoleError::LastOwner);
    given::<Staff>(history.clone()).when(|state| staff::revoke(state, owner, true)).then([revoked(owner)]);
    given::<Staff>(history.clone()).when(|state| staff::revoke_all(state, false)).refused(RevokeRoleError::LastOwner);
    given::<Staff>(history)
        .when(|state| staff::revoke_all(state, true))
        .then([revoked(owner), revoked(StaffRole::Support)]);
    given::<Staff>([]).when(|state| staff::revoke_all(state, false)).then_nothing();
}

#[test]
fn a_role_is_read_by_the_name_that_it_is_written_by() {
    for role in StaffRole::ALL {
        assert_eq!(role.name().parse(), Ok(role));
        assert_eq!(serde_json::to_value(role).ok(), Some(serde_json::json!(role.name())));
    }
    assert!("platform_owner".parse::<StaffRole>().is_err());
}
