//! Redis decides nothing: empty, killed, frozen, or holding what is another's or of earlier, answers are the same, and
//! what is revoked meanwhile is refused.

use kisum::{
    local::Part,
    platform::{Answer, Ask},
    smoke::comparable,
};
use kisum_tests::{
    cached::Cached,
    demo::{Backend, Demo, Signed, words},
};
use reqwest::Method;
use serde_json::json;
use std::time::Duration;

/// The longest that a change may go unnoticed, and that "not now" may be answered (`consistency.md`).
const BOUND: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);
const PEOPLE: [&str; 4] =
    ["user@acme-live.example", "admin@acme-live.example", "agent@agency.example", "manager@bright-books.example"];
const COMPANIES: [&str; 3] = ["acme-live", "bright-books", "dormant"];
/// Whose permission comes and goes.
const REVOKED: usize = 0;
const NO_PERMISSION: &str = "403 forbidden missing_permission";

/// People who ask everything that can be asked about access.
struct Scene {
    demo: Demo,
    people: Vec<Signed>,
    /// A session that has ended.
    ended: Signed,
    superadmin: Signed,
    company: String,
    membership: String,
}

impl Scene {
    async fn start() -> Self {
        let demo = Demo::start().await;
        let mut people = Vec::new();
        for email in PEOPLE {
            people.push(demo.sign_in(email).await);
        }
        let superadmin = demo.sign_in("superadmin@acme-live.example").await;
        let access = demo.access(&people[REVOKED].access, "acme-live").await;
        let text = |pointer| access.text(pointer).unwrap_or_else(|error| panic!("{error:#}"));
        let (company, membership) = (text("/companyId"), text("/membershipId"));
        let ended = demo.sign_in(PEOPLE[REVOKED]).await;
        let mut scene = Self { demo, people, ended, superadmin, company, membership };
        scene.end().await;
        scene
    }

    /// Asks again while it is answered "not now", which a busy machine may be for a moment.
    async fn settled(&self, ask: impl AsyncFn() -> Answer) -> Answer {
        let asking = async {
            loop {
                let answer = ask().await;
                if answer.status != 503 {
                    return answer;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(BOUND, asking).await.unwrap_or_else(|_| panic!("nothing but 503 for {BOUND:?}"))
    }

    async fn signs_in(&self, email: &str) -> Answer {
        let password = &self.demo.platform.addresses().demo_password;
        let body = json!({ "email": email, "password": password, "client": "native" });
        self.settled(async || self.demo.auth(None, Ask::new(Method::POST, "/auth/login").body(body.clone())).await)
            .await
    }

    /// The superadmin's session goes on, whatever Redis says.
    async fn refresh(&mut self) -> Answer {
        let body = json!({ "refreshToken": self.superadmin.refresh });
        let ask = async || self.demo.auth(None, Ask::new(Method::POST, "/auth/refresh").body(body.clone())).await;
        let answer = self.settled(ask).await;
        let text = |pointer| answer.text(pointer).unwrap_or_else(|error| panic!("{error:#}"));
        (self.superadmin.access, self.superadmin.refresh) = (text("/accessToken"), text("/refreshToken"));
        answer
    }

    /// Everything that everybody is answered.
    async fn round(&mut self) -> Vec<String> {
        let mut answers = Vec::new();
        let demo = &self.demo;
        for person in self.people.iter().chain([&self.ended]) {
            let token = &person.access;
            answers.push(self.settled(async || demo.auth(Some(token), Ask::get("/auth/me")).await).await);
            for company in COMPANIES.into_iter().chain([self.company.as_str()]) {
                answers.push(self.settled(async || demo.access(token, company).await).await);
                for backend in [Backend::Finance, Backend::Basic] {
                    let ask = async || demo.business(backend, Method::GET, token, company).await;
                    answers.push(self.settled(ask).await);
                }
                // Without a body: the permit is checked before it is looked at.
                let ask = || Ask::new(Method::POST, "/api/bills").company(company).body(json!({}));
                let finance = &demo.platform.addresses().finance;
                answers.push(self.settled(async || demo.ask(finance, Some(token), ask()).await).await);
            }
        }
        let mut told: Vec<_> = answers.iter().map(comparable).collect();
        let good = self.signs_in(PEOPLE[REVOKED]).await;
        let refreshed = self.refresh().await;
        for answer in [good, refreshed] {
            told.push(format!("{} {} {}", answer.asked, answer.status, answer.body["data"]["user"]));
        }
        told
    }

    /// The same as before, answer by answer.
    async fn assert_same(&mut self, before: &[String], how: &str) {
        let after = self.round().await;
        assert_eq!(before.len(), after.len());
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before, after, "Redis {how}: before and after");
        }
    }

    /// Revokes or grants a permission, and waits until that is honoured by a backend; Auth knows it at once.
    async fn set(&self, method: Method, wanted: &str) {
        let path = format!("/companies/{}/members/{}/permissions/finance.bills.read", self.company, self.membership);
        let token = Some(self.superadmin.access.as_str());
        let ask = || Ask::new(method.clone(), &path).company(&self.company);
        let answer = self.settled(async || self.demo.auth(token, ask()).await).await;
        assert!(answer.is_success(), "{answer}");
        let person = &self.people[REVOKED].access;
        let access = self.settled(async || self.demo.access(person, "acme-live").await).await;
        let held = access.body["data"]["permissions"].as_array().is_some_and(|held| !held.is_empty());
        assert_eq!(held, wanted == "200", "Auth itself honours it at once: {}", access.body);
        let becoming = async {
            while words(&self.demo.business(Backend::Finance, Method::GET, person, "acme-live").await) != wanted {
                tokio::time::sleep(PAUSE).await;
            }
        };
        assert!(tokio::time::timeout(BOUND, becoming).await.is_ok(), "not {wanted} within {BOUND:?}");
    }

    /// A permission is revoked, which is honoured, and comes back.
    async fn assert_revocations_count(&self) {
        self.set(Method::DELETE, NO_PERMISSION).await;
        self.set(Method::PUT, "200").await;
    }

    /// The session that ends does so.
    async fn end(&mut self) {
        let ask = || Ask::new(Method::POST, "/auth/logout").body(json!({}));
        let answer = self.settled(async || self.demo.auth(Some(&self.ended.access), ask()).await).await;
        assert!(answer.is_success(), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_redis_empty_frozen_killed_or_restarted_answers_are_the_same() {
    let mut scene = Scene::start().await;
    let before = scene.round().await;
    for status in [" 200 ", " 401 ", " 403 "] {
        assert!(before.iter().any(|answer| answer.contains(status)), "nobody was answered {status}");
    }
    scene.assert_same(&before, "as it was").await;

    Cached::of(&scene.demo.stack).await.flush().await;
    scene.assert_same(&before, "empty").await;

    scene.demo.stack.pause(Part::Redis);
    scene.assert_same(&before, "frozen").await;
    scene.set(Method::DELETE, NO_PERMISSION).await;
    scene.demo.stack.resume(Part::Redis);
    scene.set(Method::PUT, "200").await;
    let before = scene.round().await;
    scene.assert_same(&before, "thawed").await;

    scene.demo.stack.kill(Part::Redis).await;
    scene.assert_same(&before, "gone").await;
    scene.set(Method::DELETE, NO_PERMISSION).await;
    let revoked = scene.round().await;
    assert_ne!(before, revoked);
    for part in [Part::Auth, Part::Finance, Part::Basic] {
        scene.demo.stack.kill(part).await;
        scene.demo.stack.start_part(part).await.unwrap_or_else(|failure| panic!("{failure}"));
    }
    scene.assert_same(&revoked, "gone when Auth and the backends began").await;
    scene.demo.stack.start_part(Part::Redis).await.unwrap_or_else(|failure| panic!("{failure}"));
    scene.assert_same(&revoked, "back").await;
    scene.set(Method::PUT, "200").await;
    scene.demo.stack.stop().await;
}

/// Under each key the value that another key of the same membership had: what was true earlier.
async fn put_earlier(cached: &mut Cached, earlier: &kisum_tests::cached::Values) -> usize {
    let membership = |key: &str| key.split(':').take(3).collect::<Vec<_>>().join(":");
    let mut put = 0;
    for key in cached.values().await.keys().filter(|key| key.starts_with("access:")) {
        let older = earlier.iter().find(|(old, _)| *old != key && membership(old) == membership(key));
        if let Some((_, value)) = older {
            cached.put(key, value).await;
            put += 1;
        }
    }
    put
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_another_s_or_of_earlier_changes_no_answer() {
    let mut scene = Scene::start().await;
    let mut cached = Cached::of(&scene.demo.stack).await;
    let before = scene.round().await;
    for _ in 0..3 {
        let moved = cached.rotate().await;
        assert!(moved >= PEOPLE.len(), "only {moved} values were put where they do not belong");
        scene.assert_same(&before, "holding another's value under every key").await;
    }

    // What is true now is what was kept earlier, once a permission and a session are gone.
    let signed = scene.signs_in(PEOPLE[REVOKED]).await;
    let text = |pointer| signed.text(pointer).unwrap_or_else(|error| panic!("{error:#}"));
    scene.ended = Signed { access: text("/accessToken"), refresh: text("/refreshToken"), user_id: text("/user/id") };
    scene.round().await;
    let earlier = cached.values().await;
    scene.set(Method::DELETE, NO_PERMISSION).await;
    scene.end().await;
    let after = scene.round().await;
    assert_ne!(before, after);
    // The versions are part of the key, so these are other keys, and the values are ours.
    let put = put_earlier(&mut cached, &earlier).await;
    assert!(put > 0, "nothing of earlier was put under a key of now");
    scene.assert_same(&after, "holding values of earlier versions").await;
    // Every key of earlier, too, with the very value that it had.
    for (key, value) in &earlier {
        cached.put(key, value).await;
    }
    scene.assert_same(&after, "as it was before a permission and a session were revoked").await;
    for part in [Part::Auth, Part::Finance] {
        scene.demo.stack.kill(part).await;
        scene.demo.stack.start_part(part).await.unwrap_or_else(|failure| panic!("{failure}"));
    }
    for (key, value) in &earlier {
        cached.put(key, value).await;
    }
    scene.assert_same(&after, "as it was, when Auth and Finance remember nothing").await;
    scene.assert_revocations_count().await;
    scene.demo.stack.stop().await;
}
