//! Whatever is malformed is refused as the contract says, by every operation, before anything is written
//! (`security.md` 26). What is sent follows from the documents, so that a new operation is sent it too.

use super::{
    Everywhere, decided, header, operations,
    sample::{self, type_of},
    sent,
    table::{LISTENERS, Listener, Sender},
    untouched::written,
};
use futures_util::{StreamExt as _, stream};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

/// Requests at once.
const AT_ONCE: usize = 16;
/// One byte more than a body may have.
const TOO_LARGE: usize = 64 * 1024 + 1;

/// One request that is wrong, and what is answered.
struct Wrong {
    what: String,
    request: RequestBuilder,
    /// The statuses that say so.
    wanted: &'static [u16],
    is_service: bool,
}

/// Somebody who may send an operation, and sends it wrongly.
struct Sloppy<'a> {
    everywhere: &'a Everywhere,
    listener: &'a Listener,
    sender: Sender,
    method: &'a str,
    path: &'a str,
    person: &'a str,
    company: &'a str,
    member: &'a str,
}

impl Sloppy<'_> {
    fn filled(&self) -> String {
        let path = self.path.replace("{company}", self.company).replace("{member}", self.member);
        super::filled(&path)
    }

    /// The operation at a path, by who may send it; without a company.
    fn at(&self, path: &str) -> RequestBuilder {
        let request = self.everywhere.ask(self.listener, self.method, path);
        match self.sender {
            Sender::Anybody | Sender::Either | Sender::RefreshToken => request,
            Sender::Person => request.bearer_auth(self.person),
            Sender::Service => request.bearer_auth(self.everywhere.service_token(self.listener, self.method, path)),
        }
    }

    fn ask(&self) -> RequestBuilder {
        self.at(&self.filled()).header("x-org", self.company)
    }

    fn wrong(&self, what: impl Into<String>, request: RequestBuilder, wanted: &'static [u16]) -> Wrong {
        let what = format!("{} {} {}: {}", self.listener.url, self.method, self.path, what.into());
        Wrong { what, request, wanted, is_service: self.sender == Sender::Service }
    }

    /// Bodies that are none, by the schema of one that is.
    fn bodies(&self, document: &Value, schema: &Value) -> Vec<Wrong> {
        let json = |body: Vec<u8>| self.ask().header("content-type", "application/json").body(body);
        let good = sample::value(document, schema);
        let mut wrong = Vec::new();
        let deep = |open: &str, close: &str| format!("{}{}", open.repeat(9_000), close.repeat(9_000));
        for text in [
            "{",
            "}",
            "nonsense",
            "[]",
            "null",
            "42",
            "\"text\"",
            "{}{}",
            "{\"a\":}",
            "{'a':1}",
            "\u{feff}{}",
            "{\"surprise\":1}",
            "{\"surprise\":\"\\u0000\"}",
            "{\"surprise\":1e999}",
            "{\"\\ud800\":1}",
            &deep("[", "]"),
            &format!("{{\"surprise\":{}}}", deep("[", "]")),
            &format!("{{\"surprise\":{}1{}}}", "{\"a\":".repeat(9_000), "}".repeat(9_000)),
        ] {
            let start: String = text.chars().take(30).collect();
            wrong.push(self.wrong(format!("the body {start}"), json(text.as_bytes().to_vec()), &[400]));
        }
        wrong.push(self.wrong("a body that is no UTF-8", json(b"{\"a\":\"\xff\xfe\"}".to_vec()), &[400]));
        wrong.push(self.wrong("a body with a NUL byte", json(b"{\"a\":\"\0\"}".to_vec()), &[400]));
        let large = format!("{{\"surprise\":\"{}\"}}", "x".repeat(TOO_LARGE));
        wrong.push(self.wrong("a body that is too large", json(large.into_bytes()), &[413]));
        for media_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json"] {
            let request = self.ask().header("content-type", media_type).body(good.to_string());
            wrong.push(self.wrong(format!("the media type {media_type}"), request, &[415]));
        }
        wrong.push(self.wrong("no media type", self.ask().body(good.to_string()), &[415]));
        wrong.extend(self.members(document, schema, &good));
        wrong
    }

    /// A body that is right but for one member.
    fn members(&self, document: &Value, schema: &Value, good: &Value) -> Vec<Wrong> {
        let json = |body: String| self.ask().header("content-type", "application/json").body(body);
        let mut wrong = Vec::new();
        let mut surprised = good.clone();
        surprised["surprise"] = json!(1);
        wrong.push(self.wrong("an unknown member", json(surprised.to_string()), &[400]));
        for (name, member) in schema["properties"].as_object().into_iter().flatten() {
            let member = sample::resolved(document, member);
            let others = match type_of(member) {
                "string" => vec!["1", "true", "[]", "{}", "\"\\u0000\"", "99999999999999999999999999"],
                "integer" | "number" => {
                    vec!["\"1\"", "true", "[]", "{}", "1.5", "-1e400", "99999999999999999999999999"]
                }
                "boolean" => vec!["\"true\"", "1", "[]", "{}"],
                "array" => vec!["\"a\"", "1", "{}"],
                _ => vec!["\"a\"", "1", "true"],
            };
            for other in others {
                // Through text: some of these numbers are none that a program holds.
                let mut body = good.clone();
                body[name] = json!("#here#");
                let text = body.to_string().replace("\"#here#\"", other);
                wrong.push(self.wrong(format!("{other} as {name}"), json(text), &[400]));
            }
            let start = good.to_string();
            let twice = format!("{{\"{name}\":{},{}", good[name], start.trim_start_matches('{'));
            wrong.push(self.wrong(format!("{name} twice"), json(twice), &[400]));
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let mut body = good.clone();
            body.as_object_mut().map(|members| members.remove(name));
            wrong.push(self.wrong(format!("no {name}"), json(body.to_string()), &[400]));
        }
        wrong
    }

    /// Paths, queries and headers that are none.
    fn outside_the_body(&self, operation: &Value) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let named = |place: &str, name: &str| parameters.iter().any(|it| it["in"] == place && it["name"] == name);
        for parameter in parameters.iter().filter(|it| it["in"] == "path") {
            let name = parameter["name"].as_str().unwrap_or_default();
            let is_uuid = parameter["schema"]["format"] == "uuid";
            for bad in ["no-such.thing!", "%00", "%ff", "..%2f..%2fetc", "%0d%0a", &"x".repeat(300)] {
                let path = self.path.replace(&format!("{{{name}}}"), bad);
                let path = super::filled(&path.replace("{company}", self.company).replace("{member}", self.member));
                let wanted: &[u16] = if is_uuid { &[400] } else { &[400, 404, 422] };
                let request = self.at(&path).header("x-org", self.company);
                wrong.push(self.wrong(format!("{bad} as {name}"), request, wanted));
            }
        }
        if named("query", "limit") {
            let queries = [
                "limit=0",
                "limit=201",
                "limit=-1",
                "limit=x",
                "limit=99999999999",
                "cursor=%00",
                "cursor=x",
                "cursor=",
            ];
            for query in queries.into_iter().chain(["limit=1&limit=2"]) {
                // A log's pages have other limits, and no cursor.
                if self.path.contains("/log") && !["limit=0", "limit=-1", "limit=x"].contains(&query) {
                    continue;
                }
                let filled = self.filled();
                let token_path = self.at(&filled).header("x-org", self.company);
                wrong.push(self.wrong(query, token_path.query(&pairs(query)), &[400]));
            }
        }
        if named("header", "x-org") {
            let long = "a".repeat(64);
            for bad in ["", "A", "Acme Live", "acme_live", "../acme-live", "acme-live,core-club", "%00", &long] {
                let request = self.at(&self.filled()).header("x-org", bad);
                wrong.push(self.wrong(format!("the company {bad:?}"), request, &[400]));
            }
            let bytes = self.at(&self.filled()).header("x-org", &b"acme-\xff"[..]);
            wrong.push(self.wrong("a company that is no text", bytes, &[400]));
            wrong.push(self.wrong("no company", self.at(&self.filled()), &[400]));
            wrong.push(self.wrong("two companies", self.ask().header("x-org", "core-club"), &[400]));
            wrong.push(self.wrong("one company twice", self.ask().header("x-org", self.company), &[400]));
        }
        if named("header", "Idempotency-Key") {
            for bad in ["", "again", "018f3a5c-0000-7000-8000-00000000000g"] {
                let request = self.ask().header("idempotency-key", bad);
                wrong.push(self.wrong(format!("the key {bad:?}"), request.json(&json!({})), &[400]));
            }
        }
        if named("header", "X-Access-Position") {
            for bad in ["", "auth", "auth.1.-1", "market.1.1", "auth.1.99999999999999999999999"] {
                let request = self.ask().header("x-access-position", bad);
                wrong.push(self.wrong(format!("the position {bad:?}"), request, &[400]));
            }
        }
        wrong
    }
}

/// A query's parts as they stand; those with a percent sign are meant to be decoded once.
fn pairs(query: &str) -> Vec<(String, String)> {
    let decoded = query.replace("%00", "\0");
    let parts = decoded.split('&').filter_map(|part| part.split_once('='));
    parts.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Sends what is wrong, and holds the answers against the contract.
async fn refused(wrong: Vec<Wrong>) -> Vec<String> {
    let answers = stream::iter(wrong).map(async |Wrong { what, request, wanted, is_service }| {
        // A service's token is good once.
        let answer = if is_service { sent(request).await } else { decided(request).await };
        let status = answer.status().as_u16();
        let form = header(&answer, "content-type").to_owned();
        let label = header(&answer, "x-request-id").to_owned();
        let body: Value = answer.json().await.unwrap_or_default();
        let code = match status {
            400 => "validation_error",
            404 => "not_found",
            413 => "too_large",
            415 => "unsupported_media_type",
            422 => "unprocessable",
            _ => "",
        };
        let is_problem = form == "application/problem+json" && !label.is_empty() && body["error"]["code"] == code;
        (!wanted.contains(&status) || !is_problem).then(|| format!("{what}: {status} {form} {body}"))
    });
    let answers: Vec<_> = answers.buffer_unordered(AT_ONCE).collect().await;
    answers.into_iter().flatten().collect()
}

/// security 26
#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_malformed_is_refused_by_every_operation_and_nothing_is_written() {
    let everywhere = Everywhere::start().await;
    let person = everywhere.demo.sign_in("superadmin@acme-live.example").await.access;
    let user = everywhere.demo.sign_in("user@acme-live.example").await.access;
    let company = everywhere.demo.access(&person, "acme-live").await.text("/companyId");
    let member = everywhere.demo.access(&user, "acme-live").await.text("/membershipId");
    let [company, member] = [company, member].map(|text| text.unwrap_or_else(|error| panic!("{error:#}")));
    let before = written(&everywhere).await;
    let (mut wrong, mut with_bodies) = (Vec::new(), 0);
    for listener in &LISTENERS {
        let document = everywhere.document(listener).await;
        let documented = operations(&document);
        for (sender, method, path) in listener.operations() {
            let operation = documented[&(path.to_owned(), method.to_owned())];
            let (everywhere, person, company, member) = (&everywhere, &person, &company, &member);
            let sloppy = Sloppy { everywhere, listener, sender, method, path, person, company, member };
            wrong.extend(sloppy.outside_the_body(operation));
            if let Some(schema) = sample::body_schema(&document, operation) {
                wrong.extend(sloppy.bodies(&document, schema));
                with_bodies += 1;
            }
        }
    }
    assert!(with_bodies >= 12 && wrong.len() > 500, "only {} of {with_bodies} bodies", wrong.len());
    let accepted = refused(wrong).await;
    assert!(accepted.is_empty(), "{} are not refused as they should be:\n{}", accepted.len(), accepted.join("\n"));
    assert_eq!(written(&everywhere).await, before, "nothing was written");
}
