//! Rules of inviting: who may, until when an invitation is good, and what it is worth when it is accepted.

use crate::given::{at, catalog, company, given, key, keys, member, user};
use kisum_domains::{
    Authority, Catalog, Company, Holdings, Invitation, Membership,
    authority::{GrantRefused, Refused},
    invitation::{
        self, AcceptInvitation, AcceptInvitationError, Acceptance, GOOD_FOR, NewToken, NotGood, PresentedToken,
        SendInvitation, SendInvitationError, WithdrawInvitationError,
    },
};
use kisum_events::{
    CompanyEvent, InvitationEvent, InvitedGrants, MembershipEvent, ModuleKey, Sealed, SecretId, TenantRole,
};
use std::collections::BTreeSet;

const EMAIL: &str = "ada@example.org";
/// Seconds for which an invitation is good.
const WEEK: u64 = GOOD_FOR.as_secs();

fn secret(number: u8) -> SecretId {
    key(&format!("01890000-0000-7000-8005-0000000000{number:02x}"))
}

fn token(number: u8) -> NewToken {
    NewToken { secret_id: secret(number), hash: format!("h{number}"), invited_by: Some(member(1)) }
}

fn presented(number: u8) -> PresentedToken {
    PresentedToken { secret_id: secret(number), hash: format!("h{number}") }
}

fn grants(modules: &[&str], permissions: &[&str]) -> InvitedGrants {
    let keys = |texts: &[&str]| texts.iter().map(|text| key(text)).collect();
    InvitedGrants { modules: keys(modules), permissions: permissions.iter().map(|text| key(text)).collect() }
}

fn finance() -> InvitedGrants {
    grants(&["finance"], &["finance.bills.create", "finance.bills.read"])
}

fn wanted(role: TenantRole, grants: InvitedGrants) -> SendInvitation {
    SendInvitation { company_id: company(1), role, grants, email: EMAIL.into(), token: token(1) }
}

fn sent(role: TenantRole, grants: InvitedGrants) -> InvitationEvent {
    InvitationEvent::Sent {
        company_id: company(1),
        tenant_role: role,
        grants,
        invited_by: Some(member(1)),
        secret_id: secret(1),
        expires_at: at(WEEK),
        email: Sealed::new(EMAIL.into()),
        token_hash: Sealed::new("h1".into()),
    }
}

fn resent(seconds: u64) -> InvitationEvent {
    InvitationEvent::Resent {
        invited_by: Some(member(1)),
        secret_id: secret(2),
        expires_at: at(seconds + WEEK),
        token_hash: Sealed::new("h2".into()),
    }
}

fn accepted(withheld: InvitedGrants) -> InvitationEvent {
    InvitationEvent::Accepted { membership_id: member(9), withheld }
}

fn acceptance(number: u8) -> AcceptInvitation {
    AcceptInvitation { token: presented(number), user_id: user(9), membership_id: member(9) }
}

/// A member of company 1 who holds these.
fn acting(role: TenantRole, modules: &[&str], permissions: &[&str]) -> Membership {
    let created =
        MembershipEvent::Created { company_id: company(1), user_id: user(1), tenant_role: role, via: "seed".into() };
    let modules = modules.iter().map(|text| MembershipEvent::ModuleGranted { module: key(text) });
    let permissions = permissions.iter().map(|text| MembershipEvent::PermissionGranted { permission: key(text) });
    given::<Membership>([created].into_iter().chain(modules).chain(permissions)).state
}

/// The company of these stories owns Basic and Finance, and lets administrators grant what of Finance they hold.
struct Setting {
    owned: BTreeSet<ModuleKey>,
    catalog: Catalog,
    company: Company,
}

fn setting() -> Setting {
    let finance = finance();
    let policy =
        CompanyEvent::PolicySet { role: TenantRole::Admin, modules: finance.modules, permissions: finance.permissions };
    Setting { owned: keys(&["basic", "finance"]), catalog: catalog(), company: given::<Company>([policy]).state }
}

impl Setting {
    fn by<'a>(&'a self, acting: &'a Membership) -> Authority<'a> {
        Authority::member((Holdings::of(acting, []), &self.company), &self.owned, &self.catalog)
    }

    fn by_platform(&self) -> Authority<'_> {
        Authority::platform(&self.owned, &self.catalog)
    }
}

#[test]
fn whoever_could_add_a_member_and_grant_them_that_invites_with_it() {
    let setting = setting();
    let lead = acting(TenantRole::TenantSuperadmin, &[], &[]);
    let admin = acting(TenantRole::Admin, &["finance"], &["finance.bills.create", "finance.bills.read"]);
    for (by, role) in [(&lead, TenantRole::TenantSuperadmin), (&lead, TenantRole::User), (&admin, TenantRole::Manager)]
    {
        given::<Invitation>([])
            .when(|state| invitation::send(state, &setting.by(by), wanted(role, finance()), at(0)))
            .then([sent(role, finance())]);
    }
    let by_platform = given::<Invitation>([]);
    let events = invitation::send(
        &by_platform.state,
        &setting.by_platform(),
        SendInvitation { token: NewToken { invited_by: None, ..token(1) }, ..wanted(TenantRole::Admin, finance()) },
        at(0),
    );
    assert!(matches!(events.as_deref(), Ok([InvitationEvent::Sent { invited_by: None, .. }])), "{events:?}");
}

#[test]
fn nobody_invites_a_rank_that_they_do_not_manage_or_with_what_they_could_not_grant() {
    let setting = setting();
    let admin = acting(TenantRole::Admin, &["finance"], &["finance.bills.read"]);
    let manager = acting(TenantRole::Manager, &[], &[]);
    let lead = acting(TenantRole::TenantSuperadmin, &[], &[]);
    let send = |by: &Membership, role, grants, error: SendInvitationError| {
        given::<Invitation>([])
            .when(|state| invitation::send(state, &setting.by(by), wanted(role, grants), at(0)))
            .refused(error);
    };
    let low = SendInvitationError::Refused(Refused::RoleTooLow);
    send(&admin, TenantRole::Admin, grants(&[], &[]), low.clone());
    send(&admin, TenantRole::TenantSuperadmin, grants(&[], &[]), low.clone());
    send(&manager, TenantRole::User, grants(&[], &[]), low);
    let not_held = GrantRefused::NotGrantable { what: "finance.bills.create".into() };
    send(&admin, TenantRole::User, finance(), SendInvitationError::Grant(not_held));
    let not_owned = GrantRefused::ModuleNotOwned { module: key("market") };
    send(&lead, TenantRole::User, grants(&["market"], &[]), SendInvitationError::Grant(not_owned));
    let unknown = GrantRefused::UnknownModule { module: key("casino") };
    send(&lead, TenantRole::User, grants(&["casino"], &[]), SendInvitationError::Grant(unknown));
    let retired = GrantRefused::RetiredPermission { permission: key("basic.notes.read") };
    send(&lead, TenantRole::User, grants(&[], &["basic.notes.read"]), SendInvitationError::Grant(retired));
}

#[test]
fn what_is_sent_again_rests_on_whoever_does_so_and_the_token_before_is_good_no_more() {
    let setting = setting();
    let lead = acting(TenantRole::TenantSuperadmin, &[], &[]);
    let admin = acting(TenantRole::Admin, &[], &[]);
    let before = || [sent(TenantRole::User, finance())];
    given::<Invitation>(before())
        .when(|state| invitation::resend(state, &setting.by(&lead), token(2), at(60)))
        .then([resent(60)]);
    let beyond = GrantRefused::NotGrantable { what: "finance".into() };
    given::<Invitation>(before())
        .when(|state| invitation::resend(state, &setting.by(&admin), token(2), at(60)))
        .refused(SendInvitationError::Grant(beyond));
    let state = given::<Invitation>(before().into_iter().chain([resent(60)])).state;
    assert_eq!(invitation::find(&state, &presented(1), at(61)), Err(NotGood));
    assert!(invitation::find(&state, &presented(2), at(60 + WEEK - 1)).is_ok());
    assert_eq!(invitation::find(&state, &presented(2), at(60 + WEEK)), Err(NotGood), "its time is over");
}

#[test]
fn what_is_over_is_not_sent_again_and_ends_once() {
    let setting = setting();
    let lead = acting(TenantRole::TenantSuperadmin, &[], &[]);
    for end in [InvitationEvent::Withdrawn, InvitationEvent::Expired, accepted(grants(&[], &[]))] {
        let history = || [sent(TenantRole::User, finance()), end.clone()];
        given::<Invitation>(history())
            .when(|state| invitation::resend(state, &setting.by(&lead), token(2), at(60)))
            .refused(SendInvitationError::NotPending);
        let state = given::<Invitation>(history()).state;
        assert!(state.email.get().is_none() && state.token_hash.get().is_none(), "the address is forgotten");
        assert_eq!(invitation::find(&state, &presented(1), at(60)), Err(NotGood));
        assert_eq!(invitation::expire(&state, at(2 * WEEK)), []);
        assert_eq!(invitation::forget(&state), []);
    }
    given::<Invitation>([sent(TenantRole::User, finance()), InvitationEvent::Withdrawn])
        .when(|state| invitation::withdraw(state, &setting.by(&lead)))
        .then_nothing();
    given::<Invitation>([sent(TenantRole::User, finance()), accepted(grants(&[], &[]))])
        .when(|state| invitation::withdraw(state, &setting.by(&lead)))
        .refused(WithdrawInvitationError::Accepted);
    given::<Invitation>([])
        .when(|state| invitation::withdraw(state, &setting.by(&lead)))
        .refused(WithdrawInvitationError::Unknown);
}

#[test]
fn whoever_could_have_sent_it_takes_it_back() {
    let setting = setting();
    let admin = acting(TenantRole::Admin, &[], &[]);
    given::<Invitation>([sent(TenantRole::Manager, finance())])
        .when(|state| invitation::withdraw(state, &setting.by(&admin)))
        .then([InvitationEvent::Withdrawn]);
    given::<Invitation>([sent(TenantRole::Admin, finance())])
        .when(|state| invitation::withdraw(state, &setting.by(&admin)))
        .refused(WithdrawInvitationError::Refused(Refused::RoleTooLow));
}

#[test]
fn it_expires_when_its_time_is_over_and_not_before() {
    let state = given::<Invitation>([sent(TenantRole::User, finance())]).state;
    assert_eq!(invitation::expire(&state, at(WEEK - 1)), []);
    assert!(state.is_pending(at(WEEK - 1)) && !state.is_pending(at(WEEK)));
    assert_eq!(invitation::expire(&state, at(WEEK)), [InvitationEvent::Expired]);
}

fn created(role: TenantRole) -> MembershipEvent {
    MembershipEvent::Created { company_id: company(1), user_id: user(9), tenant_role: role, via: "invitation".into() }
}

#[test]
fn accepting_it_makes_a_member_who_is_granted_what_was_promised() {
    let setting = setting();
    let lead = acting(TenantRole::TenantSuperadmin, &[], &[]);
    given::<Invitation>([sent(TenantRole::Manager, finance())])
        .when(|state| invitation::accept(state, &setting.by(&lead), &acceptance(1), at(60)))
        .then(Acceptance {
            invitation: vec![accepted(grants(&[], &[]))],
            membership: vec![
                created(TenantRole::Manager),
                MembershipEvent::ModuleGranted { module: key("finance") },
                MembershipEvent::PermissionGranted { permission: key("finance.bills.create") },
                MembershipEvent::PermissionGranted { permission: key("finance.bills.read") },
            ],
        });
}

#[test]
fn what_whoever_sent_it_could_not_grant_any_more_is_withheld_and_said() {
    let mut setting = setting();
    let admin = acting(TenantRole::Admin, &["finance"], &["finance.bills.read"]);
    let accept = |setting: &Setting| {
        let state = given::<Invitation>([sent(TenantRole::User, finance())]).state;
        invitation::accept(&state, &setting.by(&admin), &acceptance(1), at(60))
    };
    let some = accept(&setting).map(|it| (it.invitation, it.membership.len()));
    assert_eq!(some, Ok((vec![accepted(grants(&[], &["finance.bills.create"]))], 3)));
    setting.owned = keys(&["basic"]);
    let nothing = accept(&setting);
    let only = vec![created(TenantRole::User)];
    assert_eq!(nothing, Ok(Acceptance { invitation: vec![accepted(finance())], membership: only }));
}

#[test]
fn it_is_worth_nothing_once_whoever_sent_it_could_not_add_such_a_member() {
    let setting = setting();
    let demoted = acting(TenantRole::Manager, &["finance"], &[]);
    let mut suspended = acting(TenantRole::Admin, &[], &[]);
    suspended.status = kisum_domains::membership::MembershipStatus::Suspended;
    for (by, why) in [(&demoted, Refused::RoleTooLow), (&suspended, Refused::ActorNotActive)] {
        given::<Invitation>([sent(TenantRole::User, finance())])
            .when(|state| invitation::accept(state, &setting.by(by), &acceptance(1), at(60)))
            .refused(AcceptInvitationError::RestsOnNothing(why));
    }
    let lead = acting(TenantRole::TenantSuperadmin, &[], &[]);
    given::<Invitation>([sent(TenantRole::User, finance())])
        .when(|state| invitation::accept(state, &setting.by(&lead), &acceptance(2), at(60)))
        .refused(AcceptInvitationError::NotGood(NotGood));
}
