//! Delegations: what one member passes on to another for a time, which is worth what the giver holds, and ends with it.

use super::{BOUND, PAUSE, Person, Scene, members::Firm};
use kisum::{
    ambient::{Stopwatch, now},
    platform::{Answer, Ask},
};
use kisum_events::Timestamp;
use kisum_tests::{
    counted::new_uuid,
    demo::{Signed, words},
    seeded::Seeded,
};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

const READ: &str = "finance.bills.read";
const MISSING: &str = "403 forbidden missing_permission";
const HOUR: Duration = Duration::from_secs(3600);
/// Races of two commands, and how much earlier either begins at most.
const ROUNDS: usize = 12;
const HEAD_START_MS: u64 = 12;

/// A company in which a manager may read bills, and pass that on, and a user has the module alone.
struct Office<'a> {
    scene: &'a Scene,
    firm: Firm<'a>,
    lead: String,
    manager: Member,
    user: Member,
}

/// Somebody in it.
struct Member {
    id: String,
    person: Person,
    signed: Signed,
}

fn text(answer: &Answer, pointer: &str) -> String {
    answer.text(pointer).unwrap_or_else(|error| panic!("{answer}: {error:#}"))
}

impl<'a> Office<'a> {
    async fn of(scene: &'a Scene) -> Self {
        let boss = scene.person("Boss").await;
        let firm = Firm::of(scene, &boss).await;
        let lead = scene.sign_in(&boss.email).await.access;
        let member = async |standing: &str| {
            let person = scene.person(standing).await;
            let id = firm.member(&person, standing).await;
            let granted = firm.asks(&lead, Method::PUT, &format!("members/{id}/modules/finance"), None).await;
            assert!(granted.is_success(), "{granted}");
            Member { id, signed: scene.sign_in(&person.email).await, person }
        };
        let (manager, user) = (member("MANAGER").await, member("USER").await);
        let body = json!({ "modules": [], "permissions": [READ] });
        let set = firm.asks(&lead, Method::PUT, "delegation-policy/MANAGER", Some(body)).await;
        assert!(set.is_success(), "{set}");
        let office = Self { scene, firm, lead, manager, user };
        office.manager_may(Method::PUT).await;
        office
    }

    /// Grants the manager the permission, or takes it back.
    async fn manager_may(&self, method: Method) {
        let path = format!("members/{}/permissions/{READ}", self.manager.id);
        let answer = self.firm.asks(&self.lead, method, &path, None).await;
        assert!(answer.is_success(), "{answer}");
    }

    async fn delegates(&self, by: &str, body: Value) -> Answer {
        self.firm.asks(by, Method::POST, "delegations", Some(body)).await
    }

    fn hour(&self) -> Value {
        json!({ "to": self.user.id, "permissions": [READ], "validUntil": now().plus(HOUR) })
    }

    async fn passes_on(&self) -> String {
        let made = self.delegates(&self.manager.signed.access, self.hour()).await;
        assert_eq!((made.status, made.position.is_some()), (201, true), "{made}");
        text(&made, "/delegationId")
    }

    async fn user_s_bills_become(&self, wanted: &str) {
        self.scene.bills_become(&self.user.signed.access, &self.firm.slug, wanted).await;
    }

    /// That a backend lets the user in no longer than the bound after the answer to a command.
    async fn is_over_within_the_bound(&self) {
        let watch = Stopwatch::start();
        loop {
            let asked = watch.elapsed();
            let said = self.scene.bills(&self.user.signed.access, &self.firm.slug).await;
            // "Not now" may be said for as long as a busy machine takes.
            if said == MISSING {
                return;
            }
            assert!(asked < BOUND || said != "200", "let through after {asked:?}: {said}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Ids of what somebody has passed on and received.
    async fn listed(&self, token: &str, whose: &str) -> (Vec<String>, Vec<String>) {
        let answer = self.firm.asks(token, Method::GET, &format!("delegations{whose}"), None).await;
        assert!(answer.is_success(), "{answer}");
        let ids = |pointer: &str| {
            let all = answer.body["data"][pointer].as_array().cloned().unwrap_or_default();
            all.iter().filter_map(|one| one["delegationId"].as_str().map(str::to_owned)).collect()
        };
        (ids("given"), ids("received"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_passed_on_is_worth_what_its_giver_holds_and_ends_with_it() {
    let scene = Scene::start().await;
    let office = Office::of(&scene).await;
    office.user_s_bills_become(MISSING).await;
    let id = office.passes_on().await;
    office.user_s_bills_become("200").await;
    let access = office.firm.access(&office.user.signed.access).await;
    assert!(access.text("/validUntil").is_ok(), "it is good for a time: {access}");
    assert_eq!(access.body["data"]["delegation"]["grantablePermissions"], json!([]), "and nothing to give: {access}");
    let both = (vec![], vec![id.clone()]);
    assert_eq!(office.listed(&office.user.signed.access, "").await, both);
    assert_eq!(office.listed(&office.lead, &format!("?member={}", office.user.id)).await, both);
    assert_eq!(office.listed(&office.manager.signed.access, "").await, (vec![id.clone()], vec![]));

    // The giver as a person: nothing of it is worth anything while they may do nothing, and it counts again with them.
    assert!(scene.stands(&office.manager.person, "suspend").await.is_success());
    office.is_over_within_the_bound().await;
    assert!(scene.stands(&office.manager.person, "reactivate").await.is_success());
    office.user_s_bills_become("200").await;

    // The giver's right: the delegation is over with it, and does not come back with it.
    office.manager_may(Method::DELETE).await;
    office.is_over_within_the_bound().await;
    assert_eq!(office.listed(&office.user.signed.access, "").await, (vec![], vec![]));
    office.manager_may(Method::PUT).await;
    assert_eq!(words(&office.firm.access(&office.user.signed.access).await), "200");
    office.user_s_bills_become(MISSING).await;
    let audit = office.firm.asks(&office.lead, Method::GET, "audit?type=delegation.ended", None).await;
    assert_eq!(audit.body["data"]["items"][0]["data"]["cause"], "giver_narrowed", "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_takes_its_giver_s_standing_ends_it_in_the_same_append() {
    let scene = Scene::start().await;
    let office = Office::of(&scene).await;
    let member = format!("members/{}", office.manager.id);
    for (method, path, body) in [
        (Method::PATCH, member.clone(), Some(json!({ "suspended": true }))),
        (Method::PATCH, member.clone(), Some(json!({ "tenantRole": "USER" }))),
        (Method::DELETE, format!("{member}/modules/finance"), None),
        (Method::DELETE, member.clone(), None),
    ] {
        office.passes_on().await;
        office.user_s_bills_become("200").await;
        let narrowed = office.firm.asks(&office.lead, method.clone(), &path, body).await;
        assert!(narrowed.is_success(), "{narrowed}");
        office.is_over_within_the_bound().await;
        assert_eq!(office.listed(&office.user.signed.access, "").await, (vec![], vec![]), "{method} {path}");
        if path == member && method == Method::DELETE {
            break;
        }
        let back = json!({ "suspended": false, "tenantRole": "MANAGER" });
        assert!(office.firm.asks(&office.lead, Method::PATCH, &member, Some(back)).await.is_success());
        let back = office.firm.asks(&office.lead, Method::PUT, &format!("{member}/modules/finance"), None).await;
        assert!(back.is_success(), "{back}");
    }
}

/// Nothing happens when a delegation begins or ends: what was resolved before says until when it is good.
#[tokio::test(flavor = "multi_thread")]
async fn it_begins_and_ends_by_itself() {
    let scene = Scene::start().await;
    let office = Office::of(&scene).await;
    let (from, until) = (now().plus(Duration::from_secs(4)), now().plus(Duration::from_secs(10)));
    let body = json!({ "to": office.user.id, "permissions": [READ], "validFrom": from, "validUntil": until });
    let made = office.delegates(&office.manager.signed.access, body).await;
    assert_eq!(made.status, 201, "{made}");
    loop {
        let asked = now();
        let said = scene.bills(&office.user.signed.access, &office.firm.slug).await;
        let answered: Timestamp = now();
        assert!(said != "200" || answered >= from, "let in before its time");
        assert!(said != MISSING || asked < from || answered >= until, "kept out in its time: {said}");
        if asked >= until {
            assert_ne!(said, "200", "let in after its time");
            if said == MISSING {
                return;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_pass_something_on_is_told_why_and_a_repetition_is_answered_alike() {
    let scene = Scene::start().await;
    let office = Office::of(&scene).await;
    let (manager, user) = (&office.manager.signed.access, &office.user.signed.access);
    let with = |field: &str, value: Value| {
        let mut body = office.hour();
        body[field] = value;
        body
    };
    let long = now().plus(91 * 24 * HOUR);
    for (by, body, refused) in [
        (user, with("to", json!(office.manager.id)), "403 forbidden role_too_low"),
        (manager, with("to", json!(office.manager.id)), "422 unprocessable"),
        (manager, with("to", json!(new_uuid())), "404 not_found"),
        (manager, with("permissions", json!(["finance.bills.create"])), "403 forbidden not_grantable"),
        (manager, with("permissions", json!(["no.such.permission"])), "422 unprocessable"),
        (manager, with("permissions", json!([])), "400 validation_error"),
        (manager, with("validUntil", json!(long)), "422 unprocessable"),
        (manager, with("validUntil", json!("2020-01-01T00:00:00Z")), "422 unprocessable"),
        (manager, with("validUntil", json!("tomorrow")), "400 validation_error"),
        (manager, with("for", json!("ever")), "400 validation_error"),
        (&office.lead, office.hour(), "403 forbidden not_grantable"),
    ] {
        let answer = office.delegates(by, body.clone()).await;
        assert_eq!(words(&answer), refused, "{body}");
    }
    let other = format!("delegations?member={}", office.manager.id);
    let refused = office.firm.asks(user, Method::GET, &other, None).await;
    assert_eq!(words(&refused), "403 forbidden role_too_low", "another's are a manager's business");

    let (key, body, path) = (new_uuid(), office.hour(), format!("/companies/{}/delegations", office.firm.id));
    let send = async || {
        let ask = Ask::new(Method::POST, &path).company(&office.firm.slug).body(body.clone());
        let answer = scene.auth(Some(manager), ask.key(key)).await;
        assert_eq!(answer.status, 201, "{answer}");
        text(&answer, "/delegationId")
    };
    let id = send().await;
    assert_eq!(send().await, id, "the same command is carried out once");
    assert_eq!(office.listed(manager, "").await, (vec![id.clone()], vec![]));

    // Another company knows nothing of it, and neither does a bystander end it.
    let stranger = Office::of(&scene).await;
    let path = format!("delegations/{id}");
    let hidden = stranger.firm.asks(&stranger.lead, Method::DELETE, &path, None).await;
    assert_eq!(words(&hidden), "404 not_found");
    for by in [user, user] {
        let ended = office.firm.asks(by, Method::DELETE, &path, None).await;
        assert_eq!(ended.status, 204, "whoever received it may end it, and twice is once: {ended}");
    }
    assert_eq!(send().await, id, "what a command did then is its receipt");
    assert_eq!(office.listed(manager, "").await, (vec![], vec![]));
}

/// A right that is passed on while it is taken: either the giver came too late, or what they gave is over with it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_passed_on_while_its_giver_loses_it_is_over_too() {
    let scene = Scene::start().await;
    let office = Office::of(&scene).await;
    let mut chance = Seeded::new(6);
    for round in 0..ROUNDS {
        let [first, second] = [(); 2].map(|()| Duration::from_millis(chance.below(HEAD_START_MS)));
        let passing = async {
            tokio::time::sleep(first).await;
            office.delegates(&office.manager.signed.access, office.hour()).await
        };
        let taking = async {
            tokio::time::sleep(second).await;
            office.manager_may(Method::DELETE).await;
        };
        let (passed, ()) = tokio::join!(passing, taking);
        let said = words(&passed);
        assert!(["201", "403 forbidden not_grantable", "409 conflict version"].contains(&&*said), "{round}: {passed}");
        assert_eq!(office.listed(&office.user.signed.access, "").await, (vec![], vec![]), "{round}: {passed}");
        office.manager_may(Method::PUT).await;
    }
}
