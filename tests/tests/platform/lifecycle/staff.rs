//! The platform's staff: who is admitted, who makes others staff, and that an owner stays.

use super::{OVER, Person, Scene};
use crate::log_command::kisum_with;
use kisum::platform::{Answer, Ask};
use kisum_tests::demo::words;
use reqwest::Method;
use serde_json::json;

async fn context(scene: &Scene, token: &str) -> Answer {
    scene.admin(Ask::new(Method::POST, "/internal/v1/staff-context").body(json!({})).actor(token)).await
}

impl Scene {
    async fn roles_of(&self, id: &str) -> Answer {
        self.admin(Ask::get(&format!("/internal/v1/staff/{id}"))).await
    }

    /// Gives or takes a role, as an owner, from the roles that were just shown.
    pub(super) async fn role(&self, token: &str, method: Method, id: &str, role: &str) -> Answer {
        let version = self.roles_of(id).await.body["data"]["version"].clone();
        let path = format!("/internal/v1/staff/{id}/roles/{role}?version={version}");
        self.admin(Ask::new(method, &path).actor(token)).await
    }

    async fn staff(&self, owner: &str, role: &str) -> (Person, String) {
        let person = self.person("Staff").await;
        let granted = self.role(owner, Method::PUT, &person.id, role).await;
        assert!(granted.is_success(), "{granted}");
        let signed = self.sign_in(&person.email).await;
        let token = self.with_second_factor(&signed.access, 0);
        (person, token)
    }
}

/// Contract, *Admin*: a second factor is required; staff roles give no membership.
#[tokio::test(flavor = "multi_thread")]
async fn staff_are_admitted_by_role_and_second_factor_and_are_nobody_s_member() {
    let scene = Scene::start().await;
    let owner = scene.owner(0).await;
    let said = context(&scene, &owner).await;
    assert_eq!(said.body["data"]["roles"], json!(["PLATFORM_OWNER"]), "{said}");
    assert_eq!((&said.body["data"]["acr"], &said.body["data"]["steppedUp"]), (&json!("aal2"), &json!(true)));
    let long_ago = scene.owner(601).await;
    assert_eq!(context(&scene, &long_ago).await.body["data"]["steppedUp"], false);

    let one_factor = scene.sign_in(&scene.made_owner().await.email).await.access;
    assert_eq!(words(&context(&scene, &one_factor).await), "403 forbidden step_up_required");
    let nobody = scene.person("Nobody").await;
    let signed = scene.sign_in(&nobody.email).await;
    let with_two = scene.with_second_factor(&signed.access, 0);
    assert_eq!(words(&context(&scene, &with_two).await), "403 forbidden role_too_low");
    assert_eq!(context(&scene, "nonsense").await.status, 401);
    let none = scene.admin(Ask::new(Method::POST, "/internal/v1/staff-context").body(json!({}))).await;
    assert_eq!(words(&none), "400 validation_error");
    assert_eq!(scene.bills(&owner, "acme-live").await, "403 forbidden not_a_member");
    let out = scene.auth(Some(&signed.access), Ask::new(Method::POST, "/auth/logout-all").body(json!({}))).await;
    assert_eq!(out.status, 204);
    assert_eq!(words(&context(&scene, &with_two).await), OVER);
}

/// security 31
#[tokio::test(flavor = "multi_thread")]
async fn only_an_owner_who_has_stepped_up_makes_others_staff_and_from_what_was_shown() {
    let scene = Scene::start().await;
    let owner = scene.owner(0).await;
    let (operator, operators) = scene.staff(&owner, "PLATFORM_OPERATOR").await;
    let person = scene.person("New").await;
    assert_eq!(words(&scene.role(&operators, Method::PUT, &person.id, "SUPPORT").await), "403 forbidden role_too_low");
    let long_ago = scene.owner(601).await;
    let late = scene.role(&long_ago, Method::PUT, &person.id, "SUPPORT").await;
    assert_eq!(words(&late), "403 forbidden step_up_required");
    let granting = format!("/internal/v1/staff/{}/roles/SUPPORT?version=0", person.id);
    let by_service = scene.admin(Ask::new(Method::PUT, &granting)).await;
    assert_eq!(words(&by_service), "400 validation_error");
    let outdated = format!("/internal/v1/staff/{}/roles/SUPPORT?version=0", operator.id);
    let outdated = scene.admin(Ask::new(Method::PUT, &outdated).actor(&owner)).await;
    assert_eq!(words(&outdated), "409 conflict version", "security 31");
    let unknown = scene.role(&owner, Method::PUT, &person.id, "EMPEROR").await;
    assert_eq!(unknown.status, 400, "{unknown}");

    let (_, support) = scene.staff(&owner, "SUPPORT").await;
    let path = format!("/internal/v1/users/{}", person.id);
    let sessions = scene.admin(Ask::get(&format!("{path}/sessions")).actor(&support)).await;
    assert!(sessions.is_success(), "{sessions}");
    let suspend = format!("{path}/suspend");
    let refused = scene.admin(Ask::new(Method::POST, &suspend).body(json!({})).actor(&support)).await;
    assert_eq!(words(&refused), "403 forbidden role_too_low");
    let suspended = scene.admin(Ask::new(Method::POST, &suspend).body(json!({})).actor(&operators)).await;
    assert!(suspended.is_success(), "{suspended}");

    let revoked = scene.role(&owner, Method::DELETE, &operator.id, "PLATFORM_OPERATOR").await;
    assert_eq!((revoked.status, revoked.position.is_some()), (204, true), "{revoked}");
    assert_eq!(scene.roles_of(&operator.id).await.body["data"]["roles"], json!([]));
    let again = scene.admin(Ask::new(Method::POST, &suspend).body(json!({})).actor(&operators)).await;
    assert_eq!(words(&again), "403 forbidden role_too_low", "what was taken counts at once");
}

/// security 8: users' own sessions by whoever administers them.
#[tokio::test(flavor = "multi_thread")]
async fn staff_see_and_end_a_person_s_sessions_and_only_that_person_s() {
    let scene = Scene::start().await;
    let (person, other) = (scene.person("Ada").await, scene.person("Bob").await);
    let (first, second) = (scene.sign_in(&person.email).await, scene.sign_in(&person.email).await);
    let path = format!("/internal/v1/users/{}/sessions", person.id);
    let listed = scene.admin(Ask::get(&path)).await;
    let ids: Vec<_> =
        listed.body["data"]["items"].as_array().into_iter().flatten().map(|it| it["id"].clone()).collect();
    assert_eq!(ids, [json!(super::session_of(&second)), json!(super::session_of(&first))], "{listed}");
    let elsewhere = format!("/internal/v1/users/{}/sessions/{}", other.id, super::session_of(&first));
    assert_eq!(scene.admin(Ask::new(Method::DELETE, &elsewhere)).await.status, 404);
    let ended = scene.admin(Ask::new(Method::DELETE, &format!("{path}/{}", super::session_of(&first)))).await;
    assert_eq!(ended.status, 204, "{ended}");
    assert_eq!(scene.me(&first.access).await, OVER);
    assert_eq!(scene.me(&second.access).await, "200");
}

/// On a platform of its own: that there is one owner is what it is about.
#[tokio::test(flavor = "multi_thread")]
async fn the_platform_has_one_first_owner_and_never_none() {
    let scene = Scene::of_its_own().await;
    let owner = scene.first_owner().await;
    let id = context(&scene, &owner).await.text("/userId").unwrap_or_else(|error| panic!("{error:#}"));
    let person = scene.person("Second").await;
    let variables = scene.stack().variables().unwrap_or_else(|failure| panic!("{failure}"));
    let (code, text) = kisum_with(&["staff", "bootstrap", "--email", &person.email], &variables).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("first owner already"), "{text}");
    let (code, text) = kisum_with(&["staff", "bootstrap", "--email", "nonsense"], &variables).await;
    assert_eq!(code, 2, "{text}");

    for (method, path) in [
        (Method::POST, format!("/internal/v1/users/{id}/suspend")),
        (Method::DELETE, format!("/internal/v1/staff/{id}/roles/PLATFORM_OWNER?version=1")),
    ] {
        let refused = scene.admin(Ask::new(method, &path).body(json!({})).actor(&owner)).await;
        assert_eq!(words(&refused), "409 conflict last_owner", "{path}");
    }
    let shown = scene.admin(Ask::get(&format!("/internal/v1/users/{id}/erasure"))).await;
    let body = json!({ "confirm": shown.body["data"]["confirm"] });
    let erase = format!("/internal/v1/users/{id}/erase");
    let refused = scene.admin(Ask::new(Method::POST, &erase).body(body).actor(&owner)).await;
    assert_eq!(words(&refused), "409 conflict last_owner");

    // Two owners who take the role from each other at the same moment: one of them stays.
    let (second, seconds) = scene.staff(&owner, "PLATFORM_OWNER").await;
    let (by_first, by_second) = tokio::join!(
        scene.role(&owner, Method::DELETE, &second.id, "PLATFORM_OWNER"),
        scene.role(&seconds, Method::DELETE, &id, "PLATFORM_OWNER"),
    );
    let done = [&by_first, &by_second].into_iter().filter(|answer| answer.is_success()).count();
    assert_eq!(done, 1, "{by_first}\n{by_second}");
    let mut owners = 0;
    for id in [&id, &second.id] {
        owners += usize::from(scene.roles_of(id).await.body["data"]["roles"] == json!(["PLATFORM_OWNER"]));
    }
    assert_eq!(owners, 1);
}

/// security 31: what was shown to both is not what the second one changes.
#[tokio::test(flavor = "multi_thread")]
async fn of_changes_that_were_decided_on_one_version_of_the_roles_one_counts() {
    let scene = &Scene::start().await;
    let owner = &scene.owner(0).await;
    let person = &scene.person("Two roles").await;
    let roles = ["SUPPORT", "CATALOG_EDITOR", "PLATFORM_OPERATOR"];
    let granting = roles.map(|role| async move {
        let path = format!("/internal/v1/staff/{}/roles/{role}?version=0", person.id);
        scene.admin(Ask::new(Method::PUT, &path).actor(owner)).await
    });
    let answers = futures_util::future::join_all(granting).await;
    let said: Vec<_> = answers.iter().map(words).collect();
    assert_eq!(said.iter().filter(|said| said.as_str() == "409 conflict version").count(), 2, "{said:?}");
    let won: Vec<_> =
        roles.iter().zip(&answers).filter(|(_, answer)| answer.is_success()).map(|(role, _)| role).collect();
    assert_eq!(scene.roles_of(&person.id).await.body["data"]["roles"], json!(won), "{said:?}");
}
