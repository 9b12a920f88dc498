//! What happened in a company: the read model is the fold of its log, and the list is for its administrators alone.

mod plans;

use kisum::{
    local::databases::Database,
    platform::{Answer, Ask},
};
use kisum_events::{Envelope, Log};
use kisum_log::{read, read_head};
use kisum_projectors::{Audit, Projection, commit, read_checkpoint};
use kisum_tests::{
    demo::{self, Demo, Visitor, words},
    servers,
};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use std::collections::{BTreeMap, BTreeSet};

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap_or_else(|error| panic!("{error}"))
}

/// What the table holds, by position.
async fn stored(conn: &mut PgConnection) -> BTreeMap<i64, Value> {
    let rows = sqlx::query("select position, to_jsonb(t) - 'position' from audit_v1 t").fetch_all(conn).await;
    rows.unwrap_or_else(|error| panic!("{error}")).iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// The same from the envelopes alone.
fn folded(events: &[Envelope]) -> BTreeMap<i64, Value> {
    let of_a_company = events.iter().filter(|event| ["company", "membership"].contains(&event.stream.kind()));
    let rows = of_a_company.map(|event| {
        let row = json!({ "company_id": event.company_id, "recorded_at": event.recorded_at.micros(),
            "type": event.event_type, "actor": event.meta.actor, "target": event.stream });
        (i64::try_from(event.position).unwrap_or_default(), row)
    });
    rows.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_is_the_fold_of_its_log_in_batches_of_any_size() {
    // Whatever other tests add meanwhile stands behind what is read here.
    let mut from = connect(&demo::database_url(Database::Auth).await).await;
    let events = read(&mut from, Log::Auth, 0, i64::MAX, None).await.unwrap_or_else(|error| panic!("{error}"));
    let wanted = folded(&events);
    assert!(wanted.len() > 50 && wanted.values().all(|row| row["company_id"].is_string()), "{}", wanted.len());
    let database = servers::fresh_log(servers::shared().await).await;
    let mut to = connect(&database.run_url).await;
    for (epoch, at_once) in (1..).zip([1, 7, 1000]) {
        for again in [at_once, 1000] {
            for batch in events.chunks(again) {
                let committed = commit::<Audit>(&mut to, epoch, batch).await.unwrap_or_else(|error| panic!("{error}"));
                assert_eq!(committed.poison, None);
            }
            assert_eq!(stored(&mut to).await, wanted, "{again} at once in epoch {epoch}");
        }
    }
    // And the running one is the same as far as it goes.
    let live = async {
        let last = events.last().map_or(0, |event| event.position);
        loop {
            let at = read_checkpoint(&mut from, Audit::NAME).await.unwrap_or_else(|error| panic!("{error}"));
            if at.is_some_and(|at| at.cursor.position >= last) {
                break stored(&mut from).await.into_iter().filter(|(position, _)| *position <= last as i64).collect();
            }
            tokio::task::yield_now().await;
        }
    };
    let live = tokio::time::timeout(std::time::Duration::from_secs(20), live).await;
    assert_eq!(live.ok(), Some(wanted));
}

/// A company and somebody of it.
struct Within<'a> {
    demo: &'a Visitor,
    token: String,
    user: String,
    company: String,
}

impl<'a> Within<'a> {
    async fn of(demo: &'a Visitor, email: &str, slug: &str) -> Self {
        let signed = demo.sign_in(email).await;
        let context = demo.access(&signed.access, slug).await;
        let company = context.text("/companyId").unwrap_or_else(|error| panic!("{error:#}"));
        Self { demo, token: signed.access, user: signed.user_id, company }
    }

    async fn audit(&self, query: &str) -> Answer {
        self.audit_from(query, None).await
    }

    async fn audit_from(&self, query: &str, position: Option<&str>) -> Answer {
        let path = format!("/companies/{}/audit{query}", self.company);
        self.demo.auth(Some(&self.token), Ask::get(&path).company(&self.company).from_position(position)).await
    }

    async fn membership(&self, email: &str) -> String {
        let token = self.demo.sign_in(email).await.access;
        let context = self.demo.access(&token, &self.company).await;
        context.text("/membershipId").unwrap_or_else(|error| panic!("{error:#}"))
    }

    async fn grant(&self, method: Method, membership: &str, module: &str) -> Answer {
        let path = format!("/companies/{}/members/{membership}/modules/{module}", self.company);
        self.demo.auth(Some(&self.token), Ask::new(method, &path).company(&self.company)).await
    }
}

fn items(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{answer}");
    answer.body["data"]["items"].as_array().cloned().unwrap_or_default()
}

/// Every item of every page.
async fn all(within: &Within<'_>, query: &str, limit: usize) -> Vec<Value> {
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = within.audit(&format!("?limit={limit}{query}{cursor}")).await;
        let found = items(&page);
        assert!(found.len() <= limit);
        seen.extend(found);
        assert!(seen.len() < 10_000, "the pages do not end");
        match page.body["data"]["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return seen,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_see_all_that_happened_in_their_company_as_the_log_has_it_and_nothing_else() {
    let demo = Demo::start().await;
    let url = demo.stack.addresses_with(|at| at.database(Database::Auth, Database::Auth.runtime_role()));
    let mut conn = connect(&url.unwrap_or_else(|failure| panic!("{failure}"))).await;
    for email in ["superadmin@acme-live.example", "admin@acme-live.example"] {
        let within = Within::of(&demo, email, "acme-live").await;
        let head = read_head(&mut conn).await.unwrap_or_else(|error| panic!("{error}"));
        let events = read(&mut conn, Log::Auth, 0, i64::MAX, None).await.unwrap_or_else(|error| panic!("{error}"));
        let wanted: Vec<Value> = events
            .iter()
            .rev()
            .filter(|event| event.company_id.is_some_and(|id| id.to_string() == within.company))
            .map(|event| {
                let data: Value = serde_json::from_str(event.data.get()).unwrap_or_else(|error| panic!("{error}"));
                json!({ "id": event.id, "position": event.position, "recordedAt": event.recorded_at,
                    "actor": event.meta.actor, "type": event.event_type, "schema": event.schema, "data": data,
                    "target": { "kind": event.stream.kind(), "id": event.stream.id() },
                    "requestId": event.meta.request_id, "correlationId": event.meta.correlation_id })
            })
            .collect();
        assert!(wanted.len() > 20, "{}", wanted.len());
        assert_eq!(all(&within, "", 200).await, wanted);
        assert_eq!(all(&within, "", 7).await, wanted);
        let page = within.audit("?limit=1").await;
        assert_eq!(page.body["data"]["asOf"]["epoch"], 1);
        assert!(page.body["data"]["asOf"]["position"].as_u64() >= Some(head.position), "{page}");
        // Names, addresses and sign-ins are in nobody's audit.
        let text = serde_json::to_string(&all(&within, "", 200).await).unwrap_or_default();
        for private in ["@acme-live.example", "session.", "user.registered", "$argon2"] {
            assert!(!text.contains(private), "{private}");
        }
    }
    demo.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_is_no_business_of_managers_users_and_strangers() {
    let demo = demo::shared().await;
    for email in ["manager@acme-live.example", "user@acme-live.example"] {
        let within = Within::of(&demo, email, "acme-live").await;
        // The permit comes before the rest of the request.
        for query in ["", "?limit=0"] {
            assert_eq!(words(&within.audit(query).await), "403 forbidden role_too_low", "{email}");
        }
    }
    let mut within = Within::of(&demo, "superadmin@acme-live.example", "acme-live").await;
    let membership = within.membership("user@acme-live.example").await;
    within.token = demo.sign_in("superadmin@bright-books.example").await.access;
    assert_eq!(words(&within.audit("").await), "403 forbidden not_a_member");
    // What happened to somebody elsewhere is not found from one's own company.
    let own = Within::of(&demo, "superadmin@bright-books.example", "bright-books").await;
    assert_eq!(items(&own.audit(&format!("?membership={membership}")).await), Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_find_what_an_item_shows_and_hold_together() {
    let demo = Demo::start().await;
    let within = Within::of(&demo, "superadmin@echo-venues.example", "echo-venues").await;
    let membership = within.membership("user@echo-venues.example").await;
    assert_eq!(within.grant(Method::PUT, &membership, "ai").await.status, 200);
    let revoked = within.grant(Method::DELETE, &membership, "ai").await;
    assert_eq!(revoked.status, 204, "{revoked}");

    // One's own write is there.
    let newest = items(&within.audit_from("?limit=2", revoked.position.as_deref()).await);
    let types: Vec<_> = newest.iter().map(|item| item["type"].as_str().unwrap_or_default()).collect();
    assert_eq!(types, ["membership.module_revoked", "membership.module_granted"]);
    let me = format!("user:{}", within.user);
    assert!(newest.iter().all(|item| item["actor"] == me.as_str() && item["data"]["module"] == "ai"), "{newest:?}");

    let everything = all(&within, "", 200).await;
    let at = |item: &Value| item["recordedAt"].as_str().unwrap_or_default().to_owned();
    let (granted, before) = (at(&newest[1]), at(&everything[2]));
    for (query, holds) in [
        (format!("&actor={me}"), &(|item: &Value| item["actor"] == me.as_str()) as &dyn Fn(&Value) -> bool),
        ("&actor=service:admin".to_owned(), &|item| item["actor"] == "service:admin"),
        ("&type=membership.module_granted".to_owned(), &|item| item["type"] == "membership.module_granted"),
        (format!("&membership={membership}"), &|item| item["target"]["id"] == membership.as_str()),
        (format!("&target=membership:{membership}"), &|item| item["target"]["id"] == membership.as_str()),
        (format!("&target=company:{}", within.company), &|item| item["target"]["kind"] == "company"),
        (format!("&from={granted}"), &|item| at(item) >= granted),
        (format!("&to={granted}"), &|item| at(item) < granted),
        (format!("&from={before}&to={granted}"), &|item| at(item) >= before && at(item) < granted),
        (format!("&actor={me}&type=membership.module_granted"), &|item| {
            item["actor"] == me.as_str() && item["type"] == "membership.module_granted"
        }),
        (format!("&actor={me}&type=company.suspended"), &|_| false),
        (format!("&membership={membership}&type=membership.module_revoked&actor={me}&from={granted}"), &|item| {
            item["target"]["id"] == membership.as_str()
                && item["type"] == "membership.module_revoked"
                && item["actor"] == me.as_str()
        }),
    ] {
        let wanted: Vec<_> = everything.iter().filter(|item| holds(item)).cloned().collect();
        assert_eq!(all(&within, &query, 3).await, wanted, "{query}");
    }
    assert_eq!(items(&within.audit(&format!("?actor={me}&type=membership.module_granted")).await).len(), 1);
    demo.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_malformed_is_refused_and_a_cursor_is_good_for_its_own_list_alone() {
    let demo = demo::shared().await;
    let within = Within::of(&demo, "superadmin@core-club.example", "core-club").await;
    for query in [
        "?limit=0",
        "?limit=201",
        "?cursor=x",
        "?type=x",
        "?type=company.%00",
        "?actor=me",
        "?target=x",
        "?membership=x",
        "?from=yesterday",
        "?to=2026-13-01T00:00:00Z",
        "?membership=018f3a5c-0000-7000-8000-000000000001&target=company:x",
    ] {
        assert_eq!(words(&within.audit(query).await), "400 validation_error", "{query}");
    }
    let reversed = "?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z";
    assert_eq!(words(&within.audit(reversed).await), "422 unprocessable");

    let first = within.audit("?limit=1").await;
    let cursor = first.text("/nextCursor").unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(within.audit(&format!("?limit=2&cursor={cursor}")).await.status, 200, "a page may be of another size");
    let other = Within::of(&demo, "superadmin@echo-venues.example", "echo-venues").await;
    let own_members = format!("/companies/{}/members?cursor={cursor}", within.company);
    for answer in [
        other.audit(&format!("?cursor={cursor}")).await,
        within.audit(&format!("?type=company.approved&cursor={cursor}")).await,
        demo.auth(Some(&within.token), Ask::get(&own_members).company(&within.company)).await,
        demo.auth(Some(&within.token), Ask::get(&format!("/auth/sessions?cursor={cursor}"))).await,
        demo.auth(Some(&within.token), Ask::get(&format!("/auth/me/companies?cursor={cursor}"))).await,
    ] {
        assert_eq!(words(&answer), "400 validation_error", "{}", answer.asked);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_neither_repeat_nor_leave_out_while_things_happen() {
    let demo = Demo::start().await;
    let within = Within::of(&demo, "superadmin@core-club.example", "core-club").await;
    let membership = within.membership("user@core-club.example").await;
    let before: Vec<Value> = all(&within, "", 200).await;
    let (mut seen, mut cursor, mut grants) = (Vec::new(), String::new(), 0);
    loop {
        let page = within.audit(&format!("?limit=5{cursor}")).await;
        seen.extend(items(&page));
        let Some(next) = page.body["data"]["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
        let method = if grants % 2 == 0 { Method::PUT } else { Method::DELETE };
        assert!(within.grant(method, &membership, "basic").await.is_success());
        grants += 1;
    }
    assert!(grants > 2, "{grants}");
    assert_eq!(seen, before, "what happens meanwhile comes before what is paged through");
    let ids: BTreeSet<_> = all(&within, "", 200).await.iter().map(|item| item["id"].to_string()).collect();
    assert_eq!(ids.len(), before.len() + grants);
    demo.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_that_lags_says_where_it_stands_and_never_leaves_out_what_a_request_carries() {
    let demo = Demo::start().await;
    let within = Within::of(&demo, "superadmin@core-club.example", "core-club").await;
    let membership = within.membership("user@core-club.example").await;
    let url = demo.stack.addresses_with(|at| at.database(Database::Auth, Database::Auth.runtime_role()));
    let mut conn = connect(&url.unwrap_or_else(|failure| panic!("{failure}"))).await;
    let held = "begin; select 1 from projection_checkpoint where name = 'audit_v1' for update";
    sqlx::raw_sql(AssertSqlSafe(held)).execute(&mut conn).await.unwrap_or_else(|error| panic!("{error}"));
    let granted = within.grant(Method::PUT, &membership, "basic").await;
    let position = granted.position.unwrap_or_default();
    let lagging = within.audit("?limit=1").await;
    assert_ne!(items(&lagging)[0]["type"], "membership.module_granted", "{lagging}");
    assert_ne!(format!("auth.1.{}", lagging.body["data"]["asOf"]["position"]), position);
    assert_eq!(words(&within.audit_from("", Some(&position)).await), "503 service_unavailable");
    sqlx::raw_sql("rollback").execute(&mut conn).await.unwrap_or_else(|error| panic!("{error}"));
    let caught_up = async {
        loop {
            let answer = within.audit_from("?limit=1", Some(&position)).await;
            if answer.status == 200 {
                return items(&answer)[0]["type"].clone();
            }
            assert_eq!(words(&answer), "503 service_unavailable");
        }
    };
    let newest = tokio::time::timeout(std::time::Duration::from_secs(20), caught_up).await;
    assert_eq!(newest.ok(), Some(json!("membership.module_granted")));
    demo.stack.stop().await;
}
