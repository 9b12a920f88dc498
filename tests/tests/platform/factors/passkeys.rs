//! Passkeys: alone, and beside a password.

use super::claims;
use kisum::platform::{Answer, Ask};
use kisum_tests::{
    account::{Account, add_passkey, decided, me, part, post, signed, text},
    demo::{self, Visitor, texts, words},
    passkey::{Manner, Passkey},
};
use serde_json::{Value, json};

const REFUSED: &str = "401 unauthorized";

async fn options(visitor: &Visitor) -> Answer {
    post(visitor, None, "/auth/passkeys/login/options", json!({})).await
}

async fn finish(visitor: &Visitor, options: &Answer, assertion: Value) -> Answer {
    let body = json!({ "challenge": text(options, "/challenge"), "assertion": assertion, "client": "native" });
    post(visitor, None, "/auth/passkeys/login/finish", body).await
}

/// Signs in, in that manner.
async fn login(visitor: &Visitor, passkey: &mut Passkey, manner: &Manner) -> Answer {
    let options = options(visitor).await;
    let assertion = passkey.get(&part(&options, "/publicKey"), manner);
    finish(visitor, &options, assertion).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_signs_in_without_an_address_and_counts_for_two_factors() {
    let demo = demo::shared().await;
    let account = Account::new(&demo).await;
    let here = account.sign_in(&demo).await;
    let (mut passkey, added) = add_passkey(&demo, &here.access).await;
    assert_eq!(added.status, 201, "{added}");
    assert_eq!(texts(&added, "/recoveryCodes").len(), 10);
    let asked = options(&demo).await;
    assert_eq!(part(&asked, "/publicKey/userVerification"), json!("required"));
    assert_eq!(part(&asked, "/publicKey/allowCredentials"), json!([]), "nobody is named: {asked}");
    let person = signed(&login(&demo, &mut passkey, &Manner::default()).await);
    assert_eq!(person.user_id, account.user_id);
    assert_eq!(claims(&person.access)["acr"], "aal2");
    assert_eq!(me(&demo, &person.access).await, "200");
    let sessions = decided(&demo, Some(&person.access), Ask::get("/auth/sessions?limit=1")).await;
    assert_eq!(part(&sessions, "/items/0/amr"), json!(["pop"]));
    // It has signed, so the counter of its next answer is another: kept, and taken.
    signed(&login(&demo, &mut passkey, &Manner::default()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_is_a_second_factor_beside_a_password() {
    let demo = demo::shared().await;
    let account = Account::new(&demo).await;
    let (mut passkey, _) = add_passkey(&demo, &account.sign_in(&demo).await.access).await;
    let begun = account.login(&demo).await;
    assert_eq!(part(&begun, "/methods"), json!(["passkey", "recovery"]));
    assert_eq!(part(&begun, "/publicKey/allowCredentials/0/id"), json!(passkey.id()));
    let nameless = Manner { names_user: false, ..Manner::default() };
    let assertion = passkey.get(&part(&begun, "/publicKey"), &nameless);
    let body = json!({ "challenge": text(&begun, "/challenge"), "method": "passkey", "assertion": assertion });
    let person = signed(&post(&demo, None, "/auth/login/second-factor", body.clone()).await);
    assert_eq!(claims(&person.access)["acr"], "aal2");
    let again = post(&demo, None, "/auth/login/second-factor", body).await;
    assert_eq!(words(&again), REFUSED, "the same answer signs in once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_proves_nothing_signs_nobody_in() {
    let demo = demo::shared().await;
    let account = Account::new(&demo).await;
    let (mut passkey, _) = add_passkey(&demo, &account.sign_in(&demo).await.access).await;
    let good = Manner::default;
    for (what, manner) in [
        ("another origin", Manner { origin: "https://evil.example".to_owned(), ..good() }),
        ("an origin within ours", Manner { origin: "http://evil.localhost:3000".to_owned(), ..good() }),
        ("another relying party", Manner { rp_id: Some("evil.example".to_owned()), ..good() }),
        (
            "another challenge",
            Manner { challenge: Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned()), ..good() },
        ),
        ("no user verification", Manner { verifies: false, ..good() }),
        ("nobody named", Manner { names_user: false, ..good() }),
    ] {
        assert_eq!(words(&login(&demo, &mut passkey, &manner).await), REFUSED, "{what}");
    }
    signed(&login(&demo, &mut passkey, &good()).await);
    // A copy that was made earlier has a counter that goes back.
    passkey.counter -= 1;
    assert_eq!(words(&login(&demo, &mut passkey, &good()).await), REFUSED, "a copy");
    signed(&login(&demo, &mut passkey, &good()).await);
    // Somebody's own passkey under another's name.
    let stranger = Account::new(&demo).await;
    let (mut theirs, _) = add_passkey(&demo, &stranger.sign_in(&demo).await.access).await;
    let asked = options(&demo).await;
    let mut mixed = theirs.get(&part(&asked, "/publicKey"), &good());
    mixed["response"]["userHandle"] =
        passkey.get(&part(&asked, "/publicKey"), &good())["response"]["userHandle"].clone();
    assert_eq!(words(&finish(&demo, &asked, mixed).await), REFUSED);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_send_one_answer_at_once_one_signs_in() {
    let demo = demo::shared().await;
    let account = Account::new(&demo).await;
    let (mut passkey, _) = add_passkey(&demo, &account.sign_in(&demo).await.access).await;
    let asked = options(&demo).await;
    let assertion = passkey.get(&part(&asked, "/publicKey"), &Manner::default());
    let answers = futures_util::future::join_all((0..5).map(|_| finish(&demo, &asked, assertion.clone()))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_success()).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_is_added_by_a_genuine_answer_alone() {
    let demo = demo::shared().await;
    let account = Account::new(&demo).await;
    let person = account.sign_in(&demo).await;
    let good = Manner::default;
    let begin = async || post(&demo, Some(&person.access), "/auth/passkeys/register/options", json!({})).await;
    for (what, manner) in [
        ("another origin", Manner { origin: "https://evil.example".to_owned(), ..good() }),
        ("another relying party", Manner { rp_id: Some("evil.example".to_owned()), ..good() }),
        ("another challenge", Manner { challenge: Some("AAAA".to_owned()), ..good() }),
        ("no user verification", Manner { verifies: false, ..good() }),
    ] {
        let begun = begin().await;
        let (_, credential) = Passkey::create(&part(&begun, "/publicKey"), &manner);
        let body = json!({ "challenge": text(&begun, "/challenge"), "credential": credential });
        let answer = post(&demo, Some(&person.access), "/auth/passkeys/register/finish", body).await;
        assert_eq!(words(&answer), "422 unprocessable", "{what}");
    }
    let stranger = Account::new(&demo).await.sign_in(&demo).await;
    let begun = begin().await;
    let (_, credential) = Passkey::create(&part(&begun, "/publicKey"), &good());
    let body = json!({ "challenge": text(&begun, "/challenge"), "credential": credential });
    let send =
        async |token: &str| words(&post(&demo, Some(token), "/auth/passkeys/register/finish", body.clone()).await);
    assert_eq!(send(&stranger.access).await, "422 unprocessable", "another person");
    assert_eq!(send(&person.access).await, "201");
    assert_eq!(send(&person.access).await, "422 unprocessable", "once");
}

/// security 26
#[tokio::test(flavor = "multi_thread")]
async fn garbage_in_place_of_a_passkey_s_answer_is_refused_and_nothing_breaks() {
    let demo = demo::shared().await;
    let account = Account::new(&demo).await;
    let person = account.sign_in(&demo).await;
    let (mut passkey, added) = add_passkey(&demo, &person.access).await;
    let asked = options(&demo).await;
    let good = passkey.get(&part(&asked, "/publicKey"), &Manner::default());
    let code = texts(&added, "/recoveryCodes");
    let stepped = json!({ "method": "recovery", "code": code[0] });
    assert_eq!(post(&demo, Some(&person.access), "/auth/step-up", stepped).await.status, 200);
    let begun = post(&demo, Some(&person.access), "/auth/passkeys/register/options", json!({})).await;
    let (_, created) = Passkey::create(&part(&begun, "/publicKey"), &Manner::default());
    let garbage = ["", "AA", "AAAA", "oA", "_w", "v____w", "pA", "not base64!", "{}", "bnVsbA", &"A".repeat(4_000)];
    for text in garbage {
        for member in ["authenticatorData", "clientDataJSON", "signature", "userHandle"] {
            let mut bad = good.clone();
            bad["response"][member] = json!(text);
            let asked = options(&demo).await;
            let answer = finish(&demo, &asked, bad).await;
            assert!(matches!(answer.status, 400 | 401), "{text} as {member}: {answer}");
        }
        for member in ["attestationObject", "clientDataJSON"] {
            let mut bad = created.clone();
            bad["response"][member] = json!(text);
            let begun = post(&demo, Some(&person.access), "/auth/passkeys/register/options", json!({})).await;
            let body = json!({ "challenge": begun.text("/challenge").unwrap_or_default(), "credential": bad });
            let answer = post(&demo, Some(&person.access), "/auth/passkeys/register/finish", body).await;
            assert_eq!(answer.status, 422, "{text} as {member}: {answer}");
        }
    }
    for bad in [json!({}), json!({ "id": 1 }), json!({ "response": [] }), json!({ "a": { "b": [[[[]]]] } })] {
        let answer = finish(&demo, &asked, bad.clone()).await;
        assert_eq!(words(&answer), "400 validation_error", "{bad}");
    }
}
