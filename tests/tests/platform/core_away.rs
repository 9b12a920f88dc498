//! Core's API is killed and its database is up: what is owned keeps being answered, also by those who begin meanwhile,
//! and the relay goes on with stream, heads and log.

use kisum::{
    ambient::now,
    local::Part,
    platform::{Addresses, Answer, Ask, Callee},
};
use kisum_guard::ServiceSigner;
use kisum_tests::{
    cached::Cached,
    demo::{Backend, Demo, Signed, texts, words},
    servers, streams,
};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

/// `consistency.md`.
const BOUND: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(PAUSE).await;
        }
    };
    assert!(tokio::time::timeout(BOUND, waiting).await.is_ok(), "{what}: not within {BOUND:?}");
}

/// Carries a command out at Core; returns where it can be read.
async fn command(demo: &Demo, ask: Ask<'_>) -> String {
    let answer = demo.platform.internal(Callee::Core, ask).await.unwrap_or_else(|error| panic!("{error:#}"));
    assert!(answer.is_success(), "{answer}");
    answer.position.unwrap_or_else(|| panic!("a command says where its event is"))
}

async fn company_id(demo: &Demo, person: &Signed, company: &str) -> String {
    demo.access(&person.access, company).await.text("/companyId").unwrap_or_else(|error| panic!("{error:#}"))
}

/// What a person owns by their company, from a position on.
async fn owned(demo: &Demo, person: &Signed, company: &str, from: &str) -> Vec<String> {
    let ask = Ask::get("/auth/me/access").company(company).from_position(Some(from));
    texts(&demo.auth(Some(&person.access), ask).await, "/ownedModules")
}

async fn finance(demo: &Demo, person: &Signed, company: &str) -> String {
    words(&demo.business(Backend::Finance, Method::GET, &person.access, company).await)
}

/// What the relay of the core log answers on its own listener.
async fn relay(demo: &Demo, path: &str, query: &str) -> Value {
    let Addresses { environment, admin_private_key, .. } = demo.platform.addresses();
    let signer = ServiceSigner::new(environment, "admin", admin_private_key);
    let signer = signer.unwrap_or_else(|error| panic!("{error}"));
    let token = signer.token("relay-core", "GET", path, now());
    let base = demo.stack.addresses_with(|at| at.ops(Part::RelayCore));
    let answer: Answer = demo.ask(&base, Some(&token), Ask::get(&format!("{path}{query}"))).await;
    answer.data().unwrap_or_else(|error| panic!("{error:#}")).clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_owned_keeps_being_answered_while_core_is_away() {
    let mut demo = Demo::start().await;
    let club = demo.sign_in("superadmin@core-club.example").await;
    let books = demo.sign_in("manager@bright-books.example").await;
    let user = demo.sign_in("user@acme-live.example").await;
    let superadmin = demo.sign_in("superadmin@acme-live.example").await;
    until("it is allowed at first", async || finance(&demo, &books, "bright-books").await == "200").await;
    let (club_id, books_id) =
        (company_id(&demo, &club, "core-club").await, company_id(&demo, &books, "bright-books").await);

    // One company gains a module, another loses its only one, and Core dies before anybody asks.
    let path = format!("/internal/v1/companies/{club_id}/addons/venue");
    command(&demo, Ask::new(Method::PUT, &path).body(json!({}))).await;
    let path = format!("/internal/v1/companies/{books_id}/addons/finance");
    let last = command(&demo, Ask::new(Method::DELETE, &path)).await;
    demo.stack.kill(Part::Core).await;

    let lost = "403 forbidden module_not_owned";
    let is_known = async |demo: &Demo| {
        until("the module gained", async || owned(demo, &club, "core-club", &last).await == ["basic", "venue"]).await;
        until("the module lost", async || finance(demo, &books, "bright-books").await == lost).await;
        assert_eq!(owned(demo, &books, "bright-books", &last).await, [""; 0]);
        until("what nothing happened to", async || finance(demo, &user, "acme-live").await == "200").await;
    };
    is_known(&demo).await;
    Cached::of(&demo.stack).await.flush().await;
    is_known(&demo).await;
    for part in [Part::Finance, Part::Auth, Part::Redis, Part::Nats] {
        demo.stack.kill(part).await;
        demo.stack.start_part(part).await.unwrap_or_else(|failure| panic!("{failure}"));
        is_known(&demo).await;
    }

    // What Auth is told counts, too.
    let access = demo.access(&user.access, "acme-live").await;
    let text = |pointer| access.text(pointer).unwrap_or_else(|error| panic!("{error:#}"));
    let (company, membership) = (text("/companyId"), text("/membershipId"));
    let path = format!("/companies/{company}/members/{membership}/permissions/finance.bills.read");
    let ask = Ask::new(Method::DELETE, &path).company(&company);
    let revoked = demo.auth(Some(&superadmin.access), ask).await;
    assert!(revoked.is_success(), "{revoked}");
    let missing = "403 forbidden missing_permission";
    until("a revocation meanwhile", async || finance(&demo, &user, "acme-live").await == missing).await;

    demo.stack.start_part(Part::Core).await.unwrap_or_else(|failure| panic!("{failure}"));
    let path = format!("/internal/v1/companies/{books_id}/addons/finance");
    command(&demo, Ask::new(Method::PUT, &path).body(json!({}))).await;
    until("Core is back", async || finance(&demo, &books, "bright-books").await == "200").await;
    demo.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_core_log_s_relay_goes_on_with_stream_heads_and_log_while_core_is_away() {
    let mut demo = Demo::start().await;
    let club = demo.sign_in("superadmin@core-club.example").await;
    let path = format!("/internal/v1/companies/{}/addons/venue", company_id(&demo, &club, "core-club").await);
    let last = command(&demo, Ask::new(Method::PUT, &path).body(json!({}))).await;
    demo.stack.kill(Part::Core).await;
    let last: u64 = last.rsplit('.').next().and_then(|position| position.parse().ok()).unwrap_or_default();

    let heads = relay(&demo, "/internal/v1/heads", "?fresh=true").await;
    assert_eq!(heads["core"]["position"], last);
    let page = relay(&demo, "/internal/v1/log", &format!("?after={}", last - 1)).await;
    let events = page["events"].as_array().cloned().unwrap_or_default();
    assert_eq!(events.iter().map(|event| &event["position"]).collect::<Vec<_>>(), [last]);
    // Guards ask over the bus, and through Auth where there is none.
    let nats = servers::nats(&demo.stack, "finance").await;
    let head = nats.request("kisum.core.v1.head", "".into()).await.unwrap_or_else(|error| panic!("{error}"));
    let head: Value = serde_json::from_slice(&head.payload).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(head["position"], last);
    let ask = Ask::get("/internal/v1/heads?fresh=true");
    let heads = demo.platform.internal(Callee::Auth, ask).await.unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(heads.body["data"]["core"]["position"], last, "{}", heads.body);

    // The stream is lost, and published again from the log.
    demo.stack.kill(Part::Nats).await;
    let (_, store) = streams::store(&demo.stack);
    std::fs::remove_dir_all(&store).unwrap_or_else(|error| panic!("{}: {error}", store.display()));
    demo.stack.start_part(Part::Nats).await.unwrap_or_else(|failure| panic!("{failure}"));
    let admin = streams::admin(&demo.stack).await;
    until("the stream is whole again", async || match admin.get_stream("CORE_1").await {
        Ok(stream) => stream.cached_info().state.last_sequence == last,
        Err(_) => false,
    })
    .await;
    demo.stack.stop().await;
}
