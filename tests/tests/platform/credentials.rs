//! Registering, verifying, forgetting, resetting and changing: through HTTP and real mails.

use crate::factors::elsewhere::decide;
use kisum::{
    local::{Part, Stack, databases::Database},
    platform::{Answer, Ask},
};
use kisum_events::{PasswordCause, Sealed, UserEvent};
use kisum_tests::{
    account::{add_app, part, second_factor, signed, text},
    counted::new_uuid,
    demo::{Visitor, words},
    kept::Kept,
    post::PostOffice,
    servers,
};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

/// The longest wait for anything on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);
const PASSWORD: &str = "the owl bought a tram";
const ANOTHER: &str = "nine lemons in a drawer";
const VERIFY: &str = "Confirm your e-mail address";
const RESET: &str = "Set a new password";
const KNOWN: &str = "You have an account already";
const CHANGED: &str = "Your password was changed";
const FACTOR_ADDED: &str = "A second factor was added";
const RECOVERED: &str = "A recovery code was used";

/// An Auth with its servers and a mail server, which the tests of this file share.
struct Shared {
    stack: Stack,
    post: PostOffice,
}

static SHARED: Kept<Shared> = Kept::new();

/// Starts servers and Auth, whose mails go there.
pub(crate) async fn auth_with(post: &PostOffice) -> Stack {
    let mut options = servers::options().with_services(&[Part::Auth]);
    let variables = options.overrides.entry(Part::Auth).or_default();
    variables.insert("SMTP_URL".to_owned(), post.url());
    // So that a test can come from wherever it likes.
    variables.insert("TRUSTED_PROXIES".to_owned(), "127.0.0.1".to_owned());
    Stack::start(options).await.unwrap_or_else(|failure| panic!("{failure}"))
}

/// Auth's database, as its run-time role.
async fn database(stack: &Stack) -> PgConnection {
    let url = stack.addresses_with(|at| at.database(Database::Auth, Database::Auth.runtime_role()));
    let url = url.unwrap_or_else(|failure| panic!("{failure}"));
    PgConnection::connect(&url).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Somebody who asks that Auth things.
pub(crate) struct Scene {
    pub(crate) visitor: Visitor,
    post: PostOffice,
    kept: Option<Arc<Shared>>,
}

impl Scene {
    async fn start() -> Self {
        let kept = SHARED
            .get(async || {
                let post = PostOffice::open();
                Shared { stack: auth_with(&post).await, post }
            })
            .await;
        Self { visitor: Visitor::of(&kept.stack), post: kept.post.clone(), kept: Some(kept) }
    }

    pub(crate) fn of(stack: &Stack, post: &PostOffice) -> Self {
        Self { visitor: Visitor::of(stack), post: post.clone(), kept: None }
    }

    /// The Auth that tests share.
    fn stack(&self) -> &Stack {
        self.kept.as_ref().map_or_else(|| panic!("it is another test's own"), |kept| &kept.stack)
    }

    pub(crate) async fn send(&self, token: Option<&str>, path: &str, body: Value) -> Answer {
        self.visitor.auth(token, Ask::new(Method::POST, path).body(body)).await
    }

    pub(crate) async fn register(&self, email: &str) -> Answer {
        self.send(None, "/auth/register", json!({ "email": email, "name": "Ada", "password": PASSWORD })).await
    }

    pub(crate) async fn verify(&self, token: &str) -> Answer {
        self.verify_with(token, PASSWORD).await
    }

    pub(crate) async fn verify_with(&self, token: &str, password: &str) -> Answer {
        self.send(None, "/auth/email/verify", json!({ "token": token, "password": password })).await
    }

    /// Registers from another network.
    async fn register_from(&self, address: &str, email: &str, password: &str) -> Answer {
        let body = json!({ "email": email, "name": "Ada", "password": password });
        let ask = Ask::new(Method::POST, "/auth/register").body(body).through_proxy_from(address);
        self.visitor.auth(None, ask).await
    }

    pub(crate) async fn login(&self, email: &str, password: &str) -> Answer {
        self.send(None, "/auth/login", json!({ "email": email, "password": password, "client": "native" })).await
    }

    pub(crate) async fn forgot(&self, email: &str) -> Answer {
        self.send(None, "/auth/password/forgot", json!({ "email": email })).await
    }

    async fn reset(&self, token: &str, password: &str) -> Answer {
        self.send(None, "/auth/password/reset", json!({ "token": token, "password": password })).await
    }

    /// Somebody with an account, by mail.
    pub(crate) async fn somebody(&self) -> String {
        let email = somebody();
        assert_eq!(words(&self.register(&email).await), "202");
        let token = self.post.subject(&email, VERIFY).await.token();
        assert_eq!(words(&self.verify(&token).await), "200");
        email
    }

    async fn signed_in(&self, email: &str, password: &str) -> String {
        self.login(email, password).await.text("/accessToken").unwrap_or_else(|error| panic!("{error:#}"))
    }

    async fn me(&self, token: &str) -> String {
        words(&self.visitor.auth(Some(token), Ask::get("/auth/me")).await)
    }
}

/// An address that nobody has.
pub(crate) fn somebody() -> String {
    format!("Ada.{}@example.org", new_uuid().simple())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_registers_signs_in_once_the_mail_s_link_was_followed() {
    let scene = Scene::start().await;
    let (email, slug) = (somebody(), format!("acme-{}", new_uuid().simple()));
    let company = json!({ "name": "Acme Live", "slug": slug });
    let body = json!({ "email": email, "name": "Ada", "password": PASSWORD, "company": company });
    let answer = scene.send(None, "/auth/register", body.clone()).await;
    assert_eq!((answer.status, &answer.body), (202, &json!({ "success": true, "data": {} })));
    let letter = scene.post.subject(&email, VERIFY).await;
    assert_eq!(letter.header("From"), "Kisum <no-reply@kisum.example>");
    assert!(letter.header("Message-ID").ends_with("@kisum.example>"), "{letter:?}");
    assert!(letter.text.contains("http://localhost:3000/verify-email#token="), "{letter:?}");
    assert_eq!(words(&scene.login(&email, PASSWORD).await), "401 unauthorized");
    let verified = scene.verify(&letter.token()).await;
    assert_eq!(words(&verified), "200");
    assert!(verified.text("/companyId").is_ok() && verified.body["data"]["slugTaken"] == false, "{}", verified.body);
    let login = scene.login(&email, PASSWORD).await;
    assert_eq!(login.text("/user/id").ok(), verified.text("/userId").ok());
    assert_eq!(login.body["data"]["user"]["emailVerified"], true);
    let again = scene.verify(&letter.token()).await;
    assert_eq!(words(&again), "409 conflict token_not_good");

    // Whoever wants the same slug is answered the same, and hears that it is taken once the address is theirs.
    let other = somebody();
    let body = json!({ "email": other, "name": "Bob", "password": PASSWORD, "company": company });
    let answer = scene.send(None, "/auth/register", body).await;
    assert_eq!((answer.status, &answer.body), (202, &json!({ "success": true, "data": {} })));
    let verified = scene.verify(&scene.post.subject(&other, VERIFY).await.token()).await;
    assert_eq!((verified.status, &verified.body["data"]["slugTaken"]), (200, &json!(true)));
    assert_eq!(words(&scene.login(&other, PASSWORD).await), "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_register_with_one_address_the_one_whose_link_is_followed_gets_it() {
    let scene = Scene::start().await;
    let email = somebody();
    let register = async |password: &str| {
        let body = json!({ "email": email, "name": "Ada", "password": password });
        assert_eq!(words(&scene.send(None, "/auth/register", body).await), "202");
    };
    register(ANOTHER).await;
    let first = scene.post.until(&email, 1).await;
    register(PASSWORD).await;
    let both = scene.post.until(&email, 2).await;
    let second = both.iter().find(|letter| !first.contains(letter)).unwrap_or_else(|| panic!("{both:?}"));
    assert_eq!(words(&scene.verify(&second.token()).await), "200");
    assert_eq!(words(&scene.verify(&first[0].token()).await), "403 forbidden wrong_password", "of the other one");
    assert_eq!(words(&scene.verify_with(&first[0].token(), ANOTHER).await), "409 conflict email_taken");
    assert_eq!(words(&scene.login(&email, ANOTHER).await), "401 unauthorized", "made in advance by somebody else");
    assert_eq!(words(&scene.login(&email, PASSWORD).await), "200");
}

/// security 4 and 6: whoever registers a stranger's address with a password of their own gets nothing by it, whatever link
/// the stranger follows, and takes nothing from them.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_opens_nothing_to_whoever_registered_before_and_uses_up_nobody_s_mail() {
    let scene = Scene::start().await;
    let email = somebody();
    let (attacker, victim) = ("203.0.113.66", "198.51.100.7");
    for _ in 0..8 {
        assert_eq!(words(&scene.register_from(attacker, &email, ANOTHER).await), "202");
    }
    let theirs = scene.post.until(&email, 5).await;
    assert_eq!(words(&scene.register_from(victim, &email, PASSWORD).await), "202");
    let all = scene.post.until(&email, 6).await;
    assert_eq!(all.len(), 6, "five for each network");
    let own = all.iter().find(|letter| !theirs.contains(letter)).unwrap_or_else(|| panic!("{all:?}"));
    for letter in &theirs {
        assert_eq!(words(&scene.verify(&letter.token()).await), "403 forbidden wrong_password");
    }
    for password in [PASSWORD, ANOTHER] {
        assert_eq!(words(&scene.login(&email, password).await), "401 unauthorized", "nobody has the address yet");
    }
    assert_eq!(words(&scene.verify(&own.token()).await), "200");
    assert_eq!(words(&scene.login(&email, PASSWORD).await), "200");
    assert_eq!(words(&scene.login(&email, ANOTHER).await), "401 unauthorized");
    assert_eq!(words(&scene.verify_with(&theirs[0].token(), ANOTHER).await), "409 conflict email_taken");
}

/// security 4
#[tokio::test(flavor = "multi_thread")]
async fn guesses_at_the_password_of_a_registration_are_limited_and_whoever_lost_it_registers_again() {
    let scene = Scene::start().await;
    let email = somebody();
    assert_eq!(words(&scene.register(&email).await), "202");
    let first = scene.post.until(&email, 1).await;
    for _ in 0..20 {
        let guess = scene.verify_with(&first[0].token(), "certainly not this one").await;
        assert_eq!(words(&guess), "403 forbidden wrong_password");
    }
    assert_eq!(words(&scene.verify(&first[0].token()).await), "429 rate_limited", "even the right one");
    let body = json!({ "email": email, "name": "Ada", "password": ANOTHER });
    assert_eq!(words(&scene.send(None, "/auth/register", body).await), "202");
    let both = scene.post.until(&email, 2).await;
    let second = both.iter().find(|letter| !first.contains(letter)).unwrap_or_else(|| panic!("{both:?}"));
    assert_eq!(words(&scene.verify_with(&second.token(), ANOTHER).await), "200");
    assert_eq!(words(&scene.login(&email, ANOTHER).await), "200");
}

/// security 5
#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_from_an_answer_whether_an_address_is_known() {
    let scene = Scene::start().await;
    let (known, unknown) = (scene.somebody().await, somebody());
    for (path, expected) in [("/auth/register", 202), ("/auth/password/forgot", 202), ("/auth/login", 401)] {
        let ask = async |email: &str| {
            let url = format!("{}{path}", scene.visitor.platform.addresses().auth);
            let mut body = json!({ "email": email });
            if path == "/auth/register" {
                body["name"] = json!("Ada");
            }
            if path != "/auth/password/forgot" {
                body["password"] = json!(ANOTHER);
            }
            let answer = reqwest::Client::new().post(url).json(&body).send().await;
            let answer = answer.unwrap_or_else(|error| panic!("{error}"));
            let names: BTreeSet<String> = answer.headers().keys().map(ToString::to_string).collect();
            (answer.status().as_u16(), names, answer.text().await.unwrap_or_default())
        };
        let (of_known, of_unknown) = (ask(&known).await, ask(&unknown).await);
        assert_eq!(of_known, of_unknown, "{path}");
        assert_eq!(of_known.0, expected);
    }
    scene.post.subject(&known, KNOWN).await;
    scene.post.subject(&known, RESET).await;
    scene.post.subject(&unknown, VERIFY).await;
    assert_eq!(scene.post.letters(&unknown).len(), 1, "nothing to reset");
}

/// security 8
#[tokio::test(flavor = "multi_thread")]
async fn a_reset_password_opens_ends_all_sessions_and_the_link_is_good_once() {
    let scene = Scene::start().await;
    let email = scene.somebody().await;
    let (one, two) = (scene.signed_in(&email, PASSWORD).await, scene.signed_in(&email, PASSWORD).await);
    assert_eq!(words(&scene.forgot(&email).await), "202");
    let token = scene.post.subject(&email, RESET).await.token();
    assert_eq!(words(&scene.reset(&token, "short").await), "400 validation_error");
    assert_eq!(words(&scene.reset(&token, ANOTHER).await), "204");
    assert_eq!([scene.me(&one).await, scene.me(&two).await], ["401 session_revoked"; 2]);
    assert_eq!(words(&scene.login(&email, PASSWORD).await), "401 unauthorized");
    assert_eq!(words(&scene.login(&email, ANOTHER).await), "200");
    assert_eq!(words(&scene.reset(&token, PASSWORD).await), "409 conflict token_not_good");
    scene.post.subject(&email, CHANGED).await;
    // A secret is good for what it was issued for alone.
    assert_eq!(words(&scene.verify(&token).await), "409 conflict token_not_good");
    for nonsense in ["", "nonsense", "a.b.c", &format!("{token}A")] {
        assert_eq!(words(&scene.reset(nonsense, PASSWORD).await), "409 conflict token_not_good", "{nonsense}");
    }
}

/// security 8: who reads somebody's mail has a password of theirs, and no second factor.
#[tokio::test(flavor = "multi_thread")]
async fn a_reset_password_takes_no_second_factor_away_and_is_not_enough_without_one() {
    let scene = Scene::start().await;
    let email = scene.somebody().await;
    let (mut app, factor, codes) = add_app(&scene.visitor, &scene.signed_in(&email, PASSWORD).await).await;
    scene.post.subject(&email, FACTOR_ADDED).await;
    let begun = text(&scene.login(&email, PASSWORD).await, "/challenge");
    assert_eq!(words(&scene.forgot(&email).await), "202");
    let token = scene.post.subject(&email, RESET).await.token();
    assert_eq!(words(&scene.reset(&token, ANOTHER).await), "204");
    // A sign-in that began with the former password is over with it.
    let late = second_factor(&scene.visitor, &begun, "recovery", &codes[0]).await;
    assert_eq!(words(&late), "401 unauthorized");
    let login = scene.login(&email, ANOTHER).await;
    assert_eq!((login.status, part(&login, "/mfaRequired")), (200, json!(true)), "{login}");
    assert!(part(&login, "/accessToken").is_null() && part(&login, "/refreshToken").is_null(), "{login}");
    let challenge = text(&login, "/challenge");
    let person = signed(&second_factor(&scene.visitor, &challenge, "totp", &app.code().await).await);
    let list = scene.visitor.auth(Some(&person.access), Ask::get("/auth/factors")).await;
    let expected = json!({ "factors": [{ "id": factor, "kind": "totp", "label": "Phone" }], "recoveryCodesLeft": 10 });
    assert_eq!(part(&list, ""), expected);
    // The codes are good still, and their use is told.
    let challenge = text(&scene.login(&email, ANOTHER).await, "/challenge");
    signed(&second_factor(&scene.visitor, &challenge, "recovery", &codes[0]).await);
    scene.post.subject(&email, RECOVERED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_resets_with_one_secret_exactly_one_counts() {
    let scene = Scene::start().await;
    let email = scene.somebody().await;
    scene.forgot(&email).await;
    let token = scene.post.subject(&email, RESET).await.token();
    let passwords: Vec<String> = (0..8).map(|number| format!("{number} owls in a tram")).collect();
    let resets = passwords.iter().map(async |password| {
        loop {
            let answer = scene.reset(&token, password).await;
            // A busy machine may say "not now"; then nothing was decided.
            if answer.status != 503 {
                return (words(&answer), password);
            }
        }
    });
    let answers = futures_util::future::join_all(resets).await;
    let won: Vec<_> = answers.iter().filter(|(words, _)| words == "204").collect();
    assert_eq!(won.len(), 1, "{answers:?}");
    assert!(
        answers.iter().all(|(words, _)| ["204", "409 conflict token_not_good"].contains(&words.as_str())),
        "{answers:?}"
    );
    for (said, password) in &answers {
        let expected = if said == "204" { "200" } else { "401 unauthorized" };
        assert_eq!(words(&scene.login(&email, password).await), expected);
    }
}

/// security 8
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_ends_all_other_sessions_and_this_one_goes_on() {
    let scene = Scene::start().await;
    let email = scene.somebody().await;
    let (here, there) = (scene.login(&email, PASSWORD).await, scene.signed_in(&email, PASSWORD).await);
    let text = |pointer: &str| here.text(pointer).unwrap_or_else(|error| panic!("{error:#}"));
    let (access, refresh) = (text("/accessToken"), text("/refreshToken"));
    let change = async |current: &str, new: &str| {
        let body = json!({ "currentPassword": current, "newPassword": new });
        scene.send(Some(&access), "/auth/password/change", body).await
    };
    assert_eq!(words(&change(ANOTHER, ANOTHER).await), "403 forbidden wrong_password");
    assert_eq!(words(&change(PASSWORD, "passwordpassword").await), "400 validation_error");
    let changed = change(PASSWORD, ANOTHER).await;
    let fresh = changed.text("/accessToken").unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!([scene.me(&fresh).await, scene.me(&access).await], ["200", "200"]);
    assert_eq!(scene.me(&there).await, "401 session_revoked");
    let refreshed = scene.send(None, "/auth/refresh", json!({ "refreshToken": refresh })).await;
    assert_eq!(words(&refreshed), "200", "the session goes on");
    assert_eq!(words(&scene.login(&email, PASSWORD).await), "401 unauthorized");
    scene.post.subject(&email, CHANGED).await;
}

/// security 3
#[tokio::test(flavor = "multi_thread")]
async fn no_way_to_set_a_password_takes_one_that_is_tried_first() {
    let scene = Scene::start().await;
    let email = somebody();
    let own = format!("{email}1");
    for bad in ["fourteen chars", "passwordpassword", own.as_str(), &"x".repeat(129)] {
        let body = json!({ "email": email, "name": "Ada Lovelace", "password": bad });
        assert_eq!(words(&scene.send(None, "/auth/register", body).await), "400 validation_error", "{bad}");
    }
    let longest: String = "däwrüktösvpqnzhjxgm".chars().cycle().take(128).collect();
    let body = json!({ "email": email, "name": "Ada Lovelace", "password": longest });
    assert_eq!(words(&scene.send(None, "/auth/register", body).await), "202");
    let token = scene.post.subject(&email, VERIFY).await.token();
    assert_eq!(words(&scene.verify_with(&token, &longest).await), "200");
    assert_eq!(words(&scene.login(&email, &longest).await), "200");
    let cut: String = longest.chars().take(127).collect();
    assert_eq!(words(&scene.login(&email, &cut).await), "401 unauthorized", "taken whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_again_and_again_in_somebody_s_name_neither_floods_nor_locks_them_out() {
    let scene = Scene::start().await;
    let email = scene.somebody().await;
    for _ in 0..8 {
        assert_eq!(words(&scene.forgot(&email).await), "202");
    }
    let letters = scene.post.until(&email, 6).await;
    // The order of mails says that nothing is on its way behind a later one.
    let token = letters.iter().find(|letter| letter.header("Subject") == RESET).map(|letter| letter.token());
    assert_eq!(words(&scene.reset(&token.unwrap_or_default(), ANOTHER).await), "204", "the first is good still");
    scene.post.subject(&email, CHANGED).await;
    let resets = scene.post.letters(&email).iter().filter(|letter| letter.header("Subject") == RESET).count();
    assert_eq!(resets, 5);
}

/// security 3: eight characters beside a second factor, fifteen without one, and never eight alone.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_a_second_factor_may_set_a_short_password_and_keeps_the_factor_with_it() {
    const SHORT: &str = "nine owls";
    let scene = Scene::start().await;
    let email = scene.somebody().await;
    let reset_token = async || {
        let known = scene.post.letters(&email);
        assert_eq!(words(&scene.forgot(&email).await), "202");
        let letters = scene.post.until(&email, known.len() + 1).await;
        let new = letters.into_iter().find(|it| !known.contains(it) && it.header("Subject") == RESET);
        new.unwrap_or_else(|| panic!("no reset")).token()
    };
    let token = reset_token().await;
    assert_eq!(words(&scene.reset(&token, SHORT).await), "400 validation_error", "the only factor");
    let person = scene.signed_in(&email, PASSWORD).await;
    let (mut app, factor, _) = add_app(&scene.visitor, &person).await;
    scene.post.subject(&email, FACTOR_ADDED).await;
    assert_eq!(words(&scene.reset(&token, "7 owls!").await), "400 validation_error");
    assert_eq!(words(&scene.reset(&token, SHORT).await), "204");
    scene.post.subject(&email, CHANGED).await;

    let challenge = text(&scene.login(&email, SHORT).await, "/challenge");
    let person = signed(&second_factor(&scene.visitor, &challenge, "totp", &app.code().await).await);
    let path = format!("/auth/factors/{factor}");
    let remove = async || scene.visitor.auth(Some(&person.access), Ask::new(Method::DELETE, &path)).await;
    assert_eq!(words(&remove().await), "409 conflict password_too_short");
    let change = async |current: &str, new: &str| {
        let body = json!({ "currentPassword": current, "newPassword": new });
        words(&scene.send(Some(&person.access), "/auth/password/change", body).await)
    };
    assert_eq!(change(SHORT, ANOTHER).await, "200");
    assert_eq!(words(&remove().await), "204", "beside a long one it may go");
    assert_eq!(change(ANOTHER, SHORT).await, "400 validation_error");
}

/// security 1
#[tokio::test(flavor = "multi_thread")]
async fn a_hash_of_weaker_parameters_opens_and_is_made_anew_at_sign_in() {
    /// `PASSWORD`, hashed with an eighth of today's memory and half of its passes.
    const WEAK: &str =
        "$argon2id$v=19$m=8192,t=1,p=1$AAECAwQFBgcICQoLDA0ODw$pPNsTvO8jor9l1TiRpfbN4XmluvQGadZ+wA/BLJUv7A";
    let scene = Scene::start().await;
    let email = scene.somebody().await;
    let user = scene.login(&email, PASSWORD).await.text("/user/id").unwrap_or_else(|error| panic!("{error:#}"));
    decide(scene.stack(), &user, |_| {
        let (hash, cause) = (Sealed::new(WEAK.to_owned()), PasswordCause::Upgraded);
        vec![UserEvent::PasswordSet { hash, cause, beside_factor: false }]
    })
    .await;
    assert_eq!(words(&scene.login(&email, PASSWORD).await), "200");
    let mut conn = database(scene.stack()).await;
    let upgraded = "select count(*) from event where stream = 'user-' || $1 and type = 'user.password_set'
                    and data like '%upgraded%'";
    let anew = async {
        while sqlx::query_scalar::<_, i64>(upgraded).bind(&user).fetch_one(&mut conn).await.ok() != Some(2) {
            tokio::time::sleep(PAUSE).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, anew).await.is_ok(), "it stays as it was");
    assert_eq!(words(&scene.login(&email, PASSWORD).await), "200");
    assert_eq!(words(&scene.login(&email, ANOTHER).await), "401 unauthorized");
}

/// security 6, 13: of whoever did not verify in time nothing is left that says who they were or opens anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_nobody_verified_is_erased_and_a_verified_one_is_not() {
    let scene = Scene::start().await;
    let (email, verified) = (somebody(), scene.somebody().await);
    assert_eq!(words(&scene.register(&email).await), "202");
    let token = scene.post.subject(&email, VERIFY).await.token();
    let [person, secret, _] = token.split('.').collect::<Vec<_>>()[..] else { panic!("{token}") };
    let id = secret.parse().unwrap_or_else(|error| panic!("{secret}: {error}"));
    // The link is good for a day; here it is used up instead.
    decide(scene.stack(), person, |_| vec![UserEvent::SecretUsed { id }]).await;
    let mut conn = database(scene.stack()).await;
    let there = "select count(*) from unverified_person where person = any($1::uuid[])";
    let known = scene.login(&verified, PASSWORD).await.text("/user/id").unwrap_or_else(|error| panic!("{error:#}"));
    let both = [person.to_owned(), known];
    let due = sqlx::query("update unverified_person set due_at = 0 where person = any($1::uuid[])").bind(&both);
    due.execute(&mut conn).await.unwrap_or_else(|error| panic!("{error}"));
    let gone = async {
        loop {
            let left = sqlx::query_scalar::<_, i64>(there).bind(&both).fetch_one(&mut conn).await;
            if left.unwrap_or_else(|error| panic!("{error}")) == 0 {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, gone).await.is_ok(), "nobody looks for them");
    let left = "select (select count(*) from person_key where person = $1::uuid),
                       (select count(*) from event where stream = 'user-' || $1 and type = 'user.erased')";
    for (person, expected) in both.iter().zip([(0, 1), (1, 0)]) {
        let found = sqlx::query_as::<_, (i64, i64)>(left).bind(person).fetch_one(&mut conn).await;
        assert_eq!(found.unwrap_or_else(|error| panic!("{error}")), expected, "{person}");
    }
    assert_eq!(words(&scene.verify(&token).await), "409 conflict token_not_good");
    assert_eq!(words(&scene.login(&verified, PASSWORD).await), "200");
}

fn pg_dump() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path());
    let places = versions.chain([PathBuf::from("/opt/homebrew")]).map(|place| place.join("bin/pg_dump"));
    places.filter(|place| place.exists()).max().unwrap_or_else(|| Path::new("pg_dump").to_owned())
}

/// security 6 and 12
#[tokio::test(flavor = "multi_thread")]
async fn a_dump_of_the_database_and_the_log_lines_hold_no_usable_token_and_no_address() {
    let scene = Scene::start().await;
    let email = scene.somebody().await;
    scene.forgot(&email).await;
    let token = scene.post.subject(&email, RESET).await.token();
    let secret = token.rsplit('.').next().unwrap_or_default();
    let url = scene.stack().addresses_with(|at| at.database(Database::Auth, "postgres"));
    let url = url.unwrap_or_else(|failure| panic!("{failure}"));
    let dump = Command::new(pg_dump()).args(["--dbname", &url]).output().unwrap_or_else(|error| panic!("{error}"));
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let dump = String::from_utf8_lossy(&dump.stdout);
    assert!(dump.contains("user.secret_issued"), "the dump holds the log");
    let lines = fs::read_to_string(scene.stack().layout().log("auth")).unwrap_or_else(|error| panic!("{error}"));
    assert!(lines.contains("mail.sent"), "the lines tell of mails");
    for (what, text) in [("the dump", &*dump), ("the log lines", &lines)] {
        for part in [secret, email.as_str(), &email.to_lowercase(), PASSWORD] {
            assert!(!text.contains(part), "{what}: {part}");
        }
    }
}
