//! Named roles: sets of permissions that members of a company are given together.

use super::{BOUND, PAUSE, Person, Scene, members::Firm};
use kisum::{
    ambient::Stopwatch,
    local::databases::Database,
    platform::{Answer, Ask},
};
use kisum_tests::{
    counted::new_uuid,
    demo::{Signed, texts, words},
    seeded::Seeded,
};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use std::time::Duration;

const READ: &str = "finance.bills.read";
const CREATE: &str = "finance.bills.create";
const NOT_GRANTABLE: &str = "403 forbidden not_grantable";
/// Races of two commands, and how much earlier either begins at most.
const ROUNDS: usize = 20;
const HEAD_START_MS: u64 = 6;

/// A company with a superadmin who is signed in.
struct Office<'a> {
    scene: &'a Scene,
    firm: Firm<'a>,
    lead: String,
}

/// Somebody in it.
struct Member {
    id: String,
    signed: Signed,
}

impl<'a> Office<'a> {
    async fn of(scene: &'a Scene) -> Self {
        let boss = scene.person("Boss").await;
        let firm = Firm::of(scene, &boss).await;
        let lead = scene.sign_in(&boss.email).await.access;
        Self { scene, firm, lead }
    }

    /// Adds somebody, with the module that every role of these tests is about.
    async fn member(&self, standing: &str) -> Member {
        let person: Person = self.scene.person(standing).await;
        let id = self.firm.member(&person, standing).await;
        self.put(&format!("members/{id}/modules/finance")).await;
        Member { id, signed: self.scene.sign_in(&person.email).await }
    }

    async fn put(&self, path: &str) -> Answer {
        let answer = self.firm.asks(&self.lead, Method::PUT, path, None).await;
        assert!(answer.is_success(), "{path}: {answer}");
        answer
    }

    async fn role(&self, name: &str, permissions: &[&str]) -> String {
        let body = json!({ "name": name, "permissions": permissions });
        let made = self.firm.asks(&self.lead, Method::POST, "roles", Some(body)).await;
        assert_eq!((made.status, made.position.is_some()), (201, true), "{made}");
        made.text("/roleId").unwrap_or_else(|error| panic!("{error:#}"))
    }

    async fn becomes(&self, role: &str, permissions: &[&str]) -> Answer {
        let body = json!({ "permissions": permissions });
        self.firm.asks(&self.lead, Method::PATCH, &format!("roles/{role}"), Some(body)).await
    }

    async fn policy(&self, permissions: &[&str]) {
        let body = json!({ "modules": ["finance"], "permissions": permissions });
        let set = self.firm.asks(&self.lead, Method::PUT, "delegation-policy/MANAGER", Some(body)).await;
        assert!(set.is_success(), "{set}");
    }

    /// That a backend lets somebody in no longer than the bound after the answer to a command, and what it says then.
    async fn refused_within_the_bound(&self, member: &Member) -> String {
        let watch = Stopwatch::start();
        loop {
            let asked = watch.elapsed();
            let said = self.scene.bills(&member.signed.access, &self.firm.slug).await;
            // "Not now" may be said for as long as a busy machine takes.
            if said.starts_with("403") {
                return said;
            }
            assert!(asked < BOUND || said != "200", "let through after {asked:?}");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn position(answer: &Answer) -> u64 {
    let text = answer.position.as_deref().unwrap_or_default();
    text.rsplit('.').next().and_then(|part| part.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_is_changed_changes_what_everybody_who_has_it_may_do_at_a_backend() {
    let scene = Scene::start().await;
    let office = Office::of(&scene).await;
    let members = [office.member("USER").await, office.member("MANAGER").await];
    let role = office.role("Bookkeepers", &[READ]).await;
    let slug = &office.firm.slug;
    for member in &members {
        let assigned = office.put(&format!("members/{}/roles/{role}", member.id)).await;
        assert_eq!(assigned.body["data"]["roles"], json!([role]), "{assigned}");
        scene.bills_become(&member.signed.access, slug, "200").await;
    }
    let listed = office.firm.asks(&office.lead, Method::GET, "members?tenantRole=USER", None).await;
    assert_eq!(listed.body["data"]["items"][0]["roles"], json!([role]), "{listed}");
    const MISSING: &str = "403 forbidden missing_permission";
    let narrowed = office.becomes(&role, &[]).await;
    assert!(narrowed.is_success(), "{narrowed}");
    for member in &members {
        assert_eq!(office.refused_within_the_bound(member).await, MISSING);
        let access = office.firm.access(&member.signed.access).await;
        assert_eq!(texts(&access, "/permissions"), [""; 0], "{access}");
        let version = access.body["data"]["meta"]["accessVersion"].as_u64();
        assert!(version >= Some(position(&narrowed)), "{access}");
    }
    let widened = office.becomes(&role, &[CREATE, READ]).await;
    assert_eq!(widened.body["data"]["permissions"], json!([CREATE, READ]), "{widened}");
    for member in &members {
        // Whoever asks the process that carried the command out sees it done.
        let access = office.firm.access(&member.signed.access).await;
        assert_eq!(texts(&access, "/permissions"), [CREATE, READ], "{access}");
        scene.bills_become(&member.signed.access, slug, "200").await;
    }
    let path = format!("members/{}/roles/{role}", members[0].id);
    assert_eq!(office.firm.asks(&office.lead, Method::DELETE, &path, None).await.status, 204);
    assert_eq!(office.refused_within_the_bound(&members[0]).await, MISSING);
    assert_eq!(scene.bills(&members[1].signed.access, slug).await, "200");

    // Deleting it is one event, whoever still has it.
    let path = format!("roles/{role}");
    let deleted = office.firm.asks(&office.lead, Method::DELETE, &path, None).await;
    assert_eq!((deleted.status, deleted.position.is_some()), (204, true), "{deleted}");
    assert_eq!(office.refused_within_the_bound(&members[1]).await, MISSING);
    assert_eq!(office.firm.asks(&office.lead, Method::DELETE, &path, None).await.status, 204, "twice is once");
    assert_eq!(words(&office.becomes(&role, &[READ]).await), "404 not_found");
    let path = format!("members/{}/roles/{role}", members[0].id);
    assert_eq!(words(&office.firm.asks(&office.lead, Method::PUT, &path, None).await), "404 not_found");
    office.role("bookkeepers", &[READ]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_of_another_company_is_as_unknown_as_one_that_there_is_not() {
    let scene = Scene::start().await;
    let (office, other) = (Office::of(&scene).await, Office::of(&scene).await);
    let (member, theirs) = (office.member("USER").await, other.role("Bookkeepers", &[READ]).await);
    let body = json!({ "permissions": [] });
    for unknown in [theirs.clone(), new_uuid().to_string()] {
        let assignment = format!("members/{}/roles/{unknown}", member.id);
        let assigned = office.firm.asks(&office.lead, Method::PUT, &assignment, None).await;
        let changed =
            office.firm.asks(&office.lead, Method::PATCH, &format!("roles/{unknown}"), Some(body.clone())).await;
        let deleted = office.firm.asks(&office.lead, Method::DELETE, &format!("roles/{unknown}"), None).await;
        assert_eq!([&assigned, &changed, &deleted].map(words), ["404 not_found"; 3]);
        assert_eq!(assigned.body["error"]["message"], "The company has no such role.");
        let base = format!("/internal/v1/companies/{}", office.firm.id);
        let assigned = scene.admin(Ask::new(Method::PUT, &format!("{base}/{assignment}"))).await;
        let path = format!("{base}/roles/{unknown}");
        let changed = scene.admin(Ask::new(Method::PATCH, &path).body(body.clone())).await;
        let deleted = scene.admin(Ask::new(Method::DELETE, &path)).await;
        let answers = [assigned, changed, deleted];
        assert_eq!(answers.each_ref().map(words), ["404 not_found"; 3]);
    }
    let listed = other.firm.asks(&other.lead, Method::GET, "roles", None).await;
    assert_eq!(listed.body["data"]["items"][0]["permissions"], json!([READ]), "{listed}");
    let listed = office.firm.asks(&office.lead, Method::GET, "roles", None).await;
    assert_eq!(listed.body["data"]["items"], json!([]), "{listed}");
}

/// Contract, *Who owns what*: what they hold ∩ the policy of their role, only to lower roles.
#[tokio::test(flavor = "multi_thread")]
async fn a_manager_assigns_roles_all_of_which_they_could_grant_and_may_hold_it_by_a_role_themselves() {
    let scene = Scene::start().await;
    let office = Office::of(&scene).await;
    let (manager, user, equal) =
        (office.member("MANAGER").await, office.member("USER").await, office.member("MANAGER").await);
    let (readers, writers) = (office.role("Readers", &[READ]).await, office.role("Writers", &[CREATE, READ]).await);
    office.policy(&[CREATE, READ]).await;
    let asks = async |method: Method, on: &Member, role: &str| {
        let path = format!("members/{}/roles/{role}", on.id);
        office.firm.asks(&manager.signed.access, method, &path, None).await
    };
    assert_eq!(words(&asks(Method::PUT, &user, &readers).await), NOT_GRANTABLE, "they do not hold it");
    office.put(&format!("members/{}/roles/{readers}", manager.id)).await;
    assert_eq!(words(&asks(Method::PUT, &user, &readers).await), "200");
    let refused = asks(Method::PUT, &user, &writers).await;
    assert_eq!(words(&refused), NOT_GRANTABLE);
    assert!(refused.body["error"]["message"].as_str().unwrap_or_default().contains(CREATE), "{refused}");
    assert_eq!(words(&asks(Method::PUT, &equal, &readers).await), "403 forbidden role_too_low");
    let grant = format!("members/{}/permissions/{READ}", user.id);
    assert!(office.firm.asks(&manager.signed.access, Method::PUT, &grant, None).await.is_success());
    let access = office.firm.access(&manager.signed.access).await;
    assert_eq!(texts(&access, "/delegation/grantablePermissions"), [READ], "{access}");

    assert_eq!(asks(Method::DELETE, &user, &readers).await.status, 204, "what one may give one may take back");
    office.put(&format!("members/{}/roles/{writers}", user.id)).await;
    assert_eq!(words(&asks(Method::DELETE, &user, &writers).await), "403 forbidden role_too_low");
    office.policy(&[]).await;
    assert_eq!(words(&asks(Method::PUT, &user, &readers).await), NOT_GRANTABLE, "the policy is a ceiling");
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_made_by_superadmins_and_the_platform_of_what_the_company_owns() {
    let scene = Scene::start().await;
    let office = Office::of(&scene).await;
    let admin = office.member("ADMIN").await;
    let role = office.role("Bookkeepers", &[READ]).await;
    let path = format!("roles/{role}");
    let body = || json!({ "name": "Others", "permissions": [READ] });
    for (method, path, body) in [
        (Method::POST, "roles", Some(body())),
        (Method::PATCH, path.as_str(), Some(body())),
        (Method::DELETE, path.as_str(), None),
    ] {
        let refused = office.firm.asks(&admin.signed.access, method.clone(), path, body).await;
        assert_eq!(words(&refused), "403 forbidden role_too_low", "{method}");
    }
    let named = |name: &str, permissions: &[&str]| json!({ "name": name, "permissions": permissions });
    let too_long = "x".repeat(81);
    let many: Vec<String> = (0..151).map(|number| format!("finance.bills.p{number}")).collect();
    for (body, wanted) in [
        (named("BOOKKEEPERS ", &[READ]), "409 conflict name_taken"),
        (named("", &[READ]), "400 validation_error"),
        (named(&too_long, &[READ]), "400 validation_error"),
        (named("a\nb", &[READ]), "400 validation_error"),
        (json!({ "name": "Many", "permissions": many }), "400 validation_error"),
        (json!({ "name": "None" }), "400 validation_error"),
        (named("Unknown", &["finance.bills.burn"]), "422 unprocessable"),
        (named("No key", &["Bills"]), "422 unprocessable"),
        (named("Not owned", &["market.contracts.read"]), "403 forbidden module_not_owned"),
    ] {
        assert_eq!(
            words(&office.firm.asks(&office.lead, Method::POST, "roles", Some(body.clone())).await),
            wanted,
            "{body}"
        );
    }
    let change = async |body: Value| office.firm.asks(&office.lead, Method::PATCH, &path, Some(body)).await;
    assert_eq!(words(&change(json!({})).await), "400 validation_error");
    let renamed = change(json!({ "name": "Auditors" })).await;
    assert_eq!((renamed.body["data"]["name"].as_str(), renamed.status), (Some("Auditors"), 200), "{renamed}");
    assert_eq!(renamed.body["data"]["permissions"], json!([READ]), "{renamed}");
    assert!(change(json!({ "name": "AUDITORS" })).await.is_success(), "one's own name in another case");
    let other = office.role("Bookkeepers", &[]).await;
    let other = format!("roles/{other}");
    let taken = office.firm.asks(&office.lead, Method::PATCH, &other, Some(json!({ "name": "auditors" }))).await;
    assert_eq!(words(&taken), "409 conflict name_taken");

    // The platform, and the same command sent twice.
    let base = format!("/internal/v1/companies/{}", office.firm.id);
    let (key, path) = (new_uuid(), format!("{base}/roles"));
    let make = || Ask::new(Method::POST, &path).body(named("By the platform", &[READ])).key(key);
    let (first, again) = (scene.admin(make()).await, scene.admin(make()).await);
    assert_eq!((first.status, first.position.as_deref()), (201, again.position.as_deref()), "{again}");
    assert_eq!(first.body["data"], again.body["data"]);
    let made = first.text("/roleId").unwrap_or_else(|error| panic!("{error:#}"));
    let assignment = format!("{base}/members/{}/roles/{made}", admin.id);
    let assigned = scene.admin(Ask::new(Method::PUT, &assignment)).await;
    assert_eq!(assigned.body["data"]["roles"], json!([made]), "{assigned}");
    assert_eq!(scene.admin(Ask::new(Method::DELETE, &assignment)).await.status, 204);
    let unknown = format!("/internal/v1/companies/{}/roles", new_uuid());
    assert_eq!(words(&scene.admin(Ask::get(&unknown)).await), "404 not_found");
    let listed = scene.admin(Ask::get(&path)).await;
    assert_eq!(listed.body["data"]["items"].as_array().map(Vec::len), Some(3), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_listed_by_name_in_pages_for_who_manages_members_and_their_story_is_in_the_audit() {
    let scene = Scene::start().await;
    let office = Office::of(&scene).await;
    let names = ["Zoo", "ärzte", "Bookkeepers", "auditors", "Clerks"];
    let mut roles = Vec::new();
    for name in names {
        roles.push(office.role(name, &[READ]).await);
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = office.firm.asks(&office.lead, Method::GET, &format!("roles?limit=2{cursor}"), None).await;
        assert_eq!(page.status, 200, "{page}");
        let items = page.body["data"]["items"].as_array().cloned().unwrap_or_default();
        seen.extend(items.iter().map(|item| item["name"].as_str().unwrap_or_default().to_owned()));
        assert!(page.body["data"]["asOf"]["position"].as_u64() > Some(0), "{page}");
        match page.body["data"]["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["auditors", "Bookkeepers", "Clerks", "Zoo", "ärzte"]);
    let (admin, manager) = (office.member("ADMIN").await, office.member("MANAGER").await);
    let list = async |member: &Member, query: &str| {
        words(&office.firm.asks(&member.signed.access, Method::GET, &format!("roles{query}"), None).await)
    };
    assert_eq!(list(&admin, "").await, "200");
    assert_eq!(list(&admin, "?limit=0").await, "400 validation_error");
    assert_eq!(list(&admin, "?cursor=x").await, "400 validation_error");
    assert_eq!(list(&manager, "").await, "403 forbidden role_too_low");

    let changed = json!({ "name": "Buyers", "permissions": [CREATE] });
    let path = format!("roles/{}", roles[2]);
    let changed = office.firm.asks(&office.lead, Method::PATCH, &path, Some(changed)).await;
    assert!(changed.is_success(), "{changed}");
    assert_eq!(office.firm.asks(&office.lead, Method::DELETE, &path, None).await.status, 204);
    let path = format!("/companies/{}/audit?target=role:{}", office.firm.id, roles[2]);
    let audit = Ask::get(&path).company(&office.firm.slug).from_position(changed.position.as_deref());
    let audit = scene.auth(Some(&office.lead), audit).await;
    let told: Vec<_> = audit.body["data"]["items"].as_array().into_iter().flatten().rev().collect();
    let expected = json!({ "name": "Buyers", "previousName": "Bookkeepers", "added": [CREATE], "removed": [READ] });
    assert_eq!((&told[0]["type"], &told[1]["data"]), (&json!("role.created"), &expected), "{audit}");
}

/// Whoever runs another version of the program has written them.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_and_a_role_whose_states_have_another_shape_are_folded_anew_and_the_role_counts() {
    let scene = Scene::start().await;
    let office = Office::of(&scene).await;
    let member = office.member("USER").await;
    let role = office.role("Readers", &[READ]).await;
    office.put(&format!("members/{}/roles/{role}", member.id)).await;
    let database = scene.stack().addresses_with(|at| at.database(Database::Auth, "postgres"));
    let database = database.unwrap_or_else(|failure| panic!("{failure}"));
    let mut database = PgConnection::connect(&database).await.unwrap_or_else(|error| panic!("{error}"));
    for streams in [vec![format!("membership-{}", member.id)], vec![format!("role-{role}")]] {
        let other = sqlx::query("update stream set schema = schema + 100, state = '{}' where name = any($1)");
        let other = other.bind(&streams).execute(&mut database).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(other.rows_affected(), 1);
        // What is kept of anybody in the company is not believed any more.
        office.policy(&[if streams[0].starts_with("role") { READ } else { CREATE }]).await;
        let access = office.firm.access(&member.signed.access).await;
        assert_eq!(texts(&access, "/permissions"), [READ], "{streams:?}: {access}");
        scene.bills_become(&member.signed.access, &office.firm.slug, "200").await;
    }
}

/// Both are sent within a moment of each other, either first.
async fn at_once(
    seeded: &mut Seeded,
    one: impl Future<Output = Answer>,
    other: impl Future<Output = Answer>,
) -> (Answer, Answer) {
    let (early, late) = (seeded.below(HEAD_START_MS), seeded.below(HEAD_START_MS));
    tokio::join!(after(early, one), after(late, other))
}

async fn after(ms: u64, asking: impl Future<Output = Answer>) -> Answer {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    asking.await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_is_widened_while_a_manager_assigns_it_is_assigned_before_that_or_not_at_all() {
    const SEED: u64 = 0x0011_a551;
    let scene = Scene::start().await;
    let office = Office::of(&scene).await;
    let (manager, user) = (office.member("MANAGER").await, office.member("USER").await);
    office.policy(&[CREATE, READ]).await;
    office.put(&format!("members/{}/permissions/{READ}", manager.id)).await;
    let role = office.role("Readers", &[READ]).await;
    let path = format!("members/{}/roles/{role}", user.id);
    let mut seeded = Seeded::new(SEED);
    for round in 0..ROUNDS {
        let assigning = office.firm.asks(&manager.signed.access, Method::PUT, &path, None);
        let (assigned, widened) = at_once(&mut seeded, assigning, office.becomes(&role, &[CREATE, READ])).await;
        let what = format!("seed {SEED:#x}, round {round}: {assigned}\n{widened}");
        assert!(widened.is_success(), "{what}");
        if assigned.is_success() {
            assert!(position(&assigned) < position(&widened), "{what}");
        } else {
            assert_eq!(words(&assigned), NOT_GRANTABLE, "{what}");
        }
        assert!(office.becomes(&role, &[READ]).await.is_success());
        assert_eq!(office.firm.asks(&office.lead, Method::DELETE, &path, None).await.status, 204);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_manager_grants_by_a_role_that_loses_it_meanwhile_is_granted_before_that_or_not_at_all() {
    const SEED: u64 = 0x0011_1057;
    let scene = Scene::start().await;
    let office = Office::of(&scene).await;
    let (manager, user) = (office.member("MANAGER").await, office.member("USER").await);
    office.policy(&[CREATE, READ]).await;
    let role = office.role("Readers", &[READ]).await;
    office.put(&format!("members/{}/roles/{role}", manager.id)).await;
    let path = format!("members/{}/permissions/{READ}", user.id);
    let mut seeded = Seeded::new(SEED);
    for round in 0..ROUNDS {
        let granting = office.firm.asks(&manager.signed.access, Method::PUT, &path, None);
        let (granted, narrowed) = at_once(&mut seeded, granting, office.becomes(&role, &[])).await;
        let what = format!("seed {SEED:#x}, round {round}: {granted}\n{narrowed}");
        assert!(narrowed.is_success(), "{what}");
        if granted.is_success() {
            assert!(position(&granted) < position(&narrowed), "{what}");
        } else {
            assert_eq!(words(&granted), NOT_GRANTABLE, "{what}");
        }
        assert!(office.becomes(&role, &[READ]).await.is_success());
        assert_eq!(office.firm.asks(&office.lead, Method::DELETE, &path, None).await.status, 204);
    }
}
