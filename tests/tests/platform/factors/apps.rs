//! Apps and recovery codes as second factors.

use super::claims;
use kisum::platform::Ask;
use kisum_tests::{
    account::{Account, add_app, decided, me, part, post, second_factor, signed, text},
    authenticator_app::App,
    demo::{self, texts, words},
};
use serde_json::json;

const REFUSED: &str = "401 unauthorized";

#[tokio::test(flavor = "multi_thread")]
async fn whoever_adds_an_app_signs_in_with_its_codes_from_then_on() {
    let demo = demo::shared().await;
    let account = Account::new(&demo).await;
    let (elsewhere, here) = (account.sign_in(&demo).await, account.sign_in(&demo).await);
    assert_eq!(claims(&here.access)["acr"], "aal1");
    let (mut app, factor, codes) = add_app(&demo, &here.access).await;
    assert_eq!(codes.len(), 10, "recovery codes come with the first factor");
    // The session that added it stays; the others end with it.
    assert_eq!(me(&demo, &here.access).await, "200");
    assert_eq!(me(&demo, &elsewhere.access).await, "401 session_revoked");
    let list = decided(&demo, Some(&here.access), Ask::get("/auth/factors")).await;
    let expected = json!({ "factors": [{ "id": factor, "kind": "totp", "label": "Phone" }], "recoveryCodesLeft": 10 });
    assert_eq!(part(&list, ""), expected);

    let begun = account.login(&demo).await;
    assert_eq!(begun.status, 200);
    assert_eq!((part(&begun, "/mfaRequired"), part(&begun, "/methods")), (json!(true), json!(["totp", "recovery"])));
    assert!((1..=300).contains(&part(&begun, "/expiresIn").as_u64().unwrap_or(0)), "{begun}");
    for absent in ["/accessToken", "/refreshToken", "/user"] {
        assert!(part(&begun, absent).is_null(), "neither session nor token: {begun}");
    }
    let challenge = text(&begun, "/challenge");
    assert_eq!(words(&second_factor(&demo, &challenge, "totp", &app.old_code()).await), REFUSED);
    let code = app.code().await;
    let person = signed(&second_factor(&demo, &challenge, "totp", &code).await);
    assert_eq!(claims(&person.access)["acr"], "aal2");
    assert_eq!(me(&demo, &person.access).await, "200");
    // The code that signed in does so once, whatever challenge it is sent with (RFC 6238 §5.2).
    let again = account.begin(&demo).await;
    assert_eq!(words(&second_factor(&demo, &again, "totp", &code).await), REFUSED);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_added_by_its_own_code_alone() {
    let demo = demo::shared().await;
    let (account, other) = (Account::new(&demo).await, Account::new(&demo).await);
    let (person, stranger) = (account.sign_in(&demo).await, other.sign_in(&demo).await);
    let offer = post(&demo, Some(&person.access), "/auth/factors/totp", json!({})).await;
    let mut app = App::new(&text(&offer, "/secret"));
    assert_eq!(text(&offer, "/secret").len(), 32, "160 bits");
    assert!(text(&offer, "/uri").starts_with("otpauth://totp/Kisum:person-"), "{offer}");
    let challenge = text(&offer, "/challenge");
    let send = async |token: &str, challenge: &str, code: &str| {
        words(&post(&demo, Some(token), "/auth/factors", json!({ "challenge": challenge, "code": code })).await)
    };
    assert_eq!(send(&person.access, &challenge, &app.old_code()).await, "422 unprocessable");
    let code = app.code().await;
    assert_eq!(send(&stranger.access, &challenge, &code).await, "422 unprocessable", "another person");
    let later = account.sign_in(&demo).await;
    assert_eq!(send(&later.access, &challenge, &code).await, "422 unprocessable", "another session");
    assert_eq!(send(&person.access, "nonsense", &code).await, "422 unprocessable");
    assert_eq!(send(&person.access, &challenge, &code).await, "201");
    assert_eq!(send(&person.access, &challenge, &code).await, "422 unprocessable", "a challenge is good once");
}

/// security 4: six digits are not found by trying.
#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_is_good_for_five_attempts() {
    let demo = demo::shared().await;
    let account = Account::new(&demo).await;
    let (mut app, _, codes) = add_app(&demo, &account.sign_in(&demo).await.access).await;
    let challenge = account.begin(&demo).await;
    for _ in 0..5 {
        assert_eq!(words(&second_factor(&demo, &challenge, "totp", "000000x").await), REFUSED);
    }
    let code = app.code().await;
    assert_eq!(words(&second_factor(&demo, &challenge, "totp", &code).await), REFUSED, "even the right one");
    assert_eq!(words(&second_factor(&demo, &challenge, "recovery", &codes[0]).await), REFUSED);
    // Only the challenge is spent.
    let challenge = account.begin(&demo).await;
    signed(&second_factor(&demo, &challenge, "totp", &code).await);
}

/// security 4
#[tokio::test(flavor = "multi_thread")]
async fn wrong_second_factors_count_like_wrong_passwords() {
    let demo = demo::shared().await;
    let account = Account::new(&demo).await;
    let (_, _, codes) = add_app(&demo, &account.sign_in(&demo).await.access).await;
    for _ in 0..4 {
        let challenge = account.begin(&demo).await;
        for _ in 0..5 {
            assert_eq!(words(&second_factor(&demo, &challenge, "totp", "000000x").await), REFUSED);
        }
    }
    // Twenty: nothing more is tried from here for a while, neither a password nor a code.
    assert_eq!(words(&account.login(&demo).await), "429 rate_limited");
    let (other, limited) = (Account::new(&demo).await, codes);
    let (_, _, codes) = add_app(&demo, &other.sign_in(&demo).await.access).await;
    let challenge = other.begin(&demo).await;
    assert_eq!(words(&second_factor(&demo, &challenge, "recovery", &limited[0]).await), REFUSED);
    signed(&second_factor(&demo, &challenge, "recovery", &codes[0]).await);
}

/// security 8: whoever signs in by password while a factor is added is in neither before nor after.
#[tokio::test(flavor = "multi_thread")]
async fn no_session_that_began_without_the_factor_outlives_its_adding() {
    let demo = demo::shared().await;
    for _ in 0..6 {
        let account = Account::new(&demo).await;
        let person = account.sign_in(&demo).await;
        let offer = post(&demo, Some(&person.access), "/auth/factors/totp", json!({})).await;
        let code = App::new(&text(&offer, "/secret")).code().await;
        let body = json!({ "challenge": text(&offer, "/challenge"), "code": code });
        let add = post(&demo, Some(&person.access), "/auth/factors", body);
        let logins = futures_util::future::join_all((0..4).map(|_| account.login(&demo)));
        let (added, logins) = tokio::join!(add, logins);
        assert_eq!(added.status, 201, "{added}");
        for login in logins {
            if part(&login, "/accessToken").is_string() {
                assert_eq!(me(&demo, &text(&login, "/accessToken")).await, "401 session_revoked");
                let refresh = json!({ "refreshToken": text(&login, "/refreshToken") });
                assert_eq!(words(&post(&demo, None, "/auth/refresh", refresh).await), "401 session_revoked");
            } else {
                let is_kept_out = part(&login, "/mfaRequired") == json!(true) || login.status == 409;
                assert!(is_kept_out, "{login}");
            }
        }
        assert_eq!(me(&demo, &person.access).await, "200", "whoever added it stays");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_use_one_challenge_at_once_one_signs_in() {
    let demo = demo::shared().await;
    let account = Account::new(&demo).await;
    let (_, _, codes) = add_app(&demo, &account.sign_in(&demo).await.access).await;
    let challenge = account.begin(&demo).await;
    // Another code each: what is good once is the challenge.
    let all = codes.iter().take(5).map(|code| second_factor(&demo, &challenge, "recovery", code));
    let answers = futures_util::future::join_all(all).await;
    let mut said: Vec<_> = answers.iter().map(words).collect();
    said.sort();
    assert_eq!(said, ["200", REFUSED, REFUSED, REFUSED, REFUSED]);
    assert_eq!(words(&second_factor(&demo, &challenge, "recovery", &codes[9]).await), REFUSED);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_use_one_recovery_code_at_once_one_signs_in() {
    let demo = demo::shared().await;
    let account = Account::new(&demo).await;
    let (_, _, codes) = add_app(&demo, &account.sign_in(&demo).await.access).await;
    let mut challenges = Vec::new();
    for _ in 0..5 {
        challenges.push(account.begin(&demo).await);
    }
    let all = challenges.iter().map(|challenge| second_factor(&demo, challenge, "recovery", &codes[0]));
    let answers = futures_util::future::join_all(all).await;
    let good: Vec<_> = answers.iter().filter(|answer| answer.is_success()).collect();
    assert_eq!(good.len(), 1, "{:?}", answers.iter().map(words).collect::<Vec<_>>());
    let person = signed(good[0]);
    let list = decided(&demo, Some(&person.access), Ask::get("/auth/factors")).await;
    assert_eq!(part(&list, "/recoveryCodesLeft"), json!(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_by_the_clock_signs_in_one_of_many_who_send_it_at_once() {
    let demo = demo::shared().await;
    let account = Account::new(&demo).await;
    let (mut app, ..) = add_app(&demo, &account.sign_in(&demo).await.access).await;
    let mut challenges = Vec::new();
    for _ in 0..5 {
        challenges.push(account.begin(&demo).await);
    }
    let code = app.code().await;
    let all = challenges.iter().map(|challenge| second_factor(&demo, challenge, "totp", &code));
    let answers = futures_util::future::join_all(all).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_success()).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_is_one_person_s_and_for_one_purpose() {
    let demo = demo::shared().await;
    let (account, other) = (Account::new(&demo).await, Account::new(&demo).await);
    let (_, _, codes) = add_app(&demo, &account.sign_in(&demo).await.access).await;
    let person = other.sign_in(&demo).await;
    let (_, _, others) = add_app(&demo, &person.access).await;
    let challenge = account.begin(&demo).await;
    assert_eq!(words(&second_factor(&demo, &challenge, "recovery", &others[0]).await), REFUSED, "another's code");
    let body = json!({ "challenge": challenge, "code": "000000" });
    let registration = post(&demo, Some(&person.access), "/auth/factors", body).await;
    assert_eq!(words(&registration), "422 unprocessable", "a sign-in adds no factor");
    signed(&second_factor(&demo, &challenge, "recovery", &codes[0]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_of_the_documented_form_is_refused_and_costs_no_attempt() {
    let demo = demo::shared().await;
    let account = Account::new(&demo).await;
    let (_, _, codes) = add_app(&demo, &account.sign_in(&demo).await.access).await;
    let challenge = account.begin(&demo).await;
    for body in [
        json!({ "challenge": challenge, "method": "totp" }),
        json!({ "challenge": challenge, "method": "sms", "code": "000000" }),
        json!({ "challenge": challenge, "method": "totp", "code": 123_456 }),
        json!({ "challenge": challenge, "method": "totp", "code": "000000", "assertion": {} }),
        json!({ "challenge": challenge, "method": "passkey", "code": "000000" }),
        json!({ "challenge": challenge, "method": "passkey", "assertion": {} }),
        json!({ "challenge": challenge, "method": "totp", "code": "000000", "password": "x" }),
        json!({ "method": "totp", "code": "000000" }),
    ] {
        let answer = post(&demo, None, "/auth/login/second-factor", body.clone()).await;
        assert_eq!(words(&answer), "400 validation_error", "{body}");
    }
    // People type codes as they read them.
    let typed = codes[0].to_uppercase().replace('-', " ");
    signed(&second_factor(&demo, &challenge, "recovery", &typed).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_recovery_codes_take_the_place_of_the_old() {
    let demo = demo::shared().await;
    let account = Account::new(&demo).await;
    let (mut app, _, old) = add_app(&demo, &account.sign_in(&demo).await.access).await;
    let person = account.sign_in_with(&demo, &mut app).await;
    let renewed = post(&demo, Some(&person.access), "/auth/recovery-codes", json!({})).await;
    assert_eq!(renewed.status, 201, "{renewed}");
    let new = texts(&renewed, "/recoveryCodes");
    let challenge = account.begin(&demo).await;
    assert_eq!(words(&second_factor(&demo, &challenge, "recovery", &old[0]).await), REFUSED);
    signed(&second_factor(&demo, &challenge, "recovery", &new[0]).await);
}
