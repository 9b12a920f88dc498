//! Races about passwords: a change by a session that is ended meanwhile, and sign-ins while the hash is made anew.

use super::{OVER, PATIENCE, Person, Scene, session_of};
use kisum::platform::{Answer, Ask};
use kisum_domains::User;
use kisum_events::{Actor, Meta, PasswordCause, RequestId, Sealed, StreamName, UserEvent, UserId};
use kisum_log::{Append, EventLog, Loaded};
use kisum_tests::{
    counted::new_uuid,
    demo::{Signed, words},
    seeded::Seeded,
};
use reqwest::Method;
use serde_json::json;
use std::time::Duration;

const PASSWORDS: [&str; 2] = ["the owl bought a tram", "nine lemons in a drawer"];
/// The first of them, hashed with an eighth of today's memory and half of its passes.
const WEAK: &str = "$argon2id$v=19$m=8192,t=1,p=1$AAECAwQFBgcICQoLDA0ODw$pPNsTvO8jor9l1TiRpfbN4XmluvQGadZ+wA/BLJUv7A";
/// People who race at once, and how often each.
const AT_ONCE: u64 = 4;
const ROUNDS: u64 = 6;
/// The change begins so much earlier at most: about what its two hashes take.
const HEAD_START_MS: u64 = 160;
/// Sign-ins at the same moment.
const CROWD: usize = 8;

impl Scene {
    async fn log_in(&self, person: &Person, password: &str) -> Answer {
        let body = json!({ "email": person.email, "password": password, "client": "native" });
        self.auth(None, Ask::new(Method::POST, "/auth/login").body(body)).await
    }

    async fn signed_in(&self, person: &Person, password: &str) -> Signed {
        let answer = self.log_in(person, password).await;
        let text = |pointer: &str| answer.text(pointer).unwrap_or_else(|error| panic!("{error:#}: {answer}"));
        Signed { access: text("/accessToken"), refresh: text("/refreshToken"), user_id: text("/user/id") }
    }

    /// Writes a hash to the log that nobody was asked for. An upgrade that is under way may come in between, and a busy
    /// database may say "not now".
    async fn hash_is(&self, log: &EventLog, person: &Person, hash: &str) {
        let user = StreamName::user(UserId::new(person.id.parse().unwrap_or_else(|error| panic!("{error}"))));
        let once = async || {
            let loaded: Loaded<User> = log.load(&user).await.ok()?;
            let request = RequestId::new(new_uuid());
            let mut append = Append::new(request, Meta::new(Actor::System, request));
            let set = UserEvent::PasswordSet {
                hash: Sealed::new(hash.to_owned()),
                cause: PasswordCause::Upgraded,
                beside_factor: false,
            };
            append.write(&loaded, vec![set]).ok()?;
            log.append(append).await.ok()
        };
        let writing = async { while once().await.is_none() {} };
        assert!(tokio::time::timeout(PATIENCE, writing).await.is_ok(), "the hash is not written");
    }
}

/// One race; says what went wrong, or which password is the person's now.
async fn race(scene: &Scene, person: &Person, current: usize, draw: u64) -> Result<usize, String> {
    let next = 1 - current;
    let (here, there) =
        (scene.signed_in(person, PASSWORDS[current]).await, scene.signed_in(person, PASSWORDS[current]).await);
    let body = json!({ "currentPassword": PASSWORDS[current], "newPassword": PASSWORDS[next] });
    // Asked once: whoever asks again would ask with a password that may be another by then.
    let change = scene.visitor.auth(Some(&here.access), Ask::new(Method::POST, "/auth/password/change").body(body));
    let ending = async {
        tokio::time::sleep(Duration::from_millis(draw % HEAD_START_MS)).await;
        let path = format!("/auth/sessions/{}", session_of(&here));
        let ask = match draw.is_multiple_of(2) {
            true => Ask::new(Method::POST, "/auth/logout-all").body(json!({})),
            false => Ask::new(Method::DELETE, &path),
        };
        words(&scene.auth(Some(&there.access), ask).await)
    };
    let (changed, ended) = tokio::join!(change, ending);
    let changed = words(&changed);
    let (mine, refreshed) = (scene.me(&here.access).await, words(&scene.refreshed(&here).await));
    match ended.as_str() {
        // Whichever came first, the session is over: by its end, or by an end that came behind the change.
        "204" if mine == OVER && refreshed == OVER => {}
        // The change came first, and ended who was about to end it.
        OVER if (mine.as_str(), refreshed.as_str()) == ("200", "200") => {}
        _ => return Err(format!("changed {changed}, ended {ended}, but {mine} and {refreshed}")),
    }
    let now = match changed.as_str() {
        "200" => next,
        OVER => current,
        // "Not now" may have been carried out.
        _ if changed.starts_with("503") && scene.log_in(person, PASSWORDS[next]).await.status == 200 => next,
        _ if changed.starts_with("503") => current,
        _ => return Err(format!("changed {changed}")),
    };
    match scene.log_in(person, PASSWORDS[now]).await.status {
        200 => Ok(now),
        other => Err(format!("changed {changed}, but whoever signs in accordingly is told {other}")),
    }
}

/// security 8; `events.md`: a session that has ended sets no password, and none that was ended lives again.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_ended_while_it_changes_the_password_does_not_come_back() {
    const SEED: u64 = 0xc4a2_6ed1;
    let scene = &Scene::start().await;
    let log = scene.log().await;
    let log = &log;
    let racers = (0..AT_ONCE).map(|number| async move {
        let person = scene.person(&format!("Racer {number}")).await;
        scene.hash_is(log, &person, WEAK).await;
        let (mut seeded, mut current) = (Seeded::new(SEED ^ number), 0);
        for round in 0..ROUNDS {
            let raced = race(scene, &person, current, seeded.draw()).await;
            current = raced.unwrap_or_else(|what| panic!("seed {SEED:#x}, racer {number}, round {round}: {what}"));
        }
    });
    futures_util::future::join_all(racers).await;
}

/// security 1, 4: a right password is no failure, whatever happens to its hash meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_with_the_right_password_is_refused_while_its_hash_is_made_anew() {
    let scene = &Scene::start().await;
    let (person, log) = (&scene.person("Ada").await, scene.log().await);
    for round in 0..ROUNDS {
        scene.hash_is(&log, person, WEAK).await;
        let crowd = (0..CROWD).map(|_| async { words(&scene.log_in(person, PASSWORDS[0]).await) });
        let said = futures_util::future::join_all(crowd).await;
        assert!(said.iter().all(|said| said == "200"), "round {round}: {said:?}");
    }
}
