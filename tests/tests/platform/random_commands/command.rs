//! What somebody may ask of the platform, drawn at random: few people, companies and keys, so that commands meet.

use kisum_events::{PasswordCause, SessionEndCause, TenantRole};
use proptest::{bits, option, prelude::*, sample::select};

pub(crate) const USERS: u8 = 3;
pub(crate) const SESSIONS: u8 = 5;
pub(crate) const COMPANIES: u8 = 2;
/// Each person may become a member of each company once.
pub(crate) const MEMBERS: u8 = USERS * COMPANIES;
pub(crate) const MODULES: u8 = 3;
/// Of each module.
pub(crate) const PERMISSIONS: u8 = 2;
/// Named ones, of each company; each is made once.
pub(crate) const ROLES: u8 = 2;
pub(crate) const PACKAGES: u8 = 2;
pub(crate) const ADDONS: u8 = 2;
/// Instants lie up to that many minutes before and after the beginning: sessions and purchases of long ago and of later.
const MINUTES: i16 = 2_000;

/// Minutes after the beginning of the story.
pub(crate) type Minutes = i16;

/// A command; numbers name whom and what it concerns.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Command {
    User {
        user: u8,
        wish: UserWish,
    },
    Session {
        session: u8,
        wish: SessionWish,
        at: Minutes,
    },
    Company {
        company: u8,
        wish: CompanyWish,
    },
    Member {
        member: u8,
        by: Option<u8>,
        wish: MemberWish,
    },
    Grant {
        member: u8,
        by: Option<u8>,
        wish: GrantWish,
    },
    Role {
        role: u8,
        by: Option<u8>,
        wish: RoleWish,
    },
    Module {
        module: u8,
        wish: ModuleWish,
    },
    Package {
        package: u8,
        wish: VersionWish,
    },
    Addon {
        addon: u8,
        wish: VersionWish,
    },
    Purchase {
        company: u8,
        wish: PurchaseWish,
        at: Minutes,
    },
    /// The append before this, once more, as after a lost answer.
    Again,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum UserWish {
    Register,
    SetPassword(PasswordCause),
    Suspend,
    Reactivate,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum SessionWish {
    Start { user: u8 },
    Refresh { generations_ago: u32 },
    End(SessionEndCause),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum CompanyWish {
    Register { owner: u8 },
    Approve,
    Reject,
    Suspend,
    Reactivate,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum MemberWish {
    Join(TenantRole),
    ChangeRole(TenantRole),
    Suspend,
    Reactivate,
    Revoke,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum GrantWish {
    Module(u8),
    NoModule(u8),
    Permission(u8, u8),
    NoPermission(u8, u8),
    /// Of that number in the member's company.
    Role(u8),
    NoRole(u8),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum RoleWish {
    /// Bit by bit which permissions it gives, and which of few names it has.
    Make {
        permissions: u8,
        name: u8,
    },
    Change {
        permissions: u8,
        name: Option<u8>,
    },
    Delete,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ModuleWish {
    Define,
    Add(u8),
    Retire(u8),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum VersionWish {
    /// Bit by bit which modules are in it, and how many seats.
    Publish {
        modules: u8,
        seats: Option<i64>,
    },
    Retire {
        version: u32,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum PurchaseWish {
    Subscribe { package: u8, until: Option<Minutes> },
    Cancel,
    Attach { addon: u8, until: Option<Minutes> },
    Detach { addon: u8 },
}

fn any_minutes() -> impl Strategy<Value = Minutes> {
    // Mostly about now.
    prop_oneof![3 => -10..=10_i16, 1 => -MINUTES..=MINUTES]
}

fn any_role() -> impl Strategy<Value = TenantRole> {
    select(&[TenantRole::User, TenantRole::TenantSuperadmin, TenantRole::Admin, TenantRole::Manager])
}

fn user_wish() -> impl Strategy<Value = UserWish> {
    let cause = select(&[PasswordCause::Changed, PasswordCause::Reset, PasswordCause::Upgraded]);
    prop_oneof![
        3 => Just(UserWish::Register),
        2 => cause.prop_map(UserWish::SetPassword),
        1 => select(&[UserWish::Suspend, UserWish::Reactivate]),
    ]
}

fn session_wish() -> impl Strategy<Value = SessionWish> {
    let cause = select(&[SessionEndCause::Logout, SessionEndCause::Revoked]);
    prop_oneof![
        2 => (0..USERS).prop_map(|user| SessionWish::Start { user }),
        2 => select(&[0_u32, 0, 1, 2]).prop_map(|generations_ago| SessionWish::Refresh { generations_ago }),
        1 => cause.prop_map(SessionWish::End),
    ]
}

fn company_wish() -> impl Strategy<Value = CompanyWish> {
    prop_oneof![
        2 => (0..USERS).prop_map(|owner| CompanyWish::Register { owner }),
        2 => Just(CompanyWish::Approve),
        2 => select(&[CompanyWish::Suspend, CompanyWish::Reactivate]),
        1 => Just(CompanyWish::Reject),
    ]
}

fn member_wish() -> impl Strategy<Value = MemberWish> {
    prop_oneof![
        2 => any_role().prop_map(MemberWish::Join),
        2 => any_role().prop_map(MemberWish::ChangeRole),
        3 => select(&[MemberWish::Suspend, MemberWish::Reactivate]),
        1 => Just(MemberWish::Revoke),
    ]
}

fn grant_wish() -> impl Strategy<Value = GrantWish> {
    prop_oneof![
        3 => (0..MODULES).prop_map(GrantWish::Module),
        3 => (0..MODULES, 0..PERMISSIONS).prop_map(|(module, number)| GrantWish::Permission(module, number)),
        1 => (0..MODULES).prop_map(GrantWish::NoModule),
        1 => (0..MODULES, 0..PERMISSIONS).prop_map(|(module, number)| GrantWish::NoPermission(module, number)),
        3 => (0..ROLES).prop_map(GrantWish::Role),
        1 => (0..ROLES).prop_map(GrantWish::NoRole),
    ]
}

fn role_wish() -> impl Strategy<Value = RoleWish> {
    let permissions = || bits::u8::between(0, (MODULES * PERMISSIONS).into());
    prop_oneof![
        4 => (permissions(), 0..2_u8).prop_map(|(permissions, name)| RoleWish::Make { permissions, name }),
        3 => (permissions(), option::of(0..2_u8)).prop_map(|(permissions, name)| RoleWish::Change { permissions, name }),
        1 => Just(RoleWish::Delete),
    ]
}

fn module_wish() -> impl Strategy<Value = ModuleWish> {
    prop_oneof![
        2 => Just(ModuleWish::Define),
        3 => (0..PERMISSIONS).prop_map(ModuleWish::Add),
        1 => (0..PERMISSIONS).prop_map(ModuleWish::Retire),
    ]
}

fn version_wish() -> impl Strategy<Value = VersionWish> {
    let modules = bits::u8::between(0, MODULES.into());
    prop_oneof![
        4 => (modules, option::of(0..5_i64)).prop_map(|(modules, seats)| VersionWish::Publish { modules, seats }),
        1 => (1..4_u32).prop_map(|version| VersionWish::Retire { version }),
    ]
}

fn purchase_wish() -> impl Strategy<Value = PurchaseWish> {
    let until = || option::of(any_minutes());
    prop_oneof![
        3 => (0..PACKAGES, until()).prop_map(|(package, until)| PurchaseWish::Subscribe { package, until }),
        3 => (0..ADDONS, until()).prop_map(|(addon, until)| PurchaseWish::Attach { addon, until }),
        1 => Just(PurchaseWish::Cancel),
        1 => (0..ADDONS).prop_map(|addon| PurchaseWish::Detach { addon }),
    ]
}

/// By another member, or by the platform.
fn by() -> impl Strategy<Value = Option<u8>> {
    option::weighted(0.3, 0..MEMBERS)
}

pub(crate) fn member_command() -> impl Strategy<Value = Command> {
    (0..MEMBERS, by(), member_wish()).prop_map(|(member, by, wish)| Command::Member { member, by, wish })
}

/// Any command.
pub(crate) fn any_command() -> impl Strategy<Value = Command> {
    prop_oneof![
        2 => (0..USERS, user_wish()).prop_map(|(user, wish)| Command::User { user, wish }),
        4 => (0..SESSIONS, session_wish(), any_minutes())
            .prop_map(|(session, wish, at)| Command::Session { session, wish, at }),
        2 => (0..COMPANIES, company_wish()).prop_map(|(company, wish)| Command::Company { company, wish }),
        4 => member_command(),
        4 => (0..MEMBERS, by(), grant_wish()).prop_map(|(member, by, wish)| Command::Grant { member, by, wish }),
        2 => (0..ROLES * COMPANIES, by(), role_wish()).prop_map(|(role, by, wish)| Command::Role { role, by, wish }),
        3 => (0..MODULES, module_wish()).prop_map(|(module, wish)| Command::Module { module, wish }),
        1 => (0..PACKAGES, version_wish()).prop_map(|(package, wish)| Command::Package { package, wish }),
        1 => (0..ADDONS, version_wish()).prop_map(|(addon, wish)| Command::Addon { addon, wish }),
        4 => (0..COMPANIES, purchase_wish(), any_minutes())
            .prop_map(|(company, wish, at)| Command::Purchase { company, wish, at }),
        1 => Just(Command::Again),
    ]
}
