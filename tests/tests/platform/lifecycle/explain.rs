//! Why somebody may do what they may, and why not: every answer names the events behind it.

use super::{Scene, members::Firm};
use kisum::{
    ambient::now,
    platform::{Answer, Ask},
};
use kisum_tests::{counted::new_uuid, demo::words};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

const READ: &str = "finance.bills.read";
const CREATE: &str = "finance.bills.create";

struct Office<'a> {
    scene: &'a Scene,
    firm: Firm<'a>,
    lead: String,
}

impl<'a> Office<'a> {
    async fn of(scene: &'a Scene) -> Self {
        let boss = scene.person("Boss").await;
        let firm = Firm::of(scene, &boss).await;
        let lead = scene.sign_in(&boss.email).await.access;
        Self { scene, firm, lead }
    }

    /// A command of the superadmin; answers with the position of its last event.
    async fn does(&self, method: Method, path: &str, body: Option<Value>) -> (u64, Answer) {
        let answer = self.firm.asks(&self.lead, method, path, body).await;
        assert!(answer.is_success(), "{path}: {answer}");
        let position = answer.position.as_deref().and_then(|text| text.rsplit('.').next()?.parse().ok());
        (position.unwrap_or_else(|| panic!("{answer}")), answer)
    }

    async fn explains(&self, user: &str, rest: &str) -> Value {
        let path = format!("/internal/v1/access/explain?user={user}{rest}");
        let answer = self.scene.admin(Ask::get(&path).company(&self.firm.slug)).await;
        assert!(answer.is_success(), "{answer}");
        answer.body["data"].clone()
    }

    /// The first rule that fails of reading bills, what the caller hears, and the type and position of the event behind it.
    async fn fails(&self, user: &str, permission: &str) -> (String, String, String, u64) {
        let said = self.explains(user, &format!("&permission={permission}")).await;
        assert_eq!(said["isAllowed"], said["failed"].is_null(), "{said}");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let failed = &said["failed"];
        let event = &failed["event"];
        let position = event["position"].as_u64().unwrap_or_default();
        (text(&failed["rule"]), text(&failed["reason"]), text(&event["type"]), position)
    }
}

fn failed(rule: &str, reason: &str, event: &str, position: u64) -> (String, String, String, u64) {
    (rule.to_owned(), reason.to_owned(), event.to_owned(), position)
}

/// The types and positions of the events of each source of a permission, by kind.
fn sources(said: &Value, permission: &str) -> Vec<(String, Vec<(String, u64)>)> {
    let permissions = said["permissions"].as_array().cloned().unwrap_or_default();
    let found = permissions.into_iter().find(|one| one["permission"] == permission).unwrap_or_default();
    let of = |source: &Value| {
        let events = source["events"].as_array().cloned().unwrap_or_default();
        let events = events.iter().map(|event| {
            let kind = event["type"].as_str().unwrap_or_default().to_owned();
            (kind, event["position"].as_u64().unwrap_or_default())
        });
        (source["kind"].as_str().unwrap_or_default().to_owned(), events.collect())
    };
    found["sources"].as_array().map(|all| all.iter().map(of).collect()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_somebody_holds_names_the_events_that_gave_it() {
    let scene = Scene::start().await;
    let office = Office::of(&scene).await;
    let (ada, manager) = (scene.person("Ada").await, scene.person("Manager").await);
    let (member, giver) = (office.firm.member(&ada, "USER").await, office.firm.member(&manager, "MANAGER").await);
    let (module, _) = office.does(Method::PUT, &format!("members/{member}/modules/finance"), None).await;
    let (direct, _) = office.does(Method::PUT, &format!("members/{member}/permissions/{READ}"), None).await;
    let body = json!({ "name": "Books", "permissions": [] });
    let (_, role) = office.does(Method::POST, "roles", Some(body)).await;
    let role = role.text("/roleId").unwrap_or_else(|error| panic!("{error:#}"));
    let (added, _) = office.does(Method::PATCH, &format!("roles/{role}"), Some(json!({ "permissions": [READ] }))).await;
    let (assigned, _) = office.does(Method::PUT, &format!("members/{member}/roles/{role}"), None).await;
    office.does(Method::PUT, &format!("members/{giver}/modules/finance"), None).await;
    office.does(Method::PUT, &format!("members/{giver}/permissions/{READ}"), None).await;
    let policy = json!({ "modules": [], "permissions": [READ] });
    office.does(Method::PUT, "delegation-policy/MANAGER", Some(policy)).await;
    let token = scene.sign_in(&manager.email).await.access;
    let body = json!({ "to": member, "permissions": [READ], "validUntil": now().plus(Duration::from_secs(600)) });
    let given = office.firm.asks(&token, Method::POST, "delegations", Some(body)).await;
    assert_eq!(given.status, 201, "{given}");

    let said = office.explains(&ada.id, &format!("&permission={READ}")).await;
    assert_eq!((&said["isAllowed"], &said["membershipId"]), (&json!(true), &json!(member)), "{said}");
    let finance = &said["modules"][0];
    assert_eq!((&finance["module"], &finance["isUsable"]), (&json!("finance"), &json!(true)), "{said}");
    assert_eq!(finance["granted"][0]["events"][0]["position"], json!(module), "{said}");
    let owned = &finance["owned"][0];
    assert_eq!((&owned["source"]["type"], &owned["event"]["log"]), (&json!("addon"), &json!("core")), "{said}");
    let found = sources(&said, READ);
    let event = |name: &str, position: u64| (name.to_owned(), position);
    assert_eq!(found[0], ("grant".to_owned(), vec![event("membership.permission_granted", direct)]), "{said}");
    let by_role = vec![event("membership.role_assigned", assigned), event("role.changed", added)];
    assert_eq!(found[1], ("role".to_owned(), by_role), "{said}");
    assert_eq!(
        (found.len(), found[2].0.as_str(), found[2].1[0].0.as_str()),
        (3, "delegation", "membership.delegation_received")
    );
    let by = &said["permissions"][0]["sources"][0]["events"][0]["actor"];
    assert!(by.as_str().is_some_and(|actor| actor.starts_with("user:")), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_refused_names_the_first_rule_that_fails_and_the_event_behind_it() {
    let scene = Scene::start().await;
    let office = Office::of(&scene).await;
    let ada = scene.person("Ada").await;
    assert_eq!(
        office.fails(&ada.id, READ).await,
        failed("member", "not_a_member", "", 0),
        "there never was a membership"
    );
    let member = office.firm.member(&ada, "USER").await;
    let path = format!("members/{member}");
    assert_eq!(office.fails(&ada.id, "market.contracts.read").await, failed("module_owned", "module_not_owned", "", 0));
    assert_eq!(office.fails(&ada.id, READ).await, failed("module_granted", "module_not_granted", "", 0));
    office.does(Method::PUT, &format!("{path}/modules/finance"), None).await;
    assert_eq!(office.fails(&ada.id, READ).await, failed("permission_held", "missing_permission", "", 0));

    let grant = format!("{path}/permissions/{READ}");
    office.does(Method::PUT, &grant, None).await;
    assert_eq!(office.fails(&ada.id, READ).await, failed("", "", "", 0), "all is well");
    let (taken, _) = office.does(Method::DELETE, &grant, None).await;
    let expected = failed("permission_held", "missing_permission", "membership.permission_revoked", taken);
    assert_eq!(office.fails(&ada.id, READ).await, expected);
    assert_eq!(office.fails(&ada.id, CREATE).await, failed("permission_held", "missing_permission", "", 0));

    // A role that was changed, and one that was taken back.
    let body = json!({ "name": "Books", "permissions": [READ, CREATE] });
    let (_, role) = office.does(Method::POST, "roles", Some(body)).await;
    let role = role.text("/roleId").unwrap_or_else(|error| panic!("{error:#}"));
    office.does(Method::PUT, &format!("{path}/roles/{role}"), None).await;
    let (changed, _) =
        office.does(Method::PATCH, &format!("roles/{role}"), Some(json!({ "permissions": [READ] }))).await;
    let expected = failed("permission_held", "missing_permission", "role.changed", changed);
    assert_eq!(office.fails(&ada.id, CREATE).await, expected);
    let (unassigned, _) = office.does(Method::DELETE, &format!("{path}/roles/{role}"), None).await;
    let expected = failed("permission_held", "missing_permission", "membership.role_unassigned", unassigned);
    assert_eq!(office.fails(&ada.id, READ).await, expected);

    let (gone, _) = office.does(Method::DELETE, &format!("{path}/modules/finance"), None).await;
    let expected = failed("module_granted", "module_not_granted", "membership.module_revoked", gone);
    assert_eq!(office.fails(&ada.id, READ).await, expected);
    let (_, suspended) = office.does(Method::PATCH, &path, Some(json!({ "suspended": true }))).await;
    let (rule, reason, event, _) = office.fails(&ada.id, READ).await;
    assert_eq!((&*rule, &*reason, &*event), ("membership_active", "suspended", "membership.suspended"), "{suspended}");
    office.does(Method::PATCH, &path, Some(json!({ "suspended": false }))).await;
    assert!(scene.stands(&ada, "suspend").await.is_success());
    let (rule, reason, event, _) = office.fails(&ada.id, READ).await;
    assert_eq!((&*rule, &*reason, &*event), ("person_active", "suspended", "user.suspended"));
    assert!(scene.stands(&ada, "reactivate").await.is_success());
    office.does(Method::DELETE, &path, None).await;
    let (rule, _, event, _) = office.fails(&ada.id, READ).await;
    assert_eq!((&*rule, &*event), ("member", "membership.revoked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_companies_are_explained_and_what_is_asked_wrongly_is_said() {
    let scene = Scene::start().await;
    let office = Office::of(&scene).await;
    let ada = scene.person("Ada").await;
    office.firm.member(&ada, "USER").await;
    let signed = scene.sign_in(&ada.email).await;
    let session = super::session_of(&signed);
    let of_session = async || office.explains(&ada.id, &format!("&session={session}")).await;
    assert_eq!(of_session().await["isAllowed"], json!(true));
    let logout = Ask::new(Method::POST, "/auth/logout").body(json!({ "refreshToken": signed.refresh }));
    assert!(scene.auth(None, logout).await.is_success());
    let said = of_session().await;
    assert_eq!(said["failed"]["rule"], "session_live", "{said}");
    assert_eq!(said["failed"]["event"]["type"], "session.ended", "{said}");

    let suspend = format!("/internal/v1/companies/{}/suspend", office.firm.id);
    assert!(scene.admin(Ask::new(Method::POST, &suspend).body(json!({ "reason": "unpaid" }))).await.is_success());
    let said = office.explains(&ada.id, "").await;
    assert_eq!(
        (&said["failed"]["rule"], &said["failed"]["event"]["type"]),
        (&json!("company_active"), &json!("company.suspended"))
    );

    let nobody = format!("/internal/v1/access/explain?user={}", new_uuid());
    let said = scene.admin(Ask::get(&nobody).company("no-such-company")).await;
    assert_eq!(
        (&said.body["data"]["failed"]["rule"], &said.body["data"]["companyId"]),
        (&json!("member"), &Value::Null)
    );
    for (query, refused) in [
        ("", "400 validation_error"),
        ("user=x", "400 validation_error"),
        (&format!("user={}&permission=bills", ada.id), "422 unprocessable"),
        (&format!("user={}&who=me", ada.id), "400 validation_error"),
    ] {
        let path = format!("/internal/v1/access/explain?{query}");
        let answer = scene.admin(Ask::get(&path).company("acme-live")).await;
        assert_eq!(words(&answer), refused, "{query}");
    }
    let path = format!("/internal/v1/access/explain?user={}", ada.id);
    for ask in [Ask::get(&path), Ask::get(&path).company("NO COMPANY")] {
        assert_eq!(words(&scene.admin(ask).await), "400 validation_error");
    }
}
