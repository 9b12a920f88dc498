//! Proving again who one is, and what takes that.

use super::claims;
use kisum::platform::{Answer, Ask};
use kisum_tests::{
    account::{Account, add_app, add_passkey, decided, me, part, post, second_factor, signed, text},
    demo::{self, Visitor, texts, words},
    passkey::Manner,
};
use reqwest::Method;
use serde_json::json;

const WANTED: &str = "403 forbidden step_up_required";

async fn remove(visitor: &Visitor, token: &str, factor: &str) -> Answer {
    decided(visitor, Some(token), Ask::new(Method::DELETE, &format!("/auth/factors/{factor}"))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn changing_factors_takes_a_second_factor_once_there_is_one() {
    let demo = demo::shared().await;
    let account = Account::new(&demo).await;
    let person = account.sign_in(&demo).await;
    let (_, factor, codes) = add_app(&demo, &person.access).await;
    // The session knows its person by password, though it added the factor a moment ago.
    assert_eq!(words(&remove(&demo, &person.access, &factor).await), WANTED);
    for (path, body) in [
        ("/auth/factors/totp", json!({})),
        ("/auth/passkeys/register/options", json!({})),
        ("/auth/recovery-codes", json!(null)),
    ] {
        assert_eq!(words(&post(&demo, Some(&person.access), path, body).await), WANTED, "{path}");
    }
    let step_up = async |code: &str| {
        let body = json!({ "method": "recovery", "code": code });
        post(&demo, Some(&person.access), "/auth/step-up", body).await
    };
    assert_eq!(words(&step_up("aaaa-aaaa-aaaa-aaaa").await), WANTED);
    let stepped = step_up(&codes[0]).await;
    let token = text(&stepped, "/accessToken");
    let (before, after) = (claims(&person.access), claims(&token));
    assert_eq!((&before["acr"], &after["acr"]), (&json!("aal1"), &json!("aal2")));
    assert!(after["auth_time"].as_i64() >= before["auth_time"].as_i64(), "{before} {after}");
    assert_eq!(after["sid"], before["sid"], "the same session");
    assert_eq!(words(&step_up(&codes[0]).await), WANTED, "a code is good once");
    // The session counts, not the token: the one of before it stepped up is as good.
    let other = account.begin(&demo).await;
    let other = signed(&second_factor(&demo, &other, "recovery", &codes[1]).await);
    let (_, another_s, _) = add_app(&demo, &Account::new(&demo).await.sign_in(&demo).await.access).await;
    assert_eq!(words(&remove(&demo, &person.access, &another_s).await), "404 not_found");
    assert_eq!(words(&remove(&demo, &person.access, &factor).await), "204");
    assert_eq!(me(&demo, &other.access).await, "401 session_revoked", "the other session has ended");
    assert_eq!(me(&demo, &token).await, "200");
    assert_eq!(words(&remove(&demo, &token, &factor).await), "404 not_found");
    // A refreshed token says what the session is worth, too.
    let refreshed = post(&demo, None, "/auth/refresh", json!({ "refreshToken": person.refresh })).await;
    assert_eq!(claims(&text(&refreshed, "/accessToken"))["acr"], "aal2");
    // Without a factor the password is enough again, and recovery codes went with it.
    account.sign_in(&demo).await;
    let list = decided(&demo, Some(&token), Ask::get("/auth/factors")).await;
    assert_eq!(part(&list, ""), json!({ "factors": [], "recoveryCodesLeft": 0 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_second_factor_cannot_step_up() {
    let demo = demo::shared().await;
    let person = Account::new(&demo).await.sign_in(&demo).await;
    let options = post(&demo, Some(&person.access), "/auth/step-up/options", json!({})).await;
    assert_eq!(part(&options, ""), json!({ "methods": [] }));
    let body = json!({ "method": "totp", "code": "000000" });
    assert_eq!(words(&post(&demo, Some(&person.access), "/auth/step-up", body).await), WANTED);
    assert_eq!(words(&post(&demo, Some(&person.access), "/auth/recovery-codes", json!({})).await), WANTED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_steps_up_the_session_that_asked_for_it_once() {
    let demo = demo::shared().await;
    let account = Account::new(&demo).await;
    let person = account.sign_in(&demo).await;
    let (mut passkey, added) = add_passkey(&demo, &person.access).await;
    let codes = texts(&added, "/recoveryCodes");
    let challenge = account.begin(&demo).await;
    let other = signed(&second_factor(&demo, &challenge, "recovery", &codes[0]).await);
    let options = post(&demo, Some(&person.access), "/auth/step-up/options", json!({})).await;
    assert_eq!(part(&options, "/methods"), json!(["passkey", "recovery"]));
    let challenge = text(&options, "/passkey/challenge");
    let assertion = passkey.get(&part(&options, "/passkey/publicKey"), &Manner::default());
    let body = json!({ "method": "passkey", "challenge": challenge, "assertion": assertion });
    let send = async |token: &str| post(&demo, Some(token), "/auth/step-up", body.clone()).await;
    assert_eq!(words(&send(&other.access).await), WANTED, "another session");
    let stepped = send(&person.access).await;
    assert_eq!(claims(&text(&stepped, "/accessToken"))["acr"], "aal2");
    assert_eq!(words(&send(&person.access).await), WANTED);
    let (_, second) = add_passkey(&demo, &person.access).await;
    assert_eq!(second.status, 201, "{second}");
    assert!(part(&second, "/recoveryCodes").is_null(), "recovery codes come with the first alone");
    let neither = json!({ "method": "totp", "code": "000000", "challenge": challenge });
    assert_eq!(words(&post(&demo, Some(&person.access), "/auth/step-up", neither).await), "400 validation_error");
}
