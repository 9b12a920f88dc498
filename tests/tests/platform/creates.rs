//! Creations in business backends under an idempotency key, and their lists: once for one person, company and command,
//! for a day; filtered and paged by the same rules everywhere.

use kisum::{
    local::databases::Database,
    platform::{Answer, Ask, Callee},
};
use kisum_tests::{
    counted::new_uuid,
    demo::{self, Demo, Visitor, words},
};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Somebody who works in a company, at one backend.
#[derive(Clone, Copy)]
struct Worker<'a> {
    demo: &'a Visitor,
    base: &'a str,
    path: &'a str,
    token: &'a str,
    company: &'a str,
}

impl Worker<'_> {
    async fn create(&self, key: Option<Uuid>, name: &str) -> Answer {
        let body = match self.path {
            "/api/events" => json!({ "title": name, "startsAt": "2026-12-31T20:00:00Z" }),
            _ => json!({ "number": name, "amountCents": 100, "currency": "EUR" }),
        };
        let ask = Ask::new(Method::POST, self.path).company(self.company).body(body);
        let ask = if let Some(key) = key { ask.key(key) } else { ask };
        self.demo.ask(self.base, Some(self.token), ask).await
    }

    async fn list(&self, query: &str) -> Answer {
        let path = format!("{}{query}", self.path);
        self.demo.ask(self.base, Some(self.token), Ask::get(&path).company(self.company)).await
    }

    /// Ids and names of every page.
    async fn all(&self, query: &str, limit: usize) -> Vec<(String, String)> {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.list(&format!("?limit={limit}{query}{cursor}")).await;
            assert_eq!(page.status, 200, "{page}");
            let items = page.body["data"]["items"].as_array().cloned().unwrap_or_default();
            seen.extend(items.iter().map(|item| (text(&item["id"]), text(&item["title"]) + &text(&item["number"]))));
            assert!(items.len() <= limit && seen.len() < 10_000);
            let Some(next) = page.body["data"]["nextCursor"].as_str() else { return seen };
            cursor = format!("&cursor={next}");
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn id(answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{answer}");
    answer.text("/id").unwrap_or_else(|error| panic!("{error:#}"))
}

/// Sends a command until it is answered: what a key is for. A busy machine may say 503 meanwhile.
async fn answered<F: Future<Output = Answer>>(send: impl Fn() -> F) -> Answer {
    let sending = async {
        loop {
            let answer = send().await;
            if answer.status != 503 {
                return answer;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(120), sending).await.unwrap_or_else(|_| panic!("only 503"))
}

const PLACES: [&str; 2] = ["/api/events", "/api/bills"];

fn base<'a>(demo: &'a Visitor, path: &str) -> &'a str {
    let addresses = demo.platform.addresses();
    if path == "/api/events" { &addresses.basic } else { &addresses.finance }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_command_at_once_creates_one_and_answers_it_to_everybody() {
    let demo = demo::shared().await;
    let token = demo.sign_in("superadmin@acme-live.example").await.access;
    for path in PLACES {
        let worker = Worker { demo: &demo, base: base(&demo, path), path, token: &token, company: "acme-live" };
        let (key, name) = (new_uuid(), format!("once {}", new_uuid().simple()));
        let answers =
            futures_util::future::join_all((0..24).map(|_| answered(|| worker.create(Some(key), &name)))).await;
        let ids: BTreeSet<_> = answers.iter().map(id).collect();
        assert_eq!(ids.len(), 1, "{path}");
        let filter = if path == "/api/events" { "title" } else { "number" };
        let listed = worker.all(&format!("&{filter}={}", name.replace(' ', "%20")), 50).await;
        assert_eq!(listed.len(), 1, "{path}: {listed:?}");
        assert_eq!(words(&worker.create(Some(key), "something else").await), "409 conflict idempotency_key_reused");
        assert_ne!(id(&worker.create(None, &name).await), listed[0].0, "without a key each is another");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_one_person_s_in_one_company_for_one_command() {
    let demo = demo::shared().await;
    let (key, name) = (new_uuid(), "the same everywhere");
    let mut ids = BTreeSet::new();
    for (email, company) in [
        ("superadmin@acme-live.example", "acme-live"),
        ("admin@acme-live.example", "acme-live"),
        ("superadmin@core-club.example", "core-club"),
        ("superadmin@bright-books.example", "bright-books"),
    ] {
        let token = demo.sign_in(email).await.access;
        for path in PLACES {
            if (path, company) == ("/api/bills", "core-club") || (path, company) == ("/api/events", "bright-books") {
                continue;
            }
            let worker = Worker { demo: &demo, base: base(&demo, path), path, token: &token, company };
            let first = id(&worker.create(Some(key), name).await);
            assert_eq!(id(&worker.create(Some(key), name).await), first, "{email} {path}");
            assert!(ids.insert(first), "{email} {path}: another's");
        }
    }
    assert_eq!(ids.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_counts_for_a_day_and_is_then_forgotten() {
    let demo = Demo::start().await;
    let token = demo.sign_in("superadmin@acme-live.example").await.access;
    for (path, database) in PLACES.into_iter().zip([Database::Basic, Database::Finance]) {
        let url = demo.stack.addresses_with(|at| at.database(database, database.runtime_role()));
        let mut conn = PgConnection::connect(&url.unwrap_or_else(|failure| panic!("{failure}")))
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        let mut run = async |sql: &str| {
            let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut conn).await;
            done.unwrap_or_else(|error| panic!("{sql}: {error}")).rows_affected()
        };
        let worker = Worker { demo: &demo, base: base(&demo, path), path, token: &token, company: "acme-live" };
        let key = new_uuid();
        let first = id(&worker.create(Some(key), "a day long").await);
        // Time passes by moving what was noted, since nobody moves the clock of a process.
        let hour = 3_600_000_000_i64;
        run(&format!("update business_command set sent_at = sent_at - {}", 23 * hour)).await;
        assert_eq!(id(&worker.create(Some(key), "a day long").await), first, "{path}: 23 hours later");
        assert_eq!(words(&worker.create(Some(key), "other").await), "409 conflict idempotency_key_reused");
        run(&format!("update business_command set sent_at = sent_at - {hour}")).await;
        let second = id(&worker.create(Some(key), "other").await);
        assert_ne!(second, first, "{path}: 24 hours later it is another command");
        assert_eq!(id(&worker.create(Some(key), "other").await), second);

        // What counts no more goes away with the commands that follow, a few at a time.
        let many = "insert into business_command (company_id, actor, command, key, record, sent_at)
                    select gen_random_uuid(), gen_random_uuid(), 'x', gen_random_uuid(), gen_random_uuid(), i
                    from generate_series(1, 40) i";
        assert_eq!(run(many).await, 40);
        id(&worker.create(Some(new_uuid()), "one more").await);
        let left = "update business_command set command = command where command = 'x'";
        assert_eq!(run(left).await, 8, "{path}: the oldest 32 are gone");
        id(&worker.create(Some(new_uuid()), "and one more").await);
        assert_eq!(run(left).await, 0);
        assert_eq!(id(&worker.create(Some(key), "other").await), second, "what counts stays");
    }
    demo.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_fails_leaves_its_key_free() {
    let demo = demo::shared().await;
    let token = demo.sign_in("superadmin@acme-live.example").await.access;
    for path in PLACES {
        let worker = Worker { demo: &demo, base: base(&demo, path), path, token: &token, company: "acme-live" };
        let key = new_uuid();
        assert_eq!(words(&worker.create(Some(key), "").await), "400 validation_error");
        id(&worker.create(Some(key), "mended").await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_paged_and_filtered_by_the_same_rules_and_stay_put_while_more_is_created() {
    let demo = Demo::start().await;
    let token = demo.sign_in("superadmin@acme-live.example").await.access;
    for path in PLACES {
        let worker = Worker { demo: &demo, base: base(&demo, path), path, token: &token, company: "acme-live" };
        let mut created = Vec::new();
        for name in ["Alpha 1", "alpha 2", "Beta 100%", "BETA_4", "gamma"] {
            created.push((id(&worker.create(None, name).await), name.to_owned()));
        }
        created.reverse();
        assert_eq!(worker.all("", 2).await, created, "{path}: the newest first");
        let (name, from, before) = match path {
            "/api/events" => ("title", "startsFrom", "startsBefore"),
            _ => ("number", "createdFrom", "createdBefore"),
        };
        for (query, count) in [
            (format!("&{name}=ALPHA"), 2),
            (format!("&{name}=%25"), 1),
            (format!("&{name}=_"), 1),
            (format!("&{name}=delta"), 0),
            (format!("&{from}=2020-01-01T00:00:00Z&{before}=9999-01-01T00:00:00Z"), 5),
            (format!("&{from}=9999-01-01T00:00:00Z"), 0),
            (format!("&{before}=2020-01-01T00:00:00Z&{name}=alpha"), 0),
        ] {
            assert_eq!(worker.all(&query, 1).await.len(), count, "{path} {query}");
        }
        if path == "/api/bills" {
            assert_eq!(worker.all("&currency=EUR", 3).await.len(), 5);
            assert_eq!(worker.all("&currency=USD", 3).await.len(), 0);
            assert_eq!(words(&worker.list("?currency=eur").await), "400 validation_error");
        }
        let reversed = format!("?{from}=2026-01-02T00:00:00Z&{before}=2026-01-01T00:00:00Z");
        assert_eq!(words(&worker.list(&reversed).await), "422 unprocessable", "{path}");
        for bad in [format!("?{name}="), format!("?{from}=now"), format!("?{name}={}", "x".repeat(201))] {
            assert_eq!(words(&worker.list(&bad).await), "400 validation_error", "{path} {bad}");
        }
        // Others come before what is paged through.
        let first = worker.list("?limit=2").await;
        let cursor = first.text("/nextCursor").unwrap_or_else(|error| panic!("{error:#}"));
        id(&worker.create(None, "delta").await);
        assert_eq!(worker.all(&format!("&cursor={cursor}"), 50).await, created[2..], "{path}");
        // A cursor is good for its own list alone.
        assert_eq!(words(&worker.list(&format!("?{name}=alpha&cursor={cursor}")).await), "400 validation_error");
        let other = if path == "/api/events" { "/api/bills" } else { "/api/events" };
        let elsewhere = Worker { base: base(&demo, other), path: other, ..worker };
        assert_eq!(words(&elsewhere.list(&format!("?cursor={cursor}")).await), "400 validation_error");
    }
    // Nor is one of one company good in another.
    let events = Worker {
        demo: &demo,
        base: base(&demo, "/api/events"),
        path: "/api/events",
        token: &token,
        company: "acme-live",
    };
    let cursor = events.list("?limit=1").await.text("/nextCursor").unwrap_or_else(|error| panic!("{error:#}"));
    let token = demo.sign_in("superadmin@core-club.example").await.access;
    let club = Worker { token: &token, company: "core-club", ..events };
    assert_eq!(words(&club.list(&format!("?cursor={cursor}")).await), "400 validation_error");
    assert_eq!(club.list("").await.status, 200);
    demo.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_auth_or_core_sent_at_once_under_one_key_is_carried_out_once() {
    let demo = Demo::start().await;
    let admins = ["superadmin@core-club.example", "admin@core-club.example"];
    let [superadmin, admin] = [demo.sign_in(admins[0]).await.access, demo.sign_in(admins[1]).await.access];
    let company = demo.access(&superadmin, "core-club").await.text("/companyId");
    let company = company.unwrap_or_else(|error| panic!("{error:#}"));
    let members = format!("/companies/{company}/members");
    let key = new_uuid();
    let add = |token: &str, email: &str| {
        let (body, token) = (json!({ "email": email, "tenantRole": "USER" }), token.to_owned());
        let (demo, members, company) = (&demo, &members, &company);
        async move {
            let ask = Ask::new(Method::POST, members).company(company).key(key).body(body);
            demo.auth(Some(&token), ask).await
        }
    };
    let agent = "agent@agency.example";
    let answers = futures_util::future::join_all((0..16).map(|_| answered(|| add(&superadmin, agent)))).await;
    let positions: BTreeSet<_> = answers.iter().map(|answer| (answer.status, answer.position.clone())).collect();
    assert!(positions.len() == 1 && answers[0].status == 201, "{positions:?}");
    let other = add(&superadmin, "user@acme-live.example").await;
    assert_eq!(words(&other), "409 conflict idempotency_key_reused");
    // The same key of somebody else is another command, which is decided for itself.
    assert_eq!(words(&add(&admin, agent).await), "409 conflict already_a_member");

    let subscription = format!("/internal/v1/companies/{company}/addons/market");
    let buy = |until: &str| {
        let (demo, subscription, body) = (&demo, &subscription, json!({ "until": until }));
        async move {
            let ask = Ask::new(Method::PUT, subscription).key(key).body(body);
            demo.platform.internal(Callee::Core, ask).await.unwrap_or_else(|error| panic!("{error:#}"))
        }
    };
    let until = "2999-01-01T00:00:00Z";
    let answers = futures_util::future::join_all((0..16).map(|_| answered(|| buy(until)))).await;
    let positions: BTreeSet<_> = answers.iter().map(|answer| (answer.status, answer.position.clone())).collect();
    assert!(positions.len() == 1 && answers[0].status == 200, "{positions:?}: {}", answers[0]);
    assert_eq!(words(&buy("2998-01-01T00:00:00Z").await), "409 conflict idempotency_key_reused");
    demo.stack.stop().await;
}
