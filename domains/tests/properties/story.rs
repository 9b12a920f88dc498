//! Names and instants that generated sequences draw from: few, so that they collide.

use kisum_events::{
    CompanyId, DelegationId, EntitlementSource, EventId, Limits, MembershipId, ModuleEntitlement, ModuleKey,
    PermissionKey, RoleId, SourceKind, TenantRole, Timestamp, UserId,
};
use proptest::{prelude::*, sample::select};
use std::{fmt::Debug, str::FromStr, time::Duration};

pub(crate) const MODULES: [&str; 3] = ["basic", "finance", "market"];
pub(crate) const PERMISSIONS: [&str; 4] =
    ["basic.events.read", "finance.bills.read", "finance.bills.create", "market.contracts.read"];

/// Generated instants lie within that many seconds of the story's beginning.
pub(crate) const SECONDS: u64 = 24;

pub(crate) fn key<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

fn id<T: FromStr<Err: Debug>>(kind: u8, number: u8) -> T {
    key(&format!("01890000-0000-7000-80{kind:02x}-0000000000{number:02x}"))
}

pub(crate) fn user(number: u8) -> UserId {
    id(1, number)
}

pub(crate) fn company() -> CompanyId {
    id(2, 1)
}

pub(crate) fn member(number: u8) -> MembershipId {
    id(3, number)
}

pub(crate) fn role(number: u8) -> RoleId {
    id(5, number)
}

pub(crate) fn delegation(number: u8) -> DelegationId {
    id(6, number)
}

pub(crate) fn event(number: u8) -> EventId {
    id(4, number)
}

pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000).plus(Duration::from_secs(seconds))
}

pub(crate) fn any_instant() -> impl Strategy<Value = Timestamp> {
    (0..SECONDS).prop_map(at)
}

pub(crate) fn any_module() -> impl Strategy<Value = ModuleKey> {
    select(&MODULES).prop_map(key)
}

pub(crate) fn any_permission() -> impl Strategy<Value = PermissionKey> {
    select(&PERMISSIONS).prop_map(key)
}

pub(crate) fn any_role() -> impl Strategy<Value = TenantRole> {
    select(&[TenantRole::User, TenantRole::Manager, TenantRole::Admin, TenantRole::TenantSuperadmin])
}

pub(crate) fn any_limits() -> impl Strategy<Value = Limits> {
    prop_oneof![Just(Limits::new()), (1_i64..4).prop_map(|count| Limits::from([("seats".to_owned(), count)]))]
}

pub(crate) fn any_entitlement() -> impl Strategy<Value = ModuleEntitlement> {
    let kind = select(&[SourceKind::Package, SourceKind::Addon]);
    (any_module(), kind, any_instant(), proptest::option::of(any_instant()), any_limits()).prop_map(
        |(module, kind, from, until, limits)| {
            let source = EntitlementSource { kind, id: module.to_string() };
            ModuleEntitlement { module, source, from, until, limits }
        },
    )
}
