//! What holds on every listener of every service (contract, *HTTP*, *Every service*; `security.md` 15 and 27): every
//! operation is documented and placed in the table of who may send it, and every answer keeps the conventions.
//!
//! A new operation fails `every_operation_is_placed_and_documented` until somebody says here who may send it.

mod answers;
mod bad_input;
mod commands;
mod documents;
mod sample;
mod signed;
mod sockets;
mod table;
mod tenancy;
mod unauthorised;
mod untouched;

use kisum::platform::Platform;
use kisum_guard::{Clock, ServiceSigner};
use kisum_tests::{
    demo::{Demo, Visitor},
    kept::Kept,
};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use table::{LISTENERS, Listener, Sender};

/// These describe the service and its document, not the contract.
const BESIDE_THE_DOCUMENT: [&str; 3] = ["/openapi.json", "/docs", "/metrics"];

static PLATFORM: Kept<Demo> = Kept::new();

/// Someone who knows the address of every listener, the internal ones too.
struct Everywhere {
    shared: Arc<Demo>,
    demo: Visitor,
    http: Client,
}

impl Everywhere {
    async fn start() -> Self {
        let shared = PLATFORM.get(Demo::start).await;
        // Connections belong to the runtime of one test, so each test makes its own.
        let platform = Platform::new(shared.platform.addresses().clone()).unwrap_or_else(|error| panic!("{error:#}"));
        let http = Client::builder().no_proxy().build().unwrap_or_else(|error| panic!("{error}"));
        Self { shared, demo: Visitor { platform }, http }
    }

    fn base(&self, listener: &Listener) -> String {
        let at = |variable| self.shared.stack.variable(variable).unwrap_or_else(|failure| panic!("{failure}"));
        let base = at(listener.url);
        assert!(!base.is_empty(), ".kisum/env has no {}", listener.url);
        base
    }

    fn ask(&self, listener: &Listener, method: &str, path: &str) -> RequestBuilder {
        let method = method.parse::<Method>().unwrap_or_else(|error| panic!("{method}: {error}"));
        self.http.request(method, format!("{}{path}", self.base(listener)))
    }

    /// A token of the caller `admin` for one request.
    fn service_token(&self, listener: &Listener, method: &str, path: &str) -> String {
        let addresses = self.demo.platform.addresses();
        let signer = ServiceSigner::new(&addresses.environment, "admin", &addresses.admin_private_key);
        let signer = signer.unwrap_or_else(|error| panic!("{error}"));
        signer.token(&listener.callee(), method, path, Clock::system().now())
    }

    async fn get(&self, listener: &Listener, path: &str) -> Response {
        sent(self.ask(listener, "GET", path)).await
    }

    async fn document(&self, listener: &Listener) -> Value {
        json(self.get(listener, "/openapi.json").await).await
    }
}

async fn sent(request: RequestBuilder) -> Response {
    request.send().await.unwrap_or_else(|error| panic!("{error}"))
}

/// Sends a person's request until it is decided: a busy machine may say meanwhile that it cannot tell (503), which is
/// neither a refusal nor a permission. How long that may last, other suites say.
async fn decided(request: RequestBuilder) -> Response {
    let deciding = async {
        loop {
            let again = request.try_clone().unwrap_or_else(|| panic!("a body that is sent once"));
            let answer = sent(again).await;
            if answer.status().as_u16() != 503 {
                return answer;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(120), deciding).await.unwrap_or_else(|_| panic!("only 503"))
}

async fn json(response: Response) -> Value {
    let url = response.url().clone();
    response.json().await.unwrap_or_else(|error| panic!("{url}: {error}"))
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Method, path and description of every operation of a document.
fn operations(document: &Value) -> BTreeMap<(String, String), &Value> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let operations = paths.flat_map(|(path, item)| {
        let methods = item.as_object().into_iter().flatten();
        let methods = methods.filter(|(name, _)| ["get", "put", "post", "delete", "patch"].contains(&name.as_str()));
        methods.map(move |(method, operation)| ((path.clone(), method.to_uppercase()), operation))
    });
    operations.collect()
}

/// A path with something of the right form in place of every parameter.
fn filled(path: &str) -> String {
    let fill = |part: &str| match part {
        "{log}" => "auth".to_owned(),
        "{module}" | "{addon}" => "finance".to_owned(),
        "{permission}" => "finance.bills.read".to_owned(),
        "{role}" => "MANAGER".to_owned(),
        "{slug}" => "acme-live".to_owned(),
        part if part.starts_with('{') => "018f3a5c-0000-7000-8000-000000000001".to_owned(),
        part => part.to_owned(),
    };
    path.split('/').map(fill).collect::<Vec<_>>().join("/")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_is_placed_and_documented() {
    let everywhere = Everywhere::start().await;
    for listener in &LISTENERS {
        let document = everywhere.document(listener).await;
        let documented: BTreeSet<_> = operations(&document).into_keys().collect();
        let placed: BTreeSet<_> =
            listener.operations().map(|(_, method, path)| (path.to_owned(), method.to_owned())).collect();
        assert_eq!(documented, placed, "{}: who may send each operation stands in the table", listener.url);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_mounted_that_no_document_knows() {
    // `routes!` mounts and documents at once; only `.route(…)` could mount something in silence.
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../api/src");
    let mut folders = vec![std::path::PathBuf::from(root)];
    let mut silent = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())).flatten()
        {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
            let text = if is_test { String::new() } else { std::fs::read_to_string(&path).unwrap_or_default() };
            let mounts = ["route", "route_service", "nest", "nest_service"];
            let calls = mounts.iter().flat_map(|call| text.split(&format!(".{call}(")).skip(1).collect::<Vec<_>>());
            silent.extend(calls.map(|rest| rest.split(',').next().unwrap_or_default().trim_matches('"').to_owned()));
        }
    }
    assert_eq!(silent, BTreeSet::from(BESIDE_THE_DOCUMENT.map(str::to_owned)), "mount it with routes!");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_without_a_token_gets_past_an_operation_that_wants_one() {
    let everywhere = Everywhere::start().await;
    let person = everywhere.demo.sign_in("superadmin@acme-live.example").await.access;
    let unsigned = "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.eyJzdWIiOiJ4In0.";
    for listener in &LISTENERS {
        for (sender, method, path) in listener.operations() {
            // Neither a content type nor JSON: were the body read first, this would be a 400 or a 415.
            let ask = || everywhere.ask(listener, method, &filled(path)).header("x-org", "acme-live").body("{");
            let mut refused = vec![("no token", ask()), ("an unsigned token", ask().bearer_auth(unsigned))];
            if sender == Sender::Service {
                refused.push(("a person's token", ask().bearer_auth(&person)));
                refused.push(("a person's token beside none", ask().header("x-actor-token", &person)));
            }
            for (with, request) in refused {
                let answer = sent(request).await;
                let (status, challenge) = (answer.status().as_u16(), header(&answer, "www-authenticate").to_owned());
                let what = format!("{} {method} {path} with {with}", listener.url);
                match sender {
                    Sender::Anybody | Sender::Either => assert_ne!(status, 401, "{what}"),
                    // The refresh token is in the body: what is no JSON holds none, and a bearer token is none either.
                    Sender::RefreshToken => assert!(matches!(status, 400 | 401 | 415), "{what}: {status}"),
                    Sender::Person | Sender::Service => {
                        assert_eq!(status, 401, "{what}");
                        assert_eq!(challenge, "Bearer", "{what}");
                        assert_eq!(json(answer).await["error"]["code"], "unauthorized", "{what}");
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_refresh_token_there_is_nothing_to_refresh_or_end() {
    let everywhere = Everywhere::start().await;
    for listener in &LISTENERS {
        for (_, method, path) in listener.operations().filter(|(sender, ..)| *sender == Sender::RefreshToken) {
            let request = everywhere.ask(listener, method, path).header("content-type", "application/json").body("{}");
            let answer = sent(request).await;
            assert_eq!(answer.status().as_u16(), 401, "{path}");
            assert_eq!(json(answer).await["error"]["code"], "unauthorized", "{path}");
        }
    }
}
