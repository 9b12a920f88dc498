//! Somebody of a test's own, who signs in and has second factors.

use crate::{
    authenticator_app::App,
    counted::new_uuid,
    demo::{Signed, Visitor, texts, words},
    passkey::{Manner, Passkey},
};
use kisum::platform::{Answer, Ask, Callee};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

/// A person whom no other test knows.
pub struct Account {
    /// Their address.
    pub email: String,
    /// Their password.
    pub password: String,
    /// Who they are.
    pub user_id: String,
}

/// The longest wait for an answer that is no "not now".
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until it is decided: a busy machine may say meanwhile that it cannot tell.
pub async fn decided(visitor: &Visitor, token: Option<&str>, ask: Ask<'_>) -> Answer {
    let deciding = async {
        loop {
            let answer = visitor.auth(token, ask.clone()).await;
            if answer.status != 503 {
                return answer;
            }
        }
    };
    tokio::time::timeout(PATIENCE, deciding).await.unwrap_or_else(|_| panic!("only 503"))
}

/// Sends a POST.
pub async fn post(visitor: &Visitor, token: Option<&str>, path: &str, body: Value) -> Answer {
    decided(visitor, token, Ask::new(Method::POST, path).body(body)).await
}

/// Asks who one is, in words.
pub async fn me(visitor: &Visitor, token: &str) -> String {
    words(&decided(visitor, Some(token), Ask::get("/auth/me")).await)
}

/// A text of a successful answer.
pub fn text(answer: &Answer, pointer: &str) -> String {
    answer.text(pointer).unwrap_or_else(|error| panic!("{error:#}: {answer}"))
}

/// Reads the tokens of somebody who has signed in.
pub fn signed(answer: &Answer) -> Signed {
    Signed {
        access: text(answer, "/accessToken"),
        refresh: text(answer, "/refreshToken"),
        user_id: text(answer, "/user/id"),
    }
}

/// What stands in a part of an answer's data.
pub fn part(answer: &Answer, pointer: &str) -> Value {
    answer.body.pointer(&format!("/data{pointer}")).cloned().unwrap_or_default()
}

impl Account {
    /// Registers somebody.
    pub async fn new(visitor: &Visitor) -> Self {
        let email = format!("person-{}@factors.example", new_uuid().simple());
        let password = "a password of some length".to_owned();
        let body = json!({ "email": email, "name": "A Person", "password": password });
        let ask = Ask::new(Method::POST, "/internal/v1/users").body(body);
        let answer = visitor.platform.internal(Callee::Auth, ask).await.unwrap_or_else(|error| panic!("{error:#}"));
        Self { user_id: text(&answer, "/userId"), email, password }
    }

    /// Sends the password.
    pub async fn login(&self, visitor: &Visitor) -> Answer {
        let body = json!({ "email": self.email, "password": self.password, "client": "native" });
        post(visitor, None, "/auth/login", body).await
    }

    /// Signs in by password alone.
    pub async fn sign_in(&self, visitor: &Visitor) -> Signed {
        signed(&self.login(visitor).await)
    }

    /// Begins to sign in, and answers with the challenge.
    pub async fn begin(&self, visitor: &Visitor) -> String {
        text(&self.login(visitor).await, "/challenge")
    }

    /// Signs in with an app.
    pub async fn sign_in_with(&self, visitor: &Visitor, app: &mut App) -> Signed {
        let challenge = self.begin(visitor).await;
        let code = app.code().await;
        signed(&second_factor(visitor, &challenge, "totp", &code).await)
    }
}

/// Sends a code as second factor.
pub async fn second_factor(visitor: &Visitor, challenge: &str, method: &str, code: &str) -> Answer {
    let body = json!({ "challenge": challenge, "method": method, "code": code });
    post(visitor, None, "/auth/login/second-factor", body).await
}

/// Adds an app to somebody's factors: the app, its id, and recovery codes where it was the first factor.
pub async fn add_app(visitor: &Visitor, token: &str) -> (App, String, Vec<String>) {
    let offer = post(visitor, Some(token), "/auth/factors/totp", json!({ "label": "Phone" })).await;
    let mut app = App::new(&text(&offer, "/secret"));
    let body = json!({ "challenge": text(&offer, "/challenge"), "code": app.code().await });
    let added = post(visitor, Some(token), "/auth/factors", body).await;
    assert_eq!(added.status, 201, "{added}");
    (app, text(&added, "/factor/id"), texts(&added, "/recoveryCodes"))
}

/// Adds a passkey to somebody's factors.
pub async fn add_passkey(visitor: &Visitor, token: &str) -> (Passkey, Answer) {
    let begun = post(visitor, Some(token), "/auth/passkeys/register/options", json!({ "label": "Key" })).await;
    let (passkey, credential) = Passkey::create(&part(&begun, "/publicKey"), &Manner::default());
    let body = json!({ "challenge": text(&begun, "/challenge"), "credential": credential });
    let added = post(visitor, Some(token), "/auth/passkeys/register/finish", body).await;
    (passkey, added)
}
