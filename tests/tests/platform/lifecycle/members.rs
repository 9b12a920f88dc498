//! Who administers a company: members' standing, the end of a membership, and what administrators may grant at most.

use super::{Person, Scene};
use kisum::platform::{Answer, Ask};
use kisum_tests::{counted::new_uuid, demo::words};
use reqwest::Method;
use serde_json::{Value, json};

/// A company of one test's own, with Finance.
pub(super) struct Firm<'a> {
    pub(super) scene: &'a Scene,
    pub(super) id: String,
    pub(super) slug: String,
}

impl<'a> Firm<'a> {
    /// Registered by somebody through the public route, approved, and sold Finance.
    pub(super) async fn of(scene: &'a Scene, owner: &Person) -> Self {
        let slug = format!("firm-{}", new_uuid().simple());
        let token = scene.sign_in(&owner.email).await.access;
        let body = json!({ "name": "A firm", "slug": slug });
        let made = scene.auth(Some(&token), Ask::new(Method::POST, "/companies").body(body.clone())).await;
        assert_eq!((made.status, made.text("/status").ok().as_deref()), (201, Some("pending")), "{made}");
        let again = scene.auth(Some(&token), Ask::new(Method::POST, "/companies").body(body)).await;
        assert_eq!(words(&again), "409 conflict slug_taken");
        let id = made.text("/companyId").unwrap_or_else(|error| panic!("{error:#}"));
        let pending = scene.auth(Some(&token), Ask::get("/auth/me/access").company(&slug)).await;
        assert_eq!(words(&pending), "403 forbidden company_not_active");
        let approve = format!("/internal/v1/companies/{id}/approve");
        assert!(scene.admin(Ask::new(Method::POST, &approve).body(json!({}))).await.is_success());
        scene.buys(&id, "finance").await;
        Self { scene, id, slug }
    }

    /// Adds a member as the platform.
    pub(super) async fn member(&self, person: &Person, role: &str) -> String {
        let path = format!("/internal/v1/companies/{}/members", self.id);
        let body = json!({ "userId": person.id, "tenantRole": role });
        let added = self.scene.admin(Ask::new(Method::POST, &path).body(body)).await;
        added.text("/membershipId").unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Asks a route of the company's administration.
    pub(super) async fn asks(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> Answer {
        let path = format!("/companies/{}/{path}", self.id);
        let ask = Ask::new(method, &path).company(&self.slug);
        self.scene.auth(Some(token), if let Some(body) = body { ask.body(body) } else { ask }).await
    }

    pub(super) async fn access(&self, token: &str) -> Answer {
        self.scene.auth(Some(token), Ask::get("/auth/me/access").company(&self.slug)).await
    }
}

impl Scene {
    /// Sells a company a module and waits until Auth knows of it.
    pub(super) async fn buys(&self, company: &str, addon: &str) {
        let path = format!("/internal/v1/companies/{company}/addons/{addon}");
        let platform = &self.visitor.platform;
        let bought =
            platform.internal(kisum::platform::Callee::Core, Ask::new(Method::PUT, &path).body(json!({}))).await;
        let bought = bought.unwrap_or_else(|error| panic!("{error:#}"));
        assert!(bought.is_success(), "{bought}");
        let path = format!("/internal/v1/companies/{company}/delegation-policy/ADMIN");
        let known = self.admin(Ask::get(&path).from_position(bought.position.as_deref())).await;
        assert!(known.is_success(), "Auth does not learn of {addon}: {known}");
    }
}

const GRANTS: [&str; 2] = ["modules/finance", "permissions/finance.bills.read"];

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_suspended_let_back_promoted_and_ended_and_guards_follow() {
    let scene = Scene::start().await;
    let (boss, ada) = (scene.person("Boss").await, scene.person("Ada").await);
    let firm = Firm::of(&scene, &boss).await;
    let lead = scene.sign_in(&boss.email).await.access;
    let member = firm.member(&ada, "USER").await;
    for grant in GRANTS {
        let granted = firm.asks(&lead, Method::PUT, &format!("members/{member}/{grant}"), None).await;
        assert!(granted.is_success(), "{granted}");
    }
    let token = scene.sign_in(&ada.email).await.access;
    scene.bills_become(&token, &firm.slug, "200").await;
    let path = format!("members/{member}");
    let change = async |body: Value| firm.asks(&lead, Method::PATCH, &path, Some(body)).await;

    let suspended = change(json!({ "suspended": true })).await;
    assert_eq!((suspended.status, suspended.text("/status").ok().as_deref()), (200, Some("suspended")), "{suspended}");
    assert!(suspended.position.is_some());
    scene.bills_become(&token, &firm.slug, "403 forbidden suspended").await;
    assert!(change(json!({ "suspended": true })).await.is_success(), "twice is once");
    let back = change(json!({ "suspended": false, "tenantRole": "MANAGER" })).await;
    assert_eq!(back.text("/tenantRole").ok().as_deref(), Some("MANAGER"), "{back}");
    scene.bills_become(&token, &firm.slug, "200").await;

    for (body, status) in
        [(json!({}), 400), (json!({ "tenantRole": "EMPEROR" }), 400), (json!({ "role": "USER" }), 400)]
    {
        assert_eq!(change(body.clone()).await.status, status, "{body}");
    }
    let ended = firm.asks(&lead, Method::DELETE, &path, None).await;
    assert_eq!((ended.status, ended.position.is_some()), (204, true), "{ended}");
    scene.bills_become(&token, &firm.slug, "403 forbidden not_a_member").await;
    assert_eq!(change(json!({ "suspended": true })).await.status, 404);
    assert_ne!(firm.member(&ada, "USER").await, member, "they may become a member anew");
}

/// Contract, *Who owns what*: the last superadmin stays, and nobody touches an equal or higher role.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_superadmin_stays_and_ranks_are_kept() {
    let scene = Scene::start().await;
    let people = [scene.person("Boss").await, scene.person("Admin").await, scene.person("Other admin").await];
    let firm = Firm::of(&scene, &people[0]).await;
    let lead = scene.sign_in(&people[0].email).await.access;
    let own = firm.access(&lead).await.text("/membershipId").unwrap_or_else(|error| panic!("{error:#}"));
    let own = format!("members/{own}");
    for (method, body) in [
        (Method::PATCH, Some(json!({ "tenantRole": "ADMIN" }))),
        (Method::PATCH, Some(json!({ "suspended": true }))),
        (Method::DELETE, None),
    ] {
        let refused = firm.asks(&lead, method.clone(), &own, body).await;
        assert_eq!(words(&refused), "409 conflict last_superadmin", "{method}");
    }
    let admin = firm.member(&people[1], "ADMIN").await;
    let other = format!("members/{}", firm.member(&people[2], "ADMIN").await);
    let token = scene.sign_in(&people[1].email).await.access;
    for path in [&own, &other, &format!("members/{admin}")] {
        let refused = firm.asks(&token, Method::PATCH, path, Some(json!({ "suspended": true }))).await;
        assert_eq!(words(&refused), "403 forbidden role_too_low", "{path}");
    }
    let ada = scene.person("Ada").await;
    let member = format!("members/{}", firm.member(&ada, "USER").await);
    let raised = firm.asks(&token, Method::PATCH, &member, Some(json!({ "tenantRole": "ADMIN" }))).await;
    assert_eq!(words(&raised), "403 forbidden role_too_low", "nobody makes somebody their equal");
    let raised = firm.asks(&token, Method::PATCH, &member, Some(json!({ "tenantRole": "MANAGER" }))).await;
    assert!(raised.is_success(), "{raised}");

    // Two superadmins who demote each other at the same moment: one of them stays.
    let second = format!("members/{admin}");
    let promoted = firm.asks(&lead, Method::PATCH, &second, Some(json!({ "tenantRole": "TENANT_SUPERADMIN" }))).await;
    assert!(promoted.is_success(), "{promoted}");
    let body = || Some(json!({ "tenantRole": "USER" }));
    let (by_first, by_second) =
        tokio::join!(firm.asks(&lead, Method::PATCH, &second, body()), firm.asks(&token, Method::PATCH, &own, body()));
    let done = [&by_first, &by_second].into_iter().filter(|answer| answer.is_success()).count();
    assert_eq!(done, 1, "{by_first}\n{by_second}");
}

/// Contract, *Who owns what*: what they hold ∩ the policy of their role, only to lower roles.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_manager_grants_is_held_and_within_the_policy_that_a_superadmin_has_set() {
    let scene = Scene::start().await;
    let (boss, manager, ada) = (scene.person("Boss").await, scene.person("Manager").await, scene.person("Ada").await);
    let firm = Firm::of(&scene, &boss).await;
    let lead = scene.sign_in(&boss.email).await.access;
    let (managers, member) = (firm.member(&manager, "MANAGER").await, firm.member(&ada, "USER").await);
    for grant in GRANTS {
        assert!(firm.asks(&lead, Method::PUT, &format!("members/{managers}/{grant}"), None).await.is_success());
    }
    let token = scene.sign_in(&manager.email).await.access;
    let grants = async || {
        let mut said = Vec::new();
        for grant in ["modules/finance", "permissions/finance.bills.read", "permissions/finance.bills.create"] {
            said.push(words(&firm.asks(&token, Method::PUT, &format!("members/{member}/{grant}"), None).await));
        }
        said
    };
    const NO: &str = "403 forbidden not_grantable";
    assert_eq!(grants().await, [NO, NO, NO], "without a policy nobody below superadmin grants");

    let policy = json!({ "modules": ["finance"], "permissions": ["finance.bills.read", "finance.bills.create"] });
    let path = "delegation-policy/MANAGER";
    let by_manager = firm.asks(&token, Method::PUT, path, Some(policy.clone())).await;
    assert_eq!(words(&by_manager), "403 forbidden role_too_low");
    let set = firm.asks(&lead, Method::PUT, path, Some(policy.clone())).await;
    assert_eq!((set.status, set.position.is_some()), (200, true), "{set}");
    let shown = firm.asks(&lead, Method::GET, path, None).await;
    assert_eq!(shown.body["data"]["permissions"], json!(["finance.bills.create", "finance.bills.read"]), "{shown}");
    assert_eq!(grants().await, ["200", "200", NO], "what they do not hold they cannot grant");
    let grantable = firm.access(&token).await;
    assert_eq!(
        grantable.body["data"]["delegation"]["grantablePermissions"],
        json!(["finance.bills.read"]),
        "{grantable}"
    );

    for (body, wanted) in [
        (json!({ "modules": ["casino"], "permissions": [] }), "422 unprocessable"),
        (json!({ "modules": [], "permissions": ["finance.bills.burn"] }), "422 unprocessable"),
        (json!({ "modules": [] }), "400 validation_error"),
    ] {
        assert_eq!(words(&firm.asks(&lead, Method::PUT, path, Some(body.clone())).await), wanted, "{body}");
    }
    let of_users = firm.asks(&lead, Method::PUT, "delegation-policy/USER", Some(policy)).await;
    assert_eq!(of_users.status, 400, "{of_users}");
    let none = json!({ "modules": [], "permissions": [] });
    let path = format!("/internal/v1/companies/{}/delegation-policy/MANAGER", firm.id);
    assert!(scene.admin(Ask::new(Method::PUT, &path).body(none)).await.is_success(), "the platform sets it too");
    assert_eq!(grants().await, [NO, NO, NO]);
}
