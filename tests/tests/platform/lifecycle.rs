//! People's lifecycle on a platform of their own: everything that ends their sessions, staff who change their standing,
//! and erasure.

mod addons;
mod delegations;
mod erasure;
mod explain;
mod invitations;
mod members;
mod overlooked;
mod passwords;
mod races;
mod roles;
mod signins;
mod staff;

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeyPair,
    signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use kisum::{
    ambient::Stopwatch,
    demo::ADMIN_EMAIL,
    local::{Stack, databases::Database},
    platform::{Answer, Ask, Callee},
};
use kisum_events::Log;
use kisum_log::{EventLog, Sealer};
use kisum_tests::{
    authenticator_app::App,
    counted::new_uuid,
    demo::{Demo, Signed, Visitor, words},
    kept::Kept,
    servers,
};
use reqwest::Method;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::sync::OnceCell;

/// Within this every guard knows of whatever has changed (`consistency.md`).
const BOUND: Duration = Duration::from_secs(5);
/// How long a test waits for what has no bound of its own.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);
const OVER: &str = "401 session_revoked";
/// A company of the demo that owns the finance module.
const COMPANY: &str = "acme-live";

static SHARED: Kept<Setting> = Kept::new();

/// A platform, and the owner whom its first owner has made: an app's codes are good once each, which tests that run side
/// by side would have to wait for.
struct Setting {
    demo: Demo,
    owner: OnceCell<Person>,
}

impl Setting {
    async fn start() -> Self {
        Self { demo: Demo::start().await, owner: OnceCell::new() }
    }
}

/// Whose a platform is: one that a test has for itself ends with the test.
enum Held {
    Shared(Arc<Setting>),
    Own(Box<Setting>),
}

impl std::ops::Deref for Held {
    type Target = Setting;
    fn deref(&self) -> &Setting {
        match self {
            Self::Shared(setting) => setting,
            Self::Own(setting) => setting,
        }
    }
}

/// A visitor of the platform that the tests of this module share.
struct Scene {
    setting: Held,
    visitor: Visitor,
}

/// Somebody whom one test made.
struct Person {
    id: String,
    email: String,
}

impl Scene {
    async fn start() -> Self {
        Self::of(Held::Shared(SHARED.get(Setting::start).await))
    }

    /// On a platform that no other test touches.
    async fn of_its_own() -> Self {
        Self::of(Held::Own(Box::new(Setting::start().await)))
    }

    fn of(setting: Held) -> Self {
        Self { visitor: Visitor::of(&setting.demo.stack), setting }
    }

    fn stack(&self) -> &Stack {
        &self.setting.demo.stack
    }

    /// Asks Auth as the service `admin`; a busy machine may say "not now".
    async fn admin(&self, ask: Ask<'_>) -> Answer {
        let once = async || {
            let answer = self.visitor.platform.internal(Callee::Auth, ask.clone()).await;
            answer.unwrap_or_else(|error| panic!("{error:#}"))
        };
        settled(once).await
    }

    /// Asks Auth's public listener, in the same way.
    async fn auth(&self, token: Option<&str>, ask: Ask<'_>) -> Answer {
        settled(async || self.visitor.auth(token, ask.clone()).await).await
    }

    /// Registers somebody with the demo's password.
    async fn person(&self, name: &str) -> Person {
        let email = format!("{}@lifecycle.example", new_uuid().simple());
        let password = &self.visitor.platform.addresses().demo_password;
        let body = json!({ "email": email, "name": name, "password": password });
        let answer = self.admin(Ask::new(Method::POST, "/internal/v1/users").body(body)).await;
        Person { id: answer.text("/userId").unwrap_or_else(|error| panic!("{error:#}")), email }
    }

    /// Makes somebody a member of a company of the demo, who may read bills there.
    async fn member(&self, person: &Person, slug: &str) {
        let found = self.admin(Ask::get(&format!("/internal/v1/companies/by-slug/{slug}"))).await;
        let company = found.text("/companyId").unwrap_or_else(|error| panic!("{error:#}"));
        let base = format!("/internal/v1/companies/{company}/members");
        let body = json!({ "userId": person.id, "tenantRole": "USER" });
        let added = self.admin(Ask::new(Method::POST, &base).body(body)).await;
        let member = added.text("/membershipId").unwrap_or_else(|error| panic!("{error:#}"));
        for grant in ["modules/finance", "permissions/finance.bills.read"] {
            let granted = self.admin(Ask::new(Method::PUT, &format!("{base}/{member}/{grant}"))).await;
            assert!(granted.is_success(), "{granted}");
        }
    }

    async fn stands(&self, person: &Person, change: &str) -> Answer {
        let path = format!("/internal/v1/users/{}/{change}", person.id);
        self.admin(Ask::new(Method::POST, &path).body(json!({}))).await
    }

    /// Signs in with the demo's password.
    async fn sign_in(&self, email: &str) -> Signed {
        let password = &self.visitor.platform.addresses().demo_password;
        let body = json!({ "email": email, "password": password, "client": "native" });
        let answer = self.auth(None, Ask::new(Method::POST, "/auth/login").body(body)).await;
        let text = |pointer: &str| answer.text(pointer).unwrap_or_else(|error| panic!("{email}: {error:#}"));
        Signed { access: text("/accessToken"), refresh: text("/refreshToken"), user_id: text("/user/id") }
    }

    /// What Auth itself says of a token.
    async fn me(&self, token: &str) -> String {
        words(&self.auth(Some(token), Ask::get("/auth/me")).await)
    }

    /// What a backend says of it.
    async fn bills(&self, token: &str, slug: &str) -> String {
        let finance = &self.visitor.platform.addresses().finance;
        words(&self.visitor.ask(finance, Some(token), Ask::get("/api/bills").company(slug)).await)
    }

    /// Waits until a backend says so of a token. What is over may be let through no longer than the bound; "not now" may be
    /// said, as long as a busy machine takes.
    async fn bills_become(&self, token: &str, slug: &str, wanted: &str) {
        let mut last = String::new();
        let watch = Stopwatch::start();
        let waiting = async {
            loop {
                let asked = watch.elapsed();
                last = self.bills(token, slug).await;
                if last == wanted {
                    return;
                }
                assert!(wanted != OVER || asked < BOUND || last != "200", "let through after {asked:?}");
                tokio::time::sleep(PAUSE).await;
            }
        };
        let within = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(within.is_ok(), "{wanted} is not said within {PATIENCE:?}, but {last}");
    }

    async fn refreshed(&self, signed: &Signed) -> Answer {
        let body = json!({ "refreshToken": signed.refresh });
        self.auth(None, Ask::new(Method::POST, "/auth/refresh").body(body)).await
    }

    /// Signs the platform's first owner in, with the password and the app that the demo gives them.
    async fn first_owner(&self) -> String {
        let addresses = self.visitor.platform.addresses();
        let body = json!({ "email": ADMIN_EMAIL, "password": addresses.demo_password, "client": "native" });
        let asked = self.auth(None, Ask::new(Method::POST, "/auth/login").body(body)).await;
        assert_eq!(asked.body["data"]["methods"], json!(["totp"]), "{asked}");
        let challenge = asked.text("/challenge").unwrap_or_else(|error| panic!("{error:#}"));
        let code = App::new(&addresses.demo_admin_totp_secret).code().await;
        let body = json!({ "challenge": challenge, "method": "totp", "code": code });
        let signed = self.auth(None, Ask::new(Method::POST, "/auth/login/second-factor").body(body)).await;
        signed.text("/accessToken").unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// An owner whom the first one has made, and who has no app.
    async fn made_owner(&self) -> &Person {
        let made = self.setting.owner.get_or_init(|| async {
            let first = self.first_owner().await;
            let person = self.person("Owner").await;
            let granted = self.role(&first, Method::PUT, &person.id, "PLATFORM_OWNER").await;
            assert!(granted.is_success(), "{granted}");
            person
        });
        made.await
    }

    /// That owner with a token as if a second factor had been shown so many seconds ago.
    async fn owner(&self, seconds_ago: i64) -> String {
        let signed = self.sign_in(&self.made_owner().await.email).await;
        self.with_second_factor(&signed.access, seconds_ago)
    }

    /// The token as Auth signs it for somebody who has shown a second factor so many seconds ago.
    fn with_second_factor(&self, token: &str, seconds_ago: i64) -> String {
        let parts: Vec<_> = token.split('.').collect();
        let decoded = |part: &str| -> Value {
            let bytes = URL_SAFE_NO_PAD.decode(part).unwrap_or_else(|error| panic!("{error}"));
            serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{error}"))
        };
        let (header, mut claims) = (decoded(parts[0]), decoded(parts[1]));
        claims["acr"] = json!("aal2");
        claims["auth_time"] = json!(claims["iat"].as_i64().unwrap_or_default() - seconds_ago);
        let message = format!("{}.{}", parts[0], URL_SAFE_NO_PAD.encode(claims.to_string()));
        let pem = self.stack().secrets().jwt_key().unwrap_or_else(|failure| panic!("{failure}"));
        let der: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let der = STANDARD.decode(der).unwrap_or_else(|error| panic!("{error}"));
        let key = KeyPair::from_pkcs8(&der).unwrap_or_else(|error| panic!("{error}"));
        let encoding: &'static dyn RsaEncoding =
            if header["alg"] == "RS256" { &RSA_PKCS1_SHA256 } else { &RSA_PSS_SHA256 };
        let mut signature = vec![0; key.public_modulus_len()];
        let signed = key.sign(encoding, &SystemRandom::new(), message.as_bytes(), &mut signature);
        signed.unwrap_or_else(|error| panic!("{error}"));
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn database(&self) -> String {
        let url = self.stack().addresses_with(|at| at.database(Database::Auth, Database::Auth.runtime_role()));
        url.unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// The auth log, with the platform's own keys.
    async fn log(&self) -> EventLog {
        let keys = self.stack().secrets().data_keys().unwrap_or_else(|failure| panic!("{failure}"));
        let sealer = Sealer::new(&keys).unwrap_or_else(|error| panic!("{error}"));
        let url = self.database();
        let log = EventLog::open(Log::Auth, &url, servers::pool(&url).await, sealer).await;
        log.unwrap_or_else(|error| panic!("{error}"))
    }
}

/// Asks again while it is answered "not now", which a busy machine may be for a moment.
async fn settled(ask: impl AsyncFn() -> Answer) -> Answer {
    let asking = async {
        loop {
            let answer = ask().await;
            if answer.status != 503 {
                return answer;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("\"not now\" for {PATIENCE:?}"))
}

/// The session that a refresh token belongs to.
fn session_of(signed: &Signed) -> String {
    signed.refresh.split('.').next().unwrap_or_default().to_owned()
}
