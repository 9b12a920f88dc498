//! Changes are honoured, and what is not known is neither allowed nor falsely refused, whatever is down.

use kisum::{local::Part, smoke};
use kisum_tests::demo::{Backend, Demo, Signed, words};
use reqwest::Method;
use std::time::{Duration, Instant};

/// The product's bound on how long anything old may live (`consistency.md`).
const BOUND: Duration = Duration::from_secs(5);

#[expect(clippy::disallowed_methods, reason = "the bound itself is what is measured")]
fn now() -> Instant {
    Instant::now()
}

async fn bills(demo: &Demo, person: &Signed) -> String {
    words(&demo.business(Backend::Finance, Method::GET, &person.access, "acme-live").await)
}

/// Asks until the answer is `wanted`, at most for the bound; every other answer must be one of `meanwhile`.
async fn becomes(demo: &Demo, person: &Signed, wanted: &str, meanwhile: &[&str]) {
    let started = now();
    loop {
        let answer = bills(demo, person).await;
        if answer == wanted {
            return;
        }
        assert!(meanwhile.contains(&answer.as_str()), "{answer} while waiting for {wanted}");
        assert!(started.elapsed() < BOUND, "still {answer} after {BOUND:?}, wanted {wanted}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_smoke_check_passes_twice_and_leaves_the_demo_as_it_was() {
    let demo = Demo::start().await;
    for _ in 0..2 {
        let report = smoke::run(&demo.platform, smoke::Output::Silent).await;
        assert!(report.ok, "{report:?}");
    }
    demo.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_any_one_part_gone_nothing_is_wrongly_allowed_or_refused_and_all_is_well_within_the_bound() {
    let mut demo = Demo::start().await;
    let person = demo.sign_in("user@acme-live.example").await;
    let unavailable = "503 service_unavailable";
    for part in [Part::Redis, Part::Nats, Part::RelayCore, Part::RelayAuth, Part::Core, Part::Auth] {
        assert_eq!(bills(&demo, &person).await, "200", "before {part} is killed");
        demo.stack.kill(part).await;
        let started = now();
        while started.elapsed() < Duration::from_secs(1) {
            let answer = bills(&demo, &person).await;
            assert!(answer == "200" || answer == unavailable, "{answer} with {part} gone");
        }
        demo.stack.start_part(part).await.unwrap_or_else(|failure| panic!("{failure}"));
        becomes(&demo, &person, "200", &[unavailable]).await;
    }
    demo.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_can_neither_follow_nor_ask_says_so_before_the_bound_is_over() {
    let mut demo = Demo::start().await;
    let person = demo.sign_in("user@acme-live.example").await;
    assert_eq!(bills(&demo, &person).await, "200");
    for part in [Part::Auth, Part::RelayAuth, Part::RelayCore] {
        demo.stack.kill(part).await;
    }
    becomes(&demo, &person, "503 service_unavailable", &["200"]).await;
    for part in [Part::RelayAuth, Part::RelayCore, Part::Auth] {
        demo.stack.start_part(part).await.unwrap_or_else(|failure| panic!("{failure}"));
    }
    becomes(&demo, &person, "200", &["503 service_unavailable"]).await;
    demo.stack.stop().await;
}
