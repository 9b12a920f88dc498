//! Rotation: nobody who holds a good token notices.

use super::{PATIENCE, PAUSE, UNAVAILABLE, asked, demo, header, kid, refresh, rotate_to};
use futures_util::future::join_all;
use kisum_tests::demo::{Demo, Visitor};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

const CLIENTS: usize = 12;
const PEOPLE: [&str; 3] = ["superadmin@acme-live.example", "user@acme-live.example", "admin@acme-live.example"];
/// What signs in turn. The platform begins with PS256.
const ALGORITHMS: [&str; 3] = ["EdDSA", "PS256", "RS256"];

/// What all clients have seen.
#[derive(Default)]
struct Seen {
    algorithms: BTreeSet<String>,
    kids: BTreeSet<String>,
    answers: usize,
    /// "Not now" is no refusal; that little else was answered would be a finding all the same.
    unavailable: usize,
}

/// One client: refreshes, and asks with its newest token, its first one, and one in between, until told to end.
async fn client(demo: &Demo, email: &str, last: &Mutex<Option<String>>, seen: &Mutex<Seen>, ends: &AtomicBool) {
    let mut person = demo.sign_in(email).await;
    let first = person.access.clone();
    let mut middle = first.clone();
    loop {
        refresh(demo, &mut person).await;
        for token in [&person.access, &first, &middle] {
            let answers = asked(demo, token).await;
            let mut seen = seen.lock().unwrap_or_else(|error| panic!("{error}"));
            for answer in answers {
                assert!(answer == "200" || answer == UNAVAILABLE, "{answer} to a token of {}", header(token));
                seen.answers += 1;
                seen.unavailable += usize::from(answer == UNAVAILABLE);
            }
            seen.algorithms.insert(header(token)["alg"].as_str().unwrap_or_default().to_owned());
            seen.kids.insert(kid(token));
        }
        if kid(&middle) != kid(&person.access) {
            middle.clone_from(&person.access);
        }
        let is_last = last.lock().unwrap_or_else(|error| panic!("{error}")).as_ref() == Some(&kid(&person.access));
        if ends.load(Ordering::Relaxed) && is_last {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// security 10, 11
#[tokio::test(flavor = "multi_thread")]
async fn while_the_signing_key_is_rotated_under_load_no_good_token_is_refused() {
    let demo = demo().await;
    let (seen, last, ends) = (Mutex::new(Seen::default()), Mutex::new(None), AtomicBool::new(false));
    let clients = (0..CLIENTS).map(|number| client(&demo, PEOPLE[number % PEOPLE.len()], &last, &seen, &ends));
    let rotations = async {
        for alg in ALGORITHMS {
            let kid = rotate_to(&demo, alg).await;
            *last.lock().unwrap_or_else(|error| panic!("{error}")) = Some(kid);
        }
        ends.store(true, Ordering::Relaxed);
    };
    tokio::join!(join_all(clients), rotations);
    let seen = seen.into_inner().unwrap_or_else(|error| panic!("{error}"));
    let algorithms: Vec<&str> = seen.algorithms.iter().map(String::as_str).collect();
    assert_eq!(algorithms, ["EdDSA", "PS256", "RS256"]);
    assert_eq!(seen.kids.len(), 1 + ALGORITHMS.len(), "{:?}", seen.kids);
    println!("{} answers, of which {} were 503", seen.answers, seen.unavailable);
    assert!(seen.unavailable * 2 < seen.answers, "{} of {} were 503", seen.unavailable, seen.answers);
    demo.stack.stop().await;
}

/// security 11
#[tokio::test(flavor = "multi_thread")]
async fn the_key_set_says_for_how_long_it_may_be_kept_and_that_it_is_still_the_same() {
    let demo = demo().await;
    let auth = Visitor::of(&demo.stack).platform.addresses().auth.clone();
    let http = reqwest::Client::builder().no_proxy().build().unwrap_or_else(|error| panic!("{error}"));
    let ask = async |path: &str, etag: &str| {
        let request = http.get(format!("{auth}/.well-known/{path}")).header("if-none-match", etag);
        let answer = request.send().await.unwrap_or_else(|error| panic!("{error}"));
        let text = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (cache, etag) = (text("cache-control").to_owned(), text("etag").to_owned());
        (answer.status().as_u16(), cache, etag, answer.text().await.unwrap_or_default())
    };
    let (status, cache, etag, body) = ask("jwks.json", "\"another\"").await;
    assert_eq!((status, cache.as_str()), (200, "public, max-age=2, must-revalidate"));
    assert!(etag.len() > 10 && body.contains("local-1") && !body.contains("\"d\""), "{etag} {body}");
    let again = ask("jwks.json", &etag).await;
    assert_eq!(again, (304, cache.clone(), etag.clone(), String::new()));

    rotate_to(&demo, "EdDSA").await;
    let (status, _, newer, body) = ask("jwks.json", &etag).await;
    assert_eq!((status, newer == etag), (200, false));
    // What the former key signed is good, so its key is there.
    assert!(body.contains("local-1") && body.contains("Ed25519"), "{body}");
    // Which of them signs is heard of within a second.
    let waiting = async {
        loop {
            let (_, _, _, about) = ask("openid-configuration", "").await;
            let about: Value = serde_json::from_str(&about).unwrap_or_else(|error| panic!("{error}: {about}"));
            if about["id_token_signing_alg_values_supported"] == json!(["EdDSA", "PS256"]) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "the algorithms stay as they were");
    demo.stack.stop().await;
}
