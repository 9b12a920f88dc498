//! The lists as people ask for them.

use super::run;
use kisum::{
    local::databases::Database,
    platform::{Answer, Ask},
};
use kisum_domains::Session;
use kisum_events::{
    Actor, AuthMethod, Log, Meta, RequestId, Sealed, SessionEvent, SessionId, StreamName, Timestamp, UserId,
};
use kisum_log::{Append, EventLog, Loaded, Sealer};
use kisum_tests::{
    counted::new_uuid,
    demo::{self, Demo, Visitor, words},
    servers,
};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection, Row as _};
use std::{collections::BTreeSet, time::Duration};

/// The longest wait for a list on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);
const ADMINISTRATOR: &str = "superadmin@acme-live.example";

/// A company and somebody of it.
struct Within<'a> {
    demo: &'a Visitor,
    token: String,
    company: String,
}

impl<'a> Within<'a> {
    async fn of(demo: &'a Visitor, email: &str, slug: &str) -> Self {
        let token = demo.sign_in(email).await.access;
        let company = demo.access(&token, slug).await.text("/companyId").unwrap_or_else(|error| panic!("{error:#}"));
        Self { demo, token, company }
    }

    async fn list(&self, query: &str, position: Option<&str>) -> Answer {
        let path = format!("/companies/{}/members{query}", self.company);
        let ask = Ask::get(&path).company(&self.company).from_position(position);
        self.demo.auth(Some(&self.token), ask).await
    }

    /// Makes somebody a member, and answers the command's position.
    async fn add(&self, email: &str) -> String {
        let path = format!("/companies/{}/members", self.company);
        let body = json!({ "email": email, "tenantRole": "USER" });
        let ask = Ask::new(Method::POST, &path).company(&self.company).body(body);
        let added = self.demo.auth(Some(&self.token), ask).await;
        assert_eq!(added.status, 201, "{added}");
        added.position.unwrap_or_default()
    }
}

fn items(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{answer}");
    answer.body["data"]["items"].as_array().cloned().unwrap_or_default()
}

fn of_each(answer: &Answer, name: &str) -> Vec<String> {
    items(answer).iter().map(|item| item[name].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_see_who_belongs_to_their_company_by_name_and_role() {
    let demo = demo::shared().await;
    for email in [ADMINISTRATOR, "admin@acme-live.example"] {
        let within = Within::of(&demo, email, "acme-live").await;
        let answer = within.list("", None).await;
        let seen = items(&answer);
        let (emails, roles) = (of_each(&answer, "email"), of_each(&answer, "tenantRole"));
        let roles: BTreeSet<_> = emails.iter().zip(roles).map(|(email, role)| format!("{email} {role}")).collect();
        let wanted = [
            "superadmin@acme-live.example TENANT_SUPERADMIN",
            "admin@acme-live.example ADMIN",
            "manager@acme-live.example MANAGER",
            "user@acme-live.example USER",
            "agent@agency.example USER",
        ];
        assert_eq!(roles, wanted.map(str::to_owned).into(), "{answer}");
        assert!(seen.iter().all(|item| item["status"] == "active" && item["name"] != ""), "{answer}");
        let joined = of_each(&answer, "joinedAt");
        assert!(joined.is_sorted() && !joined.iter().any(String::is_empty), "{joined:?}");
        assert!(answer.body["data"]["asOf"]["position"].as_u64() > Some(0), "{answer}");
        assert_eq!(answer.body["data"].get("nextCursor"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_members_is_no_business_of_managers_users_and_strangers() {
    let demo = demo::shared().await;
    for email in ["manager@acme-live.example", "user@acme-live.example"] {
        let mut within = Within::of(&demo, email, "acme-live").await;
        // The permit comes before the rest of the request.
        for query in ["", "?limit=0"] {
            assert_eq!(words(&within.list(query, None).await), "403 forbidden role_too_low", "{email}");
        }
        within.token = demo.sign_in("superadmin@bright-books.example").await.access;
        for query in ["", "?limit=0"] {
            assert_eq!(words(&within.list(query, None).await), "403 forbidden not_a_member", "of another company");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_leave_out_and_what_is_malformed_is_refused() {
    let demo = demo::shared().await;
    let within = Within::of(&demo, ADMINISTRATOR, "acme-live").await;
    for (query, count) in [
        ("?tenantRole=USER", 2),
        ("?tenantRole=TENANT_SUPERADMIN", 1),
        ("?status=active", 5),
        ("?status=suspended", 0),
        ("?status=revoked", 0),
        ("?status=active&tenantRole=ADMIN&limit=1", 1),
    ] {
        assert_eq!(items(&within.list(query, None).await).len(), count, "{query}");
    }
    for query in ["?limit=0", "?limit=201", "?limit=x", "?cursor=x", "?status=pending", "?tenantRole=owner"] {
        assert_eq!(words(&within.list(query, None).await), "400 validation_error", "{query}");
    }
    for position in ["auth.1.999999999", "auth.9.1", "nowhere"] {
        assert_eq!(words(&within.list("", Some(position)).await), "400 validation_error", "{position}");
    }
    assert_eq!(items(&within.list("", Some("core.1.1")).await).len(), 5, "the list is no fold of the core log");
}

#[tokio::test(flavor = "multi_thread")]
async fn paging_visits_everybody_once_while_people_join() {
    let demo = Demo::start().await;
    let within = Within::of(&demo, "superadmin@core-club.example", "core-club").await;
    let first: BTreeSet<String> = of_each(&within.list("", None).await, "userId").into_iter().collect();
    assert_eq!(first.len(), 4);
    let mut joining = ["agent@agency.example", "user@acme-live.example", "user@bright-books.example"].into_iter();
    let (mut seen, mut query) = (Vec::new(), "?limit=1".to_owned());
    loop {
        let page = within.list(&query, None).await;
        assert_eq!(items(&page).len(), 1, "{page}");
        seen.extend(of_each(&page, "email"));
        assert!(seen.len() <= 7, "somebody comes again: {seen:?}");
        let Some(cursor) = page.body["data"]["nextCursor"].as_str() else { break };
        query = format!("?limit=1&cursor={cursor}");
        if let Some(email) = joining.next() {
            within.add(email).await;
        }
    }
    let once: BTreeSet<_> = seen.iter().collect();
    assert_eq!((once.len(), seen.len()), (7, 7), "{seen:?}");
    demo.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_lags_says_where_it_stands_and_never_leaves_out_what_a_request_carries() {
    let demo = Demo::start().await;
    let within = Within::of(&demo, "superadmin@core-club.example", "core-club").await;
    let before = within.list("", None).await;
    let url = demo.stack.addresses_with(|at| at.database(Database::Auth, Database::Auth.runtime_role()));
    let url = url.unwrap_or_else(|failure| panic!("{failure}"));
    let mut conn = PgConnection::connect(&url).await.unwrap_or_else(|error| panic!("{error}"));
    // Whoever holds the checkpoint's row stops the projection.
    run(&mut conn, "begin; select 1 from projection_checkpoint where name = 'member_list_v1' for update").await;
    let position = within.add("agent@agency.example").await;
    let lagging = within.list("", None).await;
    assert_eq!(items(&lagging).len(), 4, "{lagging}");
    assert!(lagging.body["data"]["asOf"]["position"].as_u64() >= before.body["data"]["asOf"]["position"].as_u64());
    let place = format!("auth.1.{}", lagging.body["data"]["asOf"]["position"]);
    assert_ne!(place, position, "it does not say that it shows what it does not");
    assert_eq!(words(&within.list("", Some(&position)).await), "503 service_unavailable");
    assert_eq!(items(&within.list("", Some(&place)).await).len(), 4, "what it shows may be carried");
    run(&mut conn, "rollback").await;
    // The projection goes on by itself; what was asked for with the position is there or is not answered.
    let caught_up = async {
        loop {
            let answer = within.list("", Some(&position)).await;
            if answer.status == 200 {
                return answer;
            }
            assert_eq!(words(&answer), "503 service_unavailable");
        }
    };
    let answer = tokio::time::timeout(std::time::Duration::from_secs(20), caught_up).await;
    assert_eq!(answer.map(|answer| items(&answer).len()).ok(), Some(5));
    demo.stack.stop().await;
}

/// The id of the session that a refresh token is of.
fn session_of(refresh: &str) -> String {
    refresh.split('.').next().unwrap_or_default().to_owned()
}

async fn sessions(demo: &Visitor, token: &str) -> (Vec<String>, Vec<Value>) {
    let answer = demo.auth(Some(token), Ask::get("/auth/sessions?limit=200")).await;
    let current = items(&answer).into_iter().filter(|session| session["current"] == true).collect();
    (of_each(&answer, "id"), current)
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_sees_where_they_are_signed_in_and_ends_only_their_own() {
    let demo = demo::shared().await;
    let here = demo.sign_in("manager@dormant.example").await;
    let there = demo.sign_in("manager@dormant.example").await;
    let other = demo.sign_in("user@dormant.example").await;
    let ids = [&here, &there, &other].map(|signed| session_of(&signed.refresh));

    let (seen, current) = sessions(&demo, &here.access).await;
    // Other tests may sign in as the same person.
    let ours: Vec<_> = seen.iter().filter(|id| ids.contains(id)).collect();
    assert_eq!(ours, [&ids[1], &ids[0]], "the newest first, and nobody else's");
    assert_eq!(current.len(), 1);
    assert_eq!((current[0]["id"].as_str(), &current[0]["amr"]), (Some(ids[0].as_str()), &json!(["pwd"])));
    assert_eq!(current[0]["refreshedAt"], Value::Null);

    let refresh = Ask::new(Method::POST, "/auth/refresh").body(json!({ "refreshToken": here.refresh }));
    assert_eq!(demo.auth(None, refresh).await.status, 200);
    let (_, current) = sessions(&demo, &here.access).await;
    assert!(current[0]["refreshedAt"].is_string(), "{current:?}");

    let end = async |id: &str| {
        let path = format!("/auth/sessions/{id}");
        demo.auth(Some(&here.access), Ask::new(Method::DELETE, &path)).await
    };
    assert_eq!(words(&end(&ids[2]).await), "404 not_found", "somebody else's");
    assert_eq!(demo.auth(Some(&other.access), Ask::get("/auth/me")).await.status, 200);
    let ended = end(&ids[1]).await;
    assert_eq!(ended.status, 204, "{ended}");
    let carried = Ask::get("/auth/sessions?limit=200").from_position(ended.position.as_deref());
    let left = of_each(&demo.auth(Some(&here.access), carried).await, "id");
    assert!(left.contains(&ids[0]) && !left.contains(&ids[1]), "{left:?}");
    assert_eq!(words(&demo.auth(Some(&there.access), Ask::get("/auth/sessions")).await), "401 session_revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_sees_the_companies_they_belong_to_and_no_other() {
    let demo = demo::shared().await;
    let own = async |email: &str, query: &str| {
        let path = format!("/auth/me/companies{query}");
        let token = demo.sign_in(email).await.access;
        demo.auth(Some(&token), Ask::get(&path)).await
    };
    let both = own("agent@agency.example", "").await;
    assert_eq!(of_each(&both, "slug"), ["acme-live", "bright-books"], "{both}");
    assert_eq!(of_each(&both, "tenantRole"), ["USER", "USER"]);
    assert_eq!(of_each(&both, "membershipStatus"), ["active", "active"]);
    assert!(items(&both).iter().all(|company| company["status"] == "active" && company["name"] != ""), "{both}");
    let first = own("agent@agency.example", "?limit=1").await;
    assert_eq!(of_each(&first, "slug"), ["acme-live"]);
    let cursor = first.text("/nextCursor").unwrap_or_else(|error| panic!("{error:#}"));
    let last = own("agent@agency.example", &format!("?limit=1&cursor={cursor}")).await;
    assert_eq!((of_each(&last, "slug"), last.body["data"].get("nextCursor")), (vec!["bright-books".to_owned()], None));
    assert_eq!(of_each(&own("superadmin@dormant.example", "").await, "slug"), ["dormant"]);
}

/// Starts sessions of a person behind the platform's back, and answers their ids in that order.
async fn start_sessions(url: &str, user: &str, count: u32) -> Vec<String> {
    let sealer = Sealer::new(servers::DATA_KEYS).unwrap_or_else(|error| panic!("{error}"));
    let log = EventLog::open(Log::Auth, url, servers::pool(url).await, sealer).await;
    let log = log.unwrap_or_else(|error| panic!("{error}"));
    let user = UserId::new(user.parse().unwrap_or_else(|error| panic!("{error}")));
    let far = Timestamp::from_micros(4_000_000_000_000_000);
    let mut ids = Vec::new();
    for _ in 0..count {
        let (id, request_id) = (SessionId::new(new_uuid()), RequestId::new(new_uuid()));
        // Nothing is sealed, since this test does not have the platform's keys.
        let (amr, [token_hash, ip, agent]) = (vec![AuthMethod::Pwd], [const { Sealed::absent() }; 3]);
        let (user_id, user_version) = (user, None);
        let (idle_until, absolute_until) = (far, far);
        let started =
            SessionEvent::Started { user_id, amr, idle_until, absolute_until, token_hash, ip, agent, user_version };
        let meta = Meta::new(Actor::User(user), request_id);
        let mut append = Append::new(request_id, meta);
        let stream = Loaded::<Session>::new_stream(StreamName::session(id));
        append.write(&stream, vec![started]).unwrap_or_else(|error| panic!("{error}"));
        log.append(append).await.unwrap_or_else(|error| panic!("{error}"));
        ids.push(id.to_string());
    }
    ids
}

/// Waits until the list knows of so many: what others append, Auth hears of a little later.
async fn listed(demo: &Visitor, token: &str, count: usize) -> Vec<String> {
    let mut seen = Vec::new();
    let waiting = async {
        while seen.len() != count {
            tokio::time::sleep(PAUSE).await;
            seen = sessions(demo, token).await.0;
        }
    };
    let within = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(within.is_ok(), "{} are listed, not {count}", seen.len());
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_of_a_hundred_sessions_gives_way() {
    let demo = Demo::start().await;
    let first = demo.sign_in("user@dormant.example").await;
    let url = demo.stack.addresses_with(|at| at.database(Database::Auth, Database::Auth.runtime_role()));
    let url = url.unwrap_or_else(|failure| panic!("{failure}"));
    let others = start_sessions(&url, &first.user_id, 99).await;
    let hundred = listed(&demo, &first.access, 100).await;
    assert_eq!(hundred.last(), Some(&session_of(&first.refresh)), "the limit itself is allowed");

    let last = demo.sign_in("user@dormant.example").await;
    assert_eq!(words(&demo.auth(Some(&first.access), Ask::get("/auth/me")).await), "401 session_revoked");
    let (seen, _) = sessions(&demo, &last.access).await;
    assert_eq!((seen.len(), seen.first()), (100, Some(&session_of(&last.refresh))));
    assert_eq!(seen.last(), others.first(), "nobody else gave way");

    // Those that come by other ways are too many by ten; the next sign-in makes up for them.
    start_sessions(&url, &first.user_id, 10).await;
    listed(&demo, &last.access, 110).await;
    let (mut shown, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = demo.auth(Some(&last.access), Ask::get(&format!("/auth/sessions?limit=25{cursor}"))).await;
        shown.extend(of_each(&page, "id"));
        let Some(next) = page.body["data"]["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(shown, sessions(&demo, &last.access).await.0, "page by page as at once");
    assert_eq!(shown.len(), 110);
    demo.sign_in("user@dormant.example").await;
    let mut conn = PgConnection::connect(&url).await.unwrap_or_else(|error| panic!("{error}"));
    let left = listed(&demo, &last.access, 100).await;
    assert!(left.contains(&session_of(&last.refresh)));
    let live = sqlx::query("select count(*) from session_list_v1 where user_id::text = $1 and ended_at is null");
    let live = live.bind(&first.user_id).fetch_one(&mut conn).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(live.get::<i64, _>(0), 100);
    demo.stack.stop().await;
}
