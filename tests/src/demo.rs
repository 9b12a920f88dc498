//! A whole platform with the demo, and people who ask it things.

use crate::{processes::Process, servers};
use kisum::{
    local::{Part, Stack, databases::Database},
    platform::{Addresses, Answer, Ask, Platform},
    seed,
};
use reqwest::Method;
use serde_json::{Value, json};
use std::{net::TcpListener, time::Duration};
use tokio::sync::OnceCell;

/// The longest wait for a process to serve.
const STARTED: Duration = Duration::from_secs(60);

/// A running platform with the demo in it, of one test's own.
pub struct Demo {
    /// Its processes.
    pub stack: Stack,
    visitor: Visitor,
}

/// Somebody outside who asks a platform things. Each test makes its own: connections belong to its runtime.
pub struct Visitor {
    /// The platform's addresses, and requests to them.
    pub platform: Platform,
}

impl std::ops::Deref for Demo {
    type Target = Visitor;
    fn deref(&self) -> &Visitor {
        &self.visitor
    }
}

impl Demo {
    /// Starts one and seeds it.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts one whose services are told this, too, and seeds it.
    pub async fn start_with(variables: &[(&str, &str)]) -> Self {
        let mut options = servers::options();
        for part in Part::SERVICES {
            let of_part = options.overrides.entry(part).or_default();
            of_part.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        }
        let stack = Stack::start(options).await.unwrap_or_else(|failure| panic!("{failure}"));
        let visitor = Visitor::of(&stack);
        seed::demo(visitor.platform.addresses()).await.unwrap_or_else(|error| panic!("seeding: {error:#}"));
        Self { stack, visitor }
    }
}

static SHARED: OnceCell<Demo> = OnceCell::const_new();

/// A visitor of the demo that all tests of this process share, and leave as they found it.
pub async fn shared() -> Visitor {
    Visitor::of(&SHARED.get_or_init(Demo::start).await.stack)
}

/// Where a database of that demo is, for its run-time role.
pub async fn database_url(database: Database) -> String {
    let demo = SHARED.get_or_init(Demo::start).await;
    let url = demo.stack.addresses_with(|at| at.database(database, database.runtime_role()));
    url.unwrap_or_else(|failure| panic!("{failure}"))
}

/// One more process of Auth beside a stack's own, with other variables where `changed` says so, and somebody who asks
/// that one.
pub async fn another_auth(stack: &Stack, changed: &[(&str, &str)]) -> (Process, Visitor) {
    // Drawn and given back: that somebody else draws it meanwhile is unlikely, and then the process does not start.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = format!("127.0.0.1:{}", port.unwrap_or_else(|error| panic!("{error}")).port());
    let variables: Vec<_> = changed.iter().copied().chain([("LISTEN_ADDR", address.as_str())]).collect();
    let process = Process::service(stack, Part::Auth, &variables);
    let mut variables = stack.variables().unwrap_or_else(|failure| panic!("{failure}"));
    variables.insert("AUTH_URL".to_owned(), format!("http://{address}"));
    let addresses = Addresses::from_variables(&variables).unwrap_or_else(|error| panic!("{error:#}"));
    let visitor = Visitor { platform: Platform::new(addresses).unwrap_or_else(|error| panic!("{error:#}")) };
    let serving = async { while tokio::net::TcpStream::connect(&address).await.is_err() {} };
    assert!(tokio::time::timeout(STARTED, serving).await.is_ok(), "{:?}", process.lines().last());
    (process, visitor)
}

/// Which backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// `/api/events`
    Basic,
    /// `/api/bills`
    Finance,
}

impl Visitor {
    /// A visitor of that stack, whatever of it runs.
    pub fn of(stack: &Stack) -> Self {
        let variables = stack.variables().unwrap_or_else(|failure| panic!("{failure}"));
        let addresses = Addresses::from_variables(&variables).unwrap_or_else(|error| panic!("{error:#}"));
        Self { platform: Platform::new(addresses).unwrap_or_else(|error| panic!("{error:#}")) }
    }

    /// Asks a public route.
    pub async fn ask(&self, base: &str, token: Option<&str>, ask: Ask<'_>) -> Answer {
        self.platform.public(base, token, ask).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Asks Auth's public listener.
    pub async fn auth(&self, token: Option<&str>, ask: Ask<'_>) -> Answer {
        self.ask(&self.platform.addresses().auth, token, ask).await
    }

    /// Signs in as a person of the demo.
    pub async fn sign_in(&self, email: &str) -> Signed {
        let body = json!({ "email": email, "password": self.platform.addresses().demo_password, "client": "native" });
        let answer = self.auth(None, Ask::new(Method::POST, "/auth/login").body(body)).await;
        let text = |pointer: &str| answer.text(pointer).unwrap_or_else(|error| panic!("{email}: {error:#}"));
        Signed { access: text("/accessToken"), refresh: text("/refreshToken"), user_id: text("/user/id") }
    }

    /// A person's access in a company, as Auth tells them.
    pub async fn access(&self, token: &str, company: &str) -> Answer {
        self.auth(Some(token), Ask::get("/auth/me/access").company(company)).await
    }

    /// Reads or writes in a backend.
    pub async fn business(&self, backend: Backend, method: Method, token: &str, company: &str) -> Answer {
        let addresses = self.platform.addresses();
        let (base, path, body) = match backend {
            Backend::Basic => (&addresses.basic, "/api/events", json!({ "title": "Opening night" })),
            Backend::Finance => {
                (&addresses.finance, "/api/bills", json!({ "number": "B-1", "amountCents": 12_50, "currency": "EUR" }))
            }
        };
        let ask = Ask::new(method.clone(), path).company(company);
        self.ask(base, Some(token), if method == Method::POST { ask.body(body) } else { ask }).await
    }
}

/// Somebody who is signed in.
pub struct Signed {
    /// Their access token.
    pub access: String,
    /// Their refresh token.
    pub refresh: String,
    /// Who they are.
    pub user_id: String,
}

/// An answer in a few words: status, code, reason.
pub fn words(answer: &Answer) -> String {
    let mut words = answer.status.to_string();
    for word in [answer.code(), answer.reason()] {
        if !word.is_empty() {
            words.push(' ');
            words.push_str(word);
        }
    }
    words
}

/// A list in the answer's data, as texts.
pub fn texts(answer: &Answer, pointer: &str) -> Vec<String> {
    let list = answer.body.pointer(&format!("/data{pointer}")).and_then(Value::as_array).cloned().unwrap_or_default();
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}
