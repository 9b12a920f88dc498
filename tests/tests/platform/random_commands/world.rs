//! Carries commands out as the services do: load the states, decide by the real rules, append with what it rests on.

use super::command::{
    Command, CompanyWish, GrantWish, MODULES, MemberWish, Minutes, ModuleWish, PERMISSIONS, PurchaseWish, ROLES,
    RoleWish, SessionWish, USERS, UserWish, VersionWish,
};
use kisum_domains::{
    Addon, Authority, Catalog, Company, Holdings, Membership, Module, Package, Role, Session, Subscription, User,
    addon,
    company::{self, RegisterCompany},
    membership::{self, CreateMembership},
    module, package,
    role::{self, ChangeRole, CreateRole},
    schedule,
    session::{self, Presented, RefreshOutcome, RefreshPolicy, StartSession},
    subscription::{self, Change, Term},
    user::{self, NewPassword, RegisterUser},
};
use kisum_events::{
    Actor, AddonKey, Aggregate, AuthMethod, CompanyId, EventId, Limits, Log, MembershipId, Meta, ModuleKey, PackageKey,
    PermissionKey, RoleId, SessionId, StreamName, Timestamp, UserId,
};
use kisum_log::{Append, AppendError, ClaimKey, EventLog, Loaded, Receipt};
use kisum_tests::counted::{new_request, new_uuid};
use std::{collections::BTreeSet, time::Duration};
use uuid::Uuid;

const IDLE: Duration = Duration::from_secs(30 * 60);
const ABSOLUTE: Duration = Duration::from_secs(12 * 3600);
const ACCESS_TOKEN: Duration = Duration::from_secs(600);
const ATTEMPTS_MAX: u32 = 20;

/// Both logs, and everybody in them.
pub(crate) struct World {
    pub(crate) auth: EventLog,
    pub(crate) core: EventLog,
    /// Worlds of different numbers share nothing but the logs.
    number: u16,
    began: Timestamp,
    last: Option<(Log, Append, Receipt)>,
}

fn key<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

/// A decision's events; whatever was refused changes nothing.
fn allowed<E, R>(decided: Result<Vec<E>, R>) -> Vec<E> {
    decided.unwrap_or_default()
}

impl World {
    pub(crate) const fn new(auth: EventLog, core: EventLog, number: u16, began: Timestamp) -> Self {
        Self { auth, core, number, began, last: None }
    }

    /// Another world in the same logs.
    pub(crate) fn next(&self, began: Timestamp) -> Self {
        Self::new(self.auth.clone(), self.core.clone(), self.number.wrapping_add(1), began)
    }

    /// Carries a command out; nothing where the rules refuse it or it changes nothing.
    pub(crate) async fn execute(&mut self, command: &Command) -> Option<Receipt> {
        let (log, append) = match *command {
            Command::User { user, wish } => (Log::Auth, self.user(user, wish).await),
            Command::Session { session, wish, at } => (Log::Auth, self.session(session, wish, at).await),
            Command::Company { company, wish } => (Log::Auth, self.company(company, wish).await),
            Command::Member { member, by, wish } => (Log::Auth, self.member(member, by, wish).await),
            Command::Grant { member, by, wish } => (Log::Auth, self.grant(member, by, wish).await),
            Command::Role { role, by, wish } => (Log::Auth, self.role(role, by, wish).await),
            Command::Module { module, wish } => (Log::Core, self.module(module, wish).await),
            Command::Package { package, wish } => (Log::Core, self.package(package, wish).await),
            Command::Addon { addon, wish } => (Log::Core, self.addon(addon, wish).await),
            Command::Purchase { company, wish, at } => (Log::Core, self.purchase(company, wish, at).await),
            Command::Again => return self.again().await,
        };
        if append.is_empty() {
            return None;
        }
        match self.sent(log, &append).await {
            Ok(receipt) => {
                self.last = Some((log, append, receipt));
                Some(receipt)
            }
            Err(AppendError::Claim { .. }) => None,
            Err(error) => panic!("{command:?}: {error}"),
        }
    }

    /// Sends an append until it has a verdict: on a busy machine an answer may come too late.
    async fn sent(&self, log: Log, append: &Append) -> Result<Receipt, AppendError> {
        let mut attempts = 0;
        loop {
            match self.log(log).append(append.clone()).await {
                Err(AppendError::Unavailable(_)) if attempts < ATTEMPTS_MAX => attempts += 1,
                verdict => return verdict,
            }
        }
    }

    async fn again(&self) -> Option<Receipt> {
        let (log, append, receipt) = self.last.as_ref()?;
        let again = self.sent(*log, append).await.unwrap_or_else(|error| panic!("again: {error}"));
        assert_eq!(again, Receipt { duplicate: true, ..*receipt }, "the same request is the same append");
        None
    }

    pub(crate) const fn log(&self, log: Log) -> &EventLog {
        match log {
            Log::Auth => &self.auth,
            Log::Core => &self.core,
        }
    }

    fn id(&self, kind: u8, number: u8) -> Uuid {
        Uuid::from_u128((u128::from(kind) << 64) | (u128::from(self.number) << 16) | u128::from(number))
    }

    fn user_id(&self, number: u8) -> UserId {
        UserId::new(self.id(1, number))
    }

    fn company_id(&self, number: u8) -> CompanyId {
        CompanyId::new(self.id(2, number))
    }

    fn member_id(&self, number: u8) -> MembershipId {
        MembershipId::new(self.id(3, number))
    }

    fn role_id(&self, number: u8) -> RoleId {
        RoleId::new(self.id(5, number))
    }

    fn module_key(&self, number: u8) -> ModuleKey {
        key(&format!("m{number}-{}", self.number))
    }

    fn permission_key(&self, module: u8, number: u8) -> PermissionKey {
        key(&format!("{}.things.p{number}", self.module_key(module)))
    }

    fn at(&self, minutes: Minutes) -> Timestamp {
        Timestamp::from_micros(self.began.micros() + i64::from(minutes) * 60_000_000)
    }

    async fn load<A: Aggregate>(&self, log: Log, stream: StreamName) -> Loaded<A> {
        self.log(log).load(&stream).await.unwrap_or_else(|error| panic!("{stream}: {error}"))
    }

    fn append(&self, by: Option<u8>) -> Append {
        let request_id = new_request();
        let actor = by.map_or(Actor::System, |member| Actor::User(self.user_id(member % USERS)));
        Append::new(request_id, Meta { actor, request_id, causation_id: None, correlation_id: None, traceparent: None })
    }

    /// An append by the platform of what was decided about one stream.
    fn one<A: Aggregate>(&self, loaded: &Loaded<A>, events: Vec<A::Event>) -> Append {
        let mut append = self.append(None);
        append.write(loaded, events).unwrap_or_else(|error| panic!("{error}"));
        append
    }

    async fn user(&self, number: u8, wish: UserWish) -> Append {
        let stream = StreamName::user(self.user_id(number));
        let loaded: Loaded<User> = self.load(Log::Auth, stream.clone()).await;
        let state = &loaded.state;
        let (email, name) = (format!("{number}@{}.example", self.number), format!("Person {number}"));
        let mut append = self.one(
            &loaded,
            match wish {
                UserWish::Register => allowed(user::register(
                    state,
                    RegisterUser { email, name, password_hash: Some("first".to_owned()), authenticator: None },
                )),
                UserWish::SetPassword(cause) => {
                    allowed(user::set_password(state, NewPassword::alone(&format!("{cause:?}")), cause))
                }
                UserWish::Suspend => allowed(user::suspend(state)),
                UserWish::Reactivate => allowed(user::reactivate(state)),
            },
        );
        if wish == UserWish::Register && !append.is_empty() {
            append.claim(ClaimKey::email(&format!("{:064x}", self.user_id(number).uuid().as_u128())), &stream);
        }
        append
    }

    async fn session(&self, number: u8, wish: SessionWish, at: Minutes) -> Append {
        let id = SessionId::new(self.id(4, number));
        let loaded: Loaded<Session> = self.load(Log::Auth, StreamName::session(id)).await;
        let (state, now) = (&loaded.state, self.at(at));
        let token = |generation: u32| format!("{number}:{generation}");
        let events = match wish {
            SessionWish::Start { user } => {
                let command = StartSession {
                    user_id: self.user_id(user),
                    amr: vec![AuthMethod::Pwd],
                    token_hash: token(0),
                    ip: number.is_multiple_of(2).then(|| "203.0.113.7".to_owned()),
                    agent: None,
                    idle_ttl: IDLE,
                    absolute_ttl: ABSOLUTE,
                    user_version: 0,
                };
                allowed(session::start(state, command, now))
            }
            SessionWish::Refresh { generations_ago } => {
                let generation = state.generation().unwrap_or(0).saturating_sub(generations_ago);
                let presented = Presented { generation, token_hash: token(generation) };
                let policy = RefreshPolicy { idle_ttl: IDLE, access_token_ttl: ACCESS_TOKEN };
                match session::refresh(state, presented, token(generation + 1), policy, now) {
                    Ok(RefreshOutcome::Rotated { events, .. } | RefreshOutcome::Reuse { events }) => events,
                    Ok(RefreshOutcome::Replayed { .. }) | Err(_) => vec![],
                }
            }
            SessionWish::End(cause) => allowed(session::end(state, cause, ACCESS_TOKEN, now)),
        };
        self.one(&loaded, events)
    }

    async fn company(&self, number: u8, wish: CompanyWish) -> Append {
        let stream = StreamName::company(self.company_id(number));
        let loaded: Loaded<Company> = self.load(Log::Auth, stream.clone()).await;
        let state = &loaded.state;
        let slug = key(&format!("company-{}-{number}", self.number));
        let claim = ClaimKey::slug(&slug);
        let mut append = self.one(
            &loaded,
            match wish {
                CompanyWish::Register { owner } => {
                    let command =
                        RegisterCompany { slug, name: format!("Company {number}"), owner: self.user_id(owner) };
                    allowed(company::register(state, command))
                }
                CompanyWish::Approve => allowed(company::approve(state)),
                CompanyWish::Reject => allowed(company::reject(state, "no")),
                CompanyWish::Suspend => allowed(company::suspend(state, "unpaid")),
                CompanyWish::Reactivate => allowed(company::reactivate(state)),
            },
        );
        if matches!(wish, CompanyWish::Register { .. }) && !append.is_empty() {
            append.claim(claim, &stream);
        }
        append
    }

    async fn membership(&self, number: u8) -> Loaded<Membership> {
        self.load(Log::Auth, StreamName::membership(self.member_id(number))).await
    }

    /// The named roles that a membership lists.
    async fn roles_of(&self, membership: Option<&Loaded<Membership>>) -> Vec<(RoleId, Loaded<Role>)> {
        let mut roles = Vec::new();
        for id in membership.into_iter().flat_map(|membership| membership.state.roles.keys()) {
            roles.push((*id, self.load(Log::Auth, StreamName::role(*id)).await));
        }
        roles
    }

    /// What a company owns, its seats, and what can be granted.
    async fn bought(&self, company: CompanyId) -> (BTreeSet<ModuleKey>, Option<i64>, Catalog) {
        let bought: Loaded<Subscription> = self.load(Log::Core, StreamName::subscription(company)).await;
        let now = self.at(0);
        let owned = schedule::owned(&bought.state.entitlements, now);
        let seats = schedule::limits(&bought.state.entitlements, now).get("seats").copied();
        let mut catalog = Catalog::default();
        for number in 0..MODULES {
            let loaded: Loaded<Module> = self.load(Log::Core, StreamName::module(&self.module_key(number))).await;
            catalog.modules.extend(loaded.state.key);
            catalog.permissions.extend(loaded.state.permissions);
        }
        (owned, seats, catalog)
    }

    async fn member(&self, number: u8, by: Option<u8>, wish: MemberWish) -> Append {
        let (company_id, user_id) = (self.company_id(number / USERS), self.user_id(number % USERS));
        let loaded = self.membership(number).await;
        let firm: Loaded<Company> = self.load(Log::Auth, StreamName::company(company_id)).await;
        let (owned, seats, catalog) = self.bought(company_id).await;
        let acting = match by {
            Some(by) => Some(self.membership(by).await),
            None => None,
        };
        let authority = match &acting {
            Some(acting) => Authority::member((Holdings::of(&acting.state, []), &firm.state), &owned, &catalog),
            None => Authority::platform(&owned, &catalog),
        };
        let state = &loaded.state;
        let events = allowed(match wish {
            MemberWish::Join(role) => {
                let via = "invitation".to_owned();
                membership::create(state, &authority, CreateMembership { company_id, user_id, role, via })
            }
            MemberWish::ChangeRole(role) => membership::change_role(state, &authority, role),
            MemberWish::Suspend => membership::suspend(state, &authority),
            MemberWish::Reactivate => membership::reactivate(state, &authority),
            MemberWish::Revoke => membership::revoke(state, &authority),
        });
        let mut append = self.append(by);
        let after = append.write(&loaded, events).unwrap_or_else(|error| panic!("{error}"));
        let id = self.member_id(number);
        let Ok(books) = company::follow_membership(&firm.state, id, state, &after, seats) else {
            return self.append(by);
        };
        append.write(&firm, books).unwrap_or_else(|error| panic!("{error}"));
        if append.is_empty() {
            return append;
        }
        match wish {
            MemberWish::Join(_) => append.claim(ClaimKey::member(company_id, user_id), &loaded.stream),
            MemberWish::Revoke => append.release(ClaimKey::member(company_id, user_id), &loaded.stream),
            MemberWish::ChangeRole(_) | MemberWish::Suspend | MemberWish::Reactivate => {}
        }
        guard(&mut append, acting.as_ref(), &loaded.stream);
        append
    }

    async fn grant(&self, number: u8, by: Option<u8>, wish: GrantWish) -> Append {
        let loaded = self.membership(number).await;
        let company_id = self.company_id(number / USERS);
        let firm: Loaded<Company> = self.load(Log::Auth, StreamName::company(company_id)).await;
        let (owned, _, catalog) = self.bought(company_id).await;
        let acting = match by {
            Some(by) => Some(self.membership(by).await),
            None => None,
        };
        let held = self.roles_of(acting.as_ref()).await;
        let authority = authority(acting.as_ref(), &held, &firm, &owned, &catalog);
        let about = match wish {
            GrantWish::Role(place) | GrantWish::NoRole(place) => self.role_id(number / USERS * ROLES + place),
            GrantWish::Module(_) | GrantWish::NoModule(_) | GrantWish::Permission(..) | GrantWish::NoPermission(..) => {
                self.role_id(0)
            }
        };
        let named: Loaded<Role> = self.load(Log::Auth, StreamName::role(about)).await;
        let state = &loaded.state;
        let events = allowed(match wish {
            GrantWish::Module(module) => membership::grant_module(state, &authority, &self.module_key(module)),
            GrantWish::NoModule(module) => membership::revoke_module(state, &authority, &self.module_key(module)),
            GrantWish::Permission(module, permission) => {
                membership::grant_permission(state, &authority, &self.permission_key(module, permission))
            }
            GrantWish::NoPermission(module, permission) => {
                membership::revoke_permission(state, &authority, &self.permission_key(module, permission))
            }
            GrantWish::Role(_) => membership::assign_role(state, &authority, (about, &named.state)),
            GrantWish::NoRole(_) => membership::unassign_role(state, &authority, (about, &named.state)),
        });
        let mut append = self.append(by);
        append.write(&loaded, events).unwrap_or_else(|error| panic!("{error}"));
        guard(&mut append, acting.as_ref(), &loaded.stream);
        held.iter().map(|(_, role)| role).chain([&named]).for_each(|role| append.guard(role));
        append
    }

    async fn role(&self, number: u8, by: Option<u8>, wish: RoleWish) -> Append {
        let company_id = self.company_id(number / ROLES);
        let loaded: Loaded<Role> = self.load(Log::Auth, StreamName::role(self.role_id(number))).await;
        let firm: Loaded<Company> = self.load(Log::Auth, StreamName::company(company_id)).await;
        let (owned, _, catalog) = self.bought(company_id).await;
        let acting = match by {
            Some(by) => Some(self.membership(by).await),
            None => None,
        };
        let authority = authority(acting.as_ref(), &[], &firm, &owned, &catalog);
        let state = &loaded.state;
        let permissions = |bits: u8| {
            let wanted = (0..MODULES * PERMISSIONS).filter(move |number| bits & (1 << number) != 0);
            wanted.map(|number| self.permission_key(number / PERMISSIONS, number % PERMISSIONS)).collect()
        };
        let name = |number: u8| key(&format!("Role {number}"));
        let events = allowed(match wish {
            RoleWish::Make { permissions: bits, name: number } => {
                let command = CreateRole { company_id, name: name(number), permissions: permissions(bits) };
                role::create(state, &authority, command)
            }
            RoleWish::Change { permissions: bits, name: number } => {
                let command = ChangeRole { name: number.map(name), permissions: Some(permissions(bits)) };
                role::change(state, &authority, command)
            }
            RoleWish::Delete => role::delete(state, &authority),
        });
        let mut append = self.append(by);
        let after = append.write(&loaded, events).unwrap_or_else(|error| panic!("{error}"));
        let (had, has) = (state.claimed_name(), after.claimed_name());
        if had != has {
            had.into_iter().for_each(|name| append.release(ClaimKey::role(company_id, &name), &loaded.stream));
            has.into_iter().for_each(|name| append.claim(ClaimKey::role(company_id, &name), &loaded.stream));
        }
        guard(&mut append, acting.as_ref(), &loaded.stream);
        append
    }

    async fn module(&self, number: u8, wish: ModuleWish) -> Append {
        let key = self.module_key(number);
        let loaded: Loaded<Module> = self.load(Log::Core, StreamName::module(&key)).await;
        let state = &loaded.state;
        let events = allowed(match wish {
            ModuleWish::Define => module::define(state, &key, &format!("Module {number}")),
            ModuleWish::Add(permission) => module::add_permission(state, &self.permission_key(number, permission)),
            ModuleWish::Retire(permission) => {
                module::retire_permission(state, &self.permission_key(number, permission))
            }
        });
        self.one(&loaded, events)
    }

    /// What a version contains, its limits, and the modules that exist.
    async fn contents(&self, modules: u8, seats: Option<i64>) -> (Vec<ModuleKey>, Limits, BTreeSet<ModuleKey>) {
        let wanted = (0..MODULES).filter(|number| modules & (1 << number) != 0).map(|number| self.module_key(number));
        let limits = seats.into_iter().map(|seats| ("seats".to_owned(), seats)).collect();
        let (_, _, catalog) = self.bought(self.company_id(0)).await;
        (wanted.collect(), limits, catalog.modules)
    }

    fn package_key(&self, number: u8) -> PackageKey {
        key(&format!("package-{}-{number}", self.number))
    }

    fn addon_key(&self, number: u8) -> AddonKey {
        key(&format!("addon-{}-{number}", self.number))
    }

    async fn package(&self, number: u8, wish: VersionWish) -> Append {
        let loaded: Loaded<Package> = self.load(Log::Core, StreamName::package(&self.package_key(number))).await;
        let events = match wish {
            VersionWish::Publish { modules, seats } => {
                let (modules, limits, known) = self.contents(modules, seats).await;
                allowed(package::publish_version(&loaded.state, &modules, &limits, &known))
            }
            VersionWish::Retire { version } => allowed(package::retire_version(&loaded.state, version)),
        };
        self.one(&loaded, events)
    }

    async fn addon(&self, number: u8, wish: VersionWish) -> Append {
        let loaded: Loaded<Addon> = self.load(Log::Core, StreamName::addon(&self.addon_key(number))).await;
        let events = match wish {
            VersionWish::Publish { modules, seats } => {
                let (modules, limits, known) = self.contents(modules, seats).await;
                allowed(addon::publish_version(&loaded.state, &modules, &limits, &known))
            }
            VersionWish::Retire { version } => allowed(addon::retire_version(&loaded.state, version)),
        };
        self.one(&loaded, events)
    }

    async fn purchase(&self, company: u8, wish: PurchaseWish, at: Minutes) -> Append {
        let company_id = self.company_id(company);
        let stream = StreamName::subscription(company_id);
        let loaded: Loaded<Subscription> = self.load(Log::Core, stream.clone()).await;
        let previous = self.core.position_of(&stream, loaded.state.entitlement_stream_version).await;
        let now = self.at(at);
        let change = Change {
            company_id,
            previous_entitlement_version: previous.unwrap_or_else(|error| panic!("{error}")).unwrap_or(0),
            ids: [EventId::new(new_uuid()), EventId::new(new_uuid())],
            now,
        };
        let term = |until: Option<Minutes>| Term { from: now, until: until.map(|until| self.at(until)) };
        let (state, mut append) = (&loaded.state, self.append(None));
        let decided = match wish {
            PurchaseWish::Subscribe { package, until } => {
                let key = self.package_key(package);
                let sold: Loaded<Package> = self.load(Log::Core, StreamName::package(&key)).await;
                append.guard(&sold);
                sold.state.offer(&key).map(|offer| subscription::set_plan(state, &offer, term(until), change).ok())
            }
            PurchaseWish::Attach { addon, until } => {
                let key = self.addon_key(addon);
                let sold: Loaded<Addon> = self.load(Log::Core, StreamName::addon(&key)).await;
                append.guard(&sold);
                sold.state.offer(&key).map(|offer| subscription::attach_addon(state, &offer, term(until), change).ok())
            }
            PurchaseWish::Cancel => Some(subscription::cancel(state, now, change).ok()),
            PurchaseWish::Detach { addon } => {
                Some(subscription::detach_addon(state, &self.addon_key(addon), now, change).ok())
            }
        };
        let events = decided.flatten().unwrap_or_default();
        append.write_with_ids(&loaded, events).unwrap_or_else(|error| panic!("{error}"));
        append
    }
}

/// What the acting member may do by what they hold, or the platform where nobody acts.
fn authority<'a>(
    acting: Option<&'a Loaded<Membership>>,
    held: &'a [(RoleId, Loaded<Role>)],
    firm: &'a Loaded<Company>,
    owned: &'a BTreeSet<ModuleKey>,
    catalog: &'a Catalog,
) -> Authority<'a> {
    let Some(acting) = acting else { return Authority::platform(owned, catalog) };
    let holdings = Holdings::of(&acting.state, held.iter().map(|(id, role)| (*id, &role.state)));
    Authority::member((holdings, &firm.state), owned, catalog)
}

/// Makes an append depend on the acting membership, unless that is the stream that it writes.
fn guard(append: &mut Append, acting: Option<&Loaded<Membership>>, written: &StreamName) {
    if let Some(acting) = acting.filter(|acting| acting.stream != *written) {
        append.guard(acting);
    }
}
