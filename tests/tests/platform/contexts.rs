//! Contexts in Redis: used while it is proven that nothing has happened since, made anew before somebody asks, and
//! filled in again when Redis was emptied.

use kisum::{local::Part, platform::Ask};
use kisum_tests::{
    cached::Cached,
    demo::{Demo, Signed, Visitor, texts},
};
use reqwest::Method;
use std::{collections::BTreeMap, time::Duration};

const PAUSE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(30);
const COMPANY: &str = "acme-live";
const PERMISSION: &str = "finance.bills.read";

/// How often Auth found what in which of its levels.
async fn found(demo: &Demo, level: &str, outcome: &str) -> u64 {
    let ops = demo.stack.variable("AUTH_OPS_URL").unwrap_or_else(|failure| panic!("{failure}"));
    let text = async { reqwest::get(format!("{ops}/metrics")).await?.text().await };
    let text = text.await.unwrap_or_else(|error| panic!("{error}"));
    let counts = text.lines().filter(|line| {
        line.starts_with("kisum_access_cache_total{")
            && line.contains(&format!("level=\"{level}\""))
            && line.contains(&format!("outcome=\"{outcome}\""))
    });
    counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(PAUSE).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "{what}: not within {PATIENCE:?}");
}

async fn permissions(demo: &Visitor, person: &Signed) -> Vec<String> {
    let answer = demo.access(&person.access, COMPANY).await;
    assert_eq!(answer.status, 200, "{answer}");
    texts(&answer, "/permissions")
}

/// Where a person's context stands: the key that leads to it, and the key itself.
async fn keys(cached: &mut Cached, company: &str, person: &Signed) -> (Vec<String>, BTreeMap<String, Vec<u8>>) {
    let values = cached.values().await;
    let place = format!("access:at:{company}:{}", person.user_id);
    (values.keys().filter(|key| **key == place).cloned().collect(), values)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_memory_redis_answers_and_what_is_revoked_is_not_brought_back_by_an_earlier_value() {
    let demo = Demo::start_with(&[("ACCESS_CONTEXTS_MAX", "0")]).await;
    let person = demo.sign_in("user@acme-live.example").await;
    let superadmin = demo.sign_in("superadmin@acme-live.example").await;
    let access = demo.access(&person.access, COMPANY).await;
    let text = |pointer| access.text(pointer).unwrap_or_else(|error| panic!("{error:#}"));
    let (company, membership) = (text("/companyId"), text("/membershipId"));

    until("Redis answers", async || {
        assert_eq!(permissions(&demo, &person).await, [PERMISSION]);
        found(&demo, "redis", "hit").await > 0
    })
    .await;
    assert_eq!(found(&demo, "memory", "hit").await, 0);

    let mut cached = Cached::of(&demo.stack).await;
    let (places, earlier) = keys(&mut cached, &company, &person).await;
    assert_eq!(places.len(), 1, "{:?}", earlier.keys());
    let path = format!("/companies/{company}/members/{membership}/permissions/{PERMISSION}");
    let ask = Ask::new(Method::DELETE, &path).company(&company);
    assert!(demo.auth(Some(&superadmin.access), ask).await.is_success());
    assert!(permissions(&demo, &person).await.is_empty());

    // The event comes back, the context is made anew without being asked for, and Redis answers again.
    let before = found(&demo, "redis", "hit").await;
    until("Redis answers what is so now", async || {
        assert!(permissions(&demo, &person).await.is_empty());
        found(&demo, "redis", "hit").await > before
    })
    .await;

    // Every value of earlier under its own key, sealed by Auth itself: none is believed.
    let (hits, overtaken) = (found(&demo, "redis", "hit").await, found(&demo, "redis", "overtaken").await);
    for (key, value) in &earlier {
        cached.put(key, value).await;
    }
    assert!(permissions(&demo, &person).await.is_empty());
    assert_eq!(found(&demo, "redis", "hit").await, hits);
    assert_eq!(found(&demo, "redis", "overtaken").await, overtaken + 1);

    // Nor by an Auth that has just begun and remembers nothing of its own.
    let mut demo = demo;
    demo.stack.kill(Part::Auth).await;
    demo.stack.start_part(Part::Auth).await.unwrap_or_else(|failure| panic!("{failure}"));
    until("Auth believes Redis again", async || {
        for (key, value) in &earlier {
            Cached::of(&demo.stack).await.put(key, value).await;
        }
        assert!(permissions(&demo, &person).await.is_empty());
        found(&demo, "redis", "overtaken").await > 0
    })
    .await;
    demo.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_was_emptied_is_filled_with_those_who_are_signed_in_and_kept_so() {
    let demo = Demo::start().await;
    let person = demo.sign_in("user@acme-live.example").await;
    let superadmin = demo.sign_in("superadmin@acme-live.example").await;
    let access = demo.access(&superadmin.access, COMPANY).await;
    let company = access.text("/companyId").unwrap_or_else(|error| panic!("{error:#}"));
    let is_there = async |person: &Signed| {
        let mut cached = Cached::of(&demo.stack).await;
        !keys(&mut cached, &company, person).await.0.is_empty()
    };
    // Nobody but the superadmin has asked; both are signed in.
    Cached::of(&demo.stack).await.flush().await;
    until("Redis is filled", async || is_there(&person).await && is_there(&superadmin).await).await;

    // What an event names is made anew under its new versions.
    let membership = demo.access(&person.access, COMPANY).await.text("/membershipId");
    let membership = membership.unwrap_or_else(|error| panic!("{error:#}"));
    let contexts = async || {
        let values = Cached::of(&demo.stack).await.values().await;
        let prefix = format!("access:{company}:{membership}:");
        values.into_keys().filter(|key| key.starts_with(&prefix)).count()
    };
    let before = contexts().await;
    let path = format!("/companies/{company}/members/{membership}/permissions/{PERMISSION}");
    let ask = Ask::new(Method::DELETE, &path).company(&company);
    assert!(demo.auth(Some(&superadmin.access), ask).await.is_success());
    until("the context is made anew", async || contexts().await > before).await;
    demo.stack.stop().await;
}
