//! A removed key: nothing that it signed is good any more, at Auth and at a backend, within the bound, also when the
//! bus is gone.

use super::{BOUND, PAUSE, REFUSED, UNAVAILABLE, asked, demo, keys, kid, rotate_to, signed_by};
use kisum::local::Part;
use kisum_tests::demo::{Demo, Signed};
use std::time::Instant;

#[expect(clippy::disallowed_methods, reason = "the bound itself is what is measured")]
fn now() -> Instant {
    Instant::now()
}

/// Removes the key of a token that is good and remembered everywhere, and waits until everybody refuses it.
async fn removed(demo: &Demo, person: &Signed, how: &str) {
    let token = &person.access;
    // A busy machine may answer "not now".
    while asked(demo, token).await != ["200", "200"] {
        tokio::time::sleep(PAUSE).await;
    }
    keys(demo, &["remove", &kid(token), "--emergency", "--yes"]).await;
    // Committed by now.
    let committed = now();
    let mut refused = [false, false];
    while refused != [true, true] {
        let began = committed.elapsed();
        let answers = asked(demo, token).await;
        for (answer, refused) in answers.iter().zip(&mut refused) {
            assert!([REFUSED, UNAVAILABLE, "200"].contains(&answer.as_str()), "{how}: {answer}");
            assert!(!*refused || answer != "200", "{how}: good again after it was refused");
            assert!(began < BOUND || answer != "200", "{how}: still good {began:?} after the removal");
            *refused |= answer == REFUSED;
        }
        assert!(began < 4 * BOUND, "{how}: nothing but 503");
        tokio::time::sleep(PAUSE).await;
    }
    println!("{how}: refused by both after {:?}", committed.elapsed());
}

/// security 11
#[tokio::test(flavor = "multi_thread")]
async fn a_removed_key_is_refused_by_auth_and_a_backend_within_the_bound_also_without_the_bus() {
    let mut demo = demo().await;
    let mut person = demo.sign_in("user@acme-live.example").await;
    let mut old = Signed { access: person.access.clone(), refresh: String::new(), user_id: String::new() };
    let second = rotate_to(&demo, "EdDSA").await;
    signed_by(&demo, &mut person, &second).await;
    removed(&demo, &old, "with the bus").await;

    old.access.clone_from(&person.access);
    let third = rotate_to(&demo, "EdDSA").await;
    signed_by(&demo, &mut person, &third).await;
    demo.stack.kill(Part::Nats).await;
    removed(&demo, &old, "without the bus").await;

    // A backend that starts behind the removal does not take the key back.
    demo.stack.start_part(Part::Nats).await.unwrap_or_else(|failure| panic!("{failure}"));
    demo.stack.restart(Part::Finance).await.unwrap_or_else(|failure| panic!("{failure}"));
    let waiting = async {
        while asked(&demo, &person.access).await != ["200", "200"] {
            tokio::time::sleep(PAUSE).await;
        }
    };
    assert!(tokio::time::timeout(super::PATIENCE, waiting).await.is_ok(), "the key that signs is refused");
    assert_eq!(asked(&demo, &old.access).await, [REFUSED, REFUSED]);
    demo.stack.stop().await;
}

/// security 11
#[tokio::test(flavor = "multi_thread")]
async fn after_the_only_key_was_removed_nobody_is_signed_in_until_another_signs_which_needs_no_waiting() {
    let demo = demo().await;
    let mut person = demo.sign_in("user@acme-live.example").await;
    removed(&demo, &person, "the only key").await;
    let body = serde_json::json!({ "refreshToken": person.refresh });
    let ask = || kisum::platform::Ask::new(reqwest::Method::POST, "/auth/refresh").body(body.clone());
    let answer = demo.auth(None, ask()).await;
    assert_eq!(kisum_tests::demo::words(&answer), UNAVAILABLE);

    keys(&demo, &["generate", "--alg", "EdDSA"]).await;
    let said = keys(&demo, &["rotate"]).await;
    assert_eq!(said[0]["standing"], "active", "{said:?}");
    let wanted = said[0]["kid"].as_str().unwrap_or_default().to_owned();
    let waiting = async {
        loop {
            let answer = demo.auth(None, ask()).await;
            if answer.is_success() {
                return answer;
            }
            // The session was not used up by the refusals.
            assert_eq!(kisum_tests::demo::words(&answer), UNAVAILABLE);
            tokio::time::sleep(PAUSE).await;
        }
    };
    let answer = tokio::time::timeout(super::PATIENCE, waiting).await.unwrap_or_else(|_| panic!("no key signs"));
    person.access = answer.text("/accessToken").unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(kid(&person.access), wanted);
    loop {
        let answers = asked(&demo, &person.access).await;
        if answers == ["200", "200"] {
            break;
        }
        assert!(answers.iter().all(|answer| answer == "200" || answer == UNAVAILABLE), "{answers:?}");
        tokio::time::sleep(PAUSE).await;
    }
    demo.stack.stop().await;
}
