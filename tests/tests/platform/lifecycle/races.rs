//! Ending all sessions of a person, whatever begins at the same moment.

use super::{COMPANY, OVER, PATIENCE, PAUSE, Person, Scene, session_of};
use kisum::platform::Ask;
use kisum_domains::User;
use kisum_events::{Actor, Meta, RequestId, StreamName, UserEvent, UserId};
use kisum_log::{Append, Loaded};
use kisum_tests::{
    counted::new_uuid,
    demo::{Signed, words},
    seeded::Seeded,
};
use reqwest::Method;
use serde_json::json;
use std::time::Duration;

/// Races of sign-ins with what ends all sessions.
const ROUNDS: u64 = 200;
/// People who race at once.
const AT_ONCE: u64 = 5;
/// The sign-in begins so much earlier at most: about what it takes.
const HEAD_START_MS: u64 = 120;

async fn sign_out_everywhere(scene: &Scene, signed: &Signed) -> String {
    words(&scene.auth(Some(&signed.access), Ask::new(Method::POST, "/auth/logout-all").body(json!({}))).await)
}

/// security 8
#[tokio::test(flavor = "multi_thread")]
async fn signing_out_everywhere_ends_every_session_of_the_person_and_of_nobody_else() {
    let scene = Scene::start().await;
    let (person, other) = (scene.person("Ada").await, scene.person("Bob").await);
    scene.member(&person, COMPANY).await;
    scene.member(&other, COMPANY).await;
    let (here, there) = (scene.sign_in(&person.email).await, scene.sign_in(&person.email).await);
    let untouched = scene.sign_in(&other.email).await;
    for signed in [&here, &there, &untouched] {
        scene.bills_become(&signed.access, COMPANY, "200").await;
    }
    assert_eq!(sign_out_everywhere(&scene, &here).await, "204");
    for signed in [&here, &there] {
        assert_eq!(scene.me(&signed.access).await, OVER);
        assert_eq!(words(&scene.refreshed(signed).await), OVER);
        scene.bills_become(&signed.access, COMPANY, OVER).await;
    }
    assert_eq!(scene.me(&untouched.access).await, "200");
    let again = scene.sign_in(&person.email).await;
    assert_eq!(scene.me(&again.access).await, "200");
    scene.bills_become(&again.access, COMPANY, "200").await;
    assert_eq!(scene.bills(&here.access, COMPANY).await, OVER, "the new session's context does not open it again");
}

/// security 8
#[tokio::test(flavor = "multi_thread")]
async fn suspending_a_person_ends_their_sessions_and_letting_them_back_begins_anew() {
    let scene = Scene::start().await;
    let person = scene.person("Ada").await;
    scene.member(&person, COMPANY).await;
    let signed = scene.sign_in(&person.email).await;
    scene.bills_become(&signed.access, COMPANY, "200").await;
    let suspended = scene.stands(&person, "suspend").await;
    assert_eq!((suspended.status, suspended.text("/status").ok().as_deref()), (200, Some("suspended")), "{suspended}");
    assert!(suspended.position.is_some(), "it can be waited for");
    assert_eq!(scene.me(&signed.access).await, OVER);
    assert_eq!(words(&scene.refreshed(&signed).await), OVER);
    scene.bills_become(&signed.access, COMPANY, OVER).await;
    let password = &scene.visitor.platform.addresses().demo_password;
    let body = json!({ "email": person.email, "password": password, "client": "native" });
    let login = Ask::new(Method::POST, "/auth/login").body(body);
    assert_eq!(words(&scene.auth(None, login).await), "403 forbidden suspended");
    assert!(scene.stands(&person, "suspend").await.is_success(), "twice is once");

    assert_eq!(scene.stands(&person, "reactivate").await.text("/status").ok().as_deref(), Some("active"));
    assert_eq!(scene.me(&signed.access).await, OVER, "what has ended stays ended");
    let back = scene.sign_in(&person.email).await;
    scene.bills_become(&back.access, COMPANY, "200").await;
    let nobody = Person { id: new_uuid().to_string(), email: String::new() };
    for change in ["suspend", "reactivate"] {
        assert_eq!(scene.stands(&nobody, change).await.status, 404);
    }
}

/// What an append that ended all sessions did not know of: as if the session had begun between its look and its commit.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_end_of_all_overlooked_is_over_at_once_and_ended_for_guards_too() {
    let scene = Scene::start().await;
    let person = scene.person("Ada").await;
    scene.member(&person, COMPANY).await;
    let (first, second) = (scene.sign_in(&person.email).await, scene.sign_in(&person.email).await);
    for signed in [&first, &second] {
        scene.bills_become(&signed.access, COMPANY, "200").await;
    }
    let log = scene.log().await;
    let user = UserId::new(person.id.parse().unwrap_or_else(|error| panic!("{error}")));
    let loaded: Loaded<User> = log.load(&StreamName::user(user)).await.unwrap_or_else(|error| panic!("{error}"));
    let request = RequestId::new(new_uuid());
    let mut append = Append::new(request, Meta::new(Actor::System, request));
    append.write(&loaded, vec![UserEvent::SessionsEnded]).unwrap_or_else(|error| panic!("{error}"));
    log.append(append).await.unwrap_or_else(|error| panic!("{error}"));

    assert_eq!(scene.me(&first.access).await, OVER, "whoever asks Auth is told by the person's state");
    assert_eq!(words(&scene.refreshed(&second).await), OVER);
    let third = scene.sign_in(&person.email).await;
    scene.bills_become(&third.access, COMPANY, "200").await;
    for signed in [&first, &second] {
        scene.bills_become(&signed.access, COMPANY, OVER).await;
        let id = session_of(signed).parse().unwrap_or_else(|error| panic!("{error}"));
        let stream = StreamName::session(kisum_events::SessionId::new(id));
        let ended = async {
            while log.load::<kisum_domains::Session>(&stream).await.is_ok_and(|it| it.state.ends_at().is_some()) {
                tokio::time::sleep(PAUSE).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, ended).await.is_ok(), "{stream} is not ended by an event of its own");
    }
    assert_eq!(scene.bills(&third.access, COMPANY).await, "200");
    let listed = scene.auth(Some(&third.access), Ask::get("/auth/sessions")).await;
    let ids: Vec<_> =
        listed.body["data"]["items"].as_array().into_iter().flatten().map(|it| it["id"].clone()).collect();
    assert_eq!(ids, [json!(session_of(&third))], "{listed}");
}

/// One race; says what went wrong.
async fn race(scene: &Scene, person: &Person, draw: u64) -> Result<(), String> {
    let head_start = Duration::from_millis(draw % HEAD_START_MS);
    let is_suspension = draw.is_multiple_of(2);
    let before = scene.sign_in(&person.email).await;
    scene.bills_become(&before.access, COMPANY, "200").await;
    let password = &scene.visitor.platform.addresses().demo_password;
    let body = json!({ "email": person.email, "password": password, "client": "native" });
    let login = scene.auth(None, Ask::new(Method::POST, "/auth/login").body(body));
    let ending = async {
        tokio::time::sleep(head_start).await;
        match is_suspension {
            true => words(&scene.stands(person, "suspend").await),
            false => sign_out_everywhere(scene, &before).await,
        }
    };
    let (login, ended) = tokio::join!(login, ending);
    // A "not now" that was carried out after all has ended the session that asks.
    if !ended.starts_with('2') && ended != OVER {
        return Err(format!("the end was not carried out: {ended}"));
    }
    let token = login.text("/accessToken").ok();
    // Whatever the race came to, what Auth says now is the truth; a backend may not know better for longer than the bound.
    for token in token.iter().chain([&before.access]) {
        let said = scene.me(token).await;
        let mine = *token == before.access;
        if (is_suspension || mine) && said != OVER {
            return Err(format!("a session that had to end is live for Auth: {said}"));
        }
        scene.bills_become(token, COMPANY, if said == "200" { "200" } else { OVER }).await;
    }
    if is_suspension {
        let back = scene.stands(person, "reactivate").await;
        if !back.is_success() {
            return Err(format!("{back}"));
        }
        // Somebody else's context of the same person must not open what is over.
        let after = scene.sign_in(&person.email).await;
        scene.bills_become(&after.access, COMPANY, "200").await;
        for token in token.iter().chain([&before.access]) {
            scene.bills_become(token, COMPANY, OVER).await;
        }
    }
    Ok(())
}

/// `events.md`: starting a session guards the user; security 8.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_keeps_access_who_signs_in_while_all_their_sessions_are_ended() {
    const SEED: u64 = 0x5e55_1075;
    let scene = &Scene::start().await;
    let racers = (0..AT_ONCE).map(|number| async move {
        let person = scene.person(&format!("Racer {number}")).await;
        scene.member(&person, COMPANY).await;
        let mut seeded = Seeded::new(SEED ^ number);
        for round in 0..ROUNDS / AT_ONCE {
            let raced = race(scene, &person, seeded.draw()).await;
            raced.unwrap_or_else(|what| panic!("seed {SEED:#x}, racer {number}, round {round}: {what}"));
        }
    });
    futures_util::future::join_all(racers).await;
}

/// `events.md`: starting a session guards the user; security 8, 13.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_keeps_a_session_who_signs_in_while_they_are_erased() {
    const SEED: u64 = 0xe4a5_ed00;
    const ERASED: usize = 8;
    let scene = &Scene::start().await;
    let owner = scene.owner(0).await;
    let mut seeded = Seeded::new(SEED);
    for round in 0..ERASED {
        let person = scene.person("Gone").await;
        let before = scene.sign_in(&person.email).await;
        let shown = scene.admin(Ask::get(&format!("/internal/v1/users/{}/erasure", person.id))).await;
        let path = format!("/internal/v1/users/{}/erase", person.id);
        let body = json!({ "confirm": shown.body["data"]["confirm"] });
        let password = &scene.visitor.platform.addresses().demo_password;
        let login = json!({ "email": person.email, "password": password, "client": "native" });
        let login = scene.auth(None, Ask::new(Method::POST, "/auth/login").body(login));
        let head_start = Duration::from_millis(seeded.below(HEAD_START_MS));
        let erasing = async {
            tokio::time::sleep(head_start).await;
            scene.admin(Ask::new(Method::POST, &path).body(body).actor(&owner)).await
        };
        let (login, erased) = tokio::join!(login, erasing);
        let what = format!("seed {SEED:#x}, round {round}: {login}");
        assert!(erased.is_success(), "{what}, {erased}");
        let late = login.is_success().then(|| Signed {
            access: login.text("/accessToken").unwrap_or_default(),
            refresh: login.text("/refreshToken").unwrap_or_default(),
            user_id: person.id.clone(),
        });
        // Whoever had shown the password by then is told that they may not.
        assert!(late.is_some() || matches!(login.status, 401 | 403), "{what}");
        for signed in late.iter().chain([&before]) {
            assert_eq!(scene.me(&signed.access).await, OVER, "{what}");
            // What of a session is sealed went with its person, so there is nothing left to compare a token with.
            assert_eq!(scene.refreshed(signed).await.status, 401, "{what}");
        }
    }
}
