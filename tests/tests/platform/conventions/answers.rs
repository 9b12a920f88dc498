//! What every answer has in common, whichever listener gives it: headers, problems, labels, log lines, readiness.

use super::{BESIDE_THE_DOCUMENT, Everywhere, header, json, sent};
use crate::conventions::table::{LISTENERS, Listener};
use kisum::local::Part;
use reqwest::Response;
use serde_json::Value;
use std::{collections::BTreeMap, fmt::Write, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The longest wait for a line of a log.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(5);

/// Headers of every answer (`security.md` 27), and what each must hold.
const SECURE: [(&str, &str); 5] = [
    ("strict-transport-security", "max-age="),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
    ("content-security-policy", "default-src 'none'"),
];

fn assert_secure(answer: &Response, what: &str) {
    for (name, holds) in SECURE {
        assert!(header(answer, name).contains(holds), "{what}: {name} is {:?}", header(answer, name));
    }
    assert_eq!(header(answer, "server"), "", "{what} says what it is made of");
}

/// The part that a listener belongs to, by its variable.
fn part(listener: &Listener) -> Part {
    listener.callee().parse().unwrap_or_else(|error| panic!("{error}"))
}

/// security 27
#[tokio::test(flavor = "multi_thread")]
async fn every_answer_carries_the_security_headers_and_a_label() {
    let everywhere = Everywhere::start().await;
    for listener in &LISTENERS {
        for (method, path) in [
            ("GET", "/health"),
            ("GET", "/ready"),
            ("GET", "/openapi.json"),
            ("GET", "/docs"),
            ("GET", "/nothing/here"),
            ("DELETE", "/health"),
            ("OPTIONS", "/health"),
        ] {
            let answer = sent(everywhere.ask(listener, method, path)).await;
            let what = format!("{} {method} {path}", listener.url);
            assert_secure(&answer, &what);
            assert!(!header(&answer, "x-request-id").is_empty(), "{what}");
            assert!(!header(&answer, "cache-control").is_empty(), "{what} may be kept by nobody in between");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_service_is_alive_and_ready_and_names_each_dependency() {
    let everywhere = Everywhere::start().await;
    for listener in &LISTENERS {
        let alive = json(everywhere.get(listener, "/health").await).await;
        assert_eq!((&alive["success"], &alive["data"]["status"]), (&Value::Bool(true), &Value::from("alive")));
        let answer = everywhere.get(listener, "/ready").await;
        assert_eq!(answer.status().as_u16(), 200, "{}", listener.url);
        let report = json(answer).await;
        let list = report["data"]["dependencies"].as_array().cloned().unwrap_or_default();
        let named: Vec<_> =
            list.iter().map(|it| (it["name"].as_str().unwrap_or_default(), it["required"] == true)).collect();
        assert_eq!(named, listener.dependencies, "{}", listener.url);
        let required_up = list.iter().all(|it| it["required"] == false || it["state"] == "up");
        assert!(required_up, "{}: {report}", listener.url);
    }
}

/// security 15
#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_internal_routes_are_on_internal_listeners_alone() {
    let everywhere = Everywhere::start().await;
    for listener in &LISTENERS {
        for path in BESIDE_THE_DOCUMENT {
            let answer = everywhere.get(listener, path).await;
            let expected = if path == "/metrics" && !listener.is_internal { 404 } else { 200 };
            assert_eq!(answer.status().as_u16(), expected, "{} {path}", listener.url);
        }
        for (_, method, path) in LISTENERS.iter().flat_map(Listener::operations) {
            if path.starts_with("/internal/") && !listener.is_internal {
                let answer = sent(everywhere.ask(listener, method, &super::filled(path))).await;
                assert_eq!(answer.status().as_u16(), 404, "{} {method} {path}", listener.url);
            }
        }
        if listener.is_internal {
            let metrics = everywhere.get(listener, "/metrics").await;
            assert!(header(&metrics, "content-type").starts_with("text/plain"), "{}", listener.url);
            let text = metrics.text().await.unwrap_or_default();
            assert!(text.contains("kisum_http_request_duration_seconds_bucket{"), "{}", listener.url);
            let foreign =
                text.lines().find(|line| !line.is_empty() && !line.starts_with(['#']) && !line.starts_with("kisum_"));
            assert_eq!(foreign, None, "{}", listener.url);
        }
    }
}

/// security 26
#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_before_a_handler_is_a_problem_on_every_listener() {
    let everywhere = Everywhere::start().await;
    let large = "x".repeat(20 * 1024);
    let mut bodies: BTreeMap<u16, String> = BTreeMap::new();
    for listener in &LISTENERS {
        let too_long = everywhere.ask(listener, "GET", "/health").header("x-large", &large);
        let too_large = everywhere.ask(listener, "POST", "/health").header("connection", "close");
        let too_large = too_large.body("x".repeat(65 * 1024));
        for (request, status) in [
            (everywhere.ask(listener, "GET", "/nothing/here"), 404),
            (everywhere.ask(listener, "PATCH", "/health"), 405),
            (too_large, 413),
            (too_long, 431),
        ] {
            let answer = sent(request).await;
            let what = format!("{} {status}", listener.url);
            assert_eq!(answer.status().as_u16(), status, "{what}");
            assert_eq!(header(&answer, "content-type"), "application/problem+json", "{what}");
            if status == 405 {
                // RFC 9110 §15.5.6: the answer says which methods there are.
                assert!(header(&answer, "allow").contains("GET"), "{what}: {:?}", header(&answer, "allow"));
            }
            let body = serde_json::to_string_pretty(&json(answer).await).unwrap_or_default();
            let first = bodies.entry(status).or_insert_with(|| body.clone());
            assert_eq!(*first, body, "{what}: every listener says it alike");
        }
    }
    let mut text = String::new();
    for body in bodies.values() {
        writeln!(text, "{body}").ok();
    }
    insta::assert_snapshot!("problems_before_a_handler", text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_is_kept_when_it_is_one_and_stands_in_the_log_with_the_trace() {
    let everywhere = Everywhere::start().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    for listener in &LISTENERS {
        let good = format!("conventions.{}-1", listener.url);
        for (label, is_kept) in [(good.as_str(), true), ("two words", false), ("", false), (&"x".repeat(65), false)] {
            let request = everywhere.ask(listener, "GET", "/nothing/here").header("x-request-id", label);
            let request = request.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
            let answer = sent(request).await;
            let answered = header(&answer, "x-request-id");
            assert_eq!(answered == label, is_kept, "{}: {label} became {answered}", listener.url);
            assert!((1..=64).contains(&answered.len()), "{}: {answered}", listener.url);
        }
        let line = logged(&everywhere, part(listener), &good).await;
        assert_eq!((&line["trace_id"], &line["status"]), (&trace.into(), &404.into()), "{line}");
        assert_eq!((&line["event"], &line["code"]), (&"http.request".into(), &"not_found".into()), "{line}");
    }
}

/// The line that a part has logged under a label; lines are gathered for a moment before they are written.
async fn logged(everywhere: &Everywhere, part: Part, label: &str) -> Value {
    let log = everywhere.shared.stack.layout().log(part.name());
    let waiting = async {
        loop {
            let text = std::fs::read_to_string(&log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
            // What stands behind the last end of a line is being written.
            let (lines, _) = text.rsplit_once('\n').unwrap_or_default();
            let mut found = None;
            for line in lines.lines() {
                let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{part}: {error}: {line}"));
                assert_eq!((&line["service"], &line["environment"]), (&part.name().into(), &"local".into()), "{line}");
                assert!(
                    line["timestamp"].as_str().is_some_and(|at| at.ends_with('Z')) && line["level"].is_string(),
                    "{line}"
                );
                if line["request_id"] == label {
                    found = Some(line);
                }
            }
            match found {
                Some(line) => return line,
                None => tokio::time::sleep(PAUSE).await,
            }
        }
    };
    let within = tokio::time::timeout(PATIENCE, waiting).await;
    within.unwrap_or_else(|_| panic!("{part} has logged nothing of {label} within {PATIENCE:?}"))
}

/// security 12
#[tokio::test(flavor = "multi_thread")]
async fn no_log_holds_a_password_a_token_or_an_address() {
    let everywhere = Everywhere::start().await;
    let person = everywhere.demo.sign_in("admin@acme-live.example").await;
    everywhere.demo.access(&person.access, "acme-live").await;
    let password = everywhere.demo.platform.addresses().demo_password.clone();
    let signature = person.access.rsplit('.').next().unwrap_or_default();
    let refresh = person.refresh.rsplit('.').next().unwrap_or_default();
    for part in Part::SERVICES {
        let log = everywhere.shared.stack.layout().log(part.name());
        let text = std::fs::read_to_string(&log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        for secret in [password.as_str(), signature, refresh, "@acme-live.example", "$argon2"] {
            assert!(secret.len() > 5 && !text.contains(secret), "{part} logs {secret}");
        }
    }
}

/// The head of the next answer on a connection; nothing when it is closed instead.
async fn next_head(connection: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await.ok()?);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await.ok()?;
    Some(head)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_goes_on_after_a_refusal_or_the_refusal_says_that_it_ends() {
    let everywhere = Everywhere::start().await;
    for listener in &LISTENERS {
        let base = everywhere.base(listener);
        for length in [10, 30_000, 70_000] {
            let mut connection = TcpStream::connect(base.trim_start_matches("http://"))
                .await
                .unwrap_or_else(|error| panic!("{base}: {error}"));
            let mut request = format!("POST /health HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
            request.push_str(&"x".repeat(length));
            let what = format!("{} with a body of {length} bytes that nobody reads", listener.url);
            connection.write_all(request.as_bytes()).await.unwrap_or_else(|error| panic!("{what}: {error}"));
            let head = next_head(&mut connection).await.unwrap_or_else(|| panic!("{what}: no answer"));
            assert!(head.starts_with("http/1.1 4"), "{what}: {head}");
            if head.contains("connection: close") {
                continue;
            }
            // A pool of connections sends the next request on this one.
            let next = connection.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await;
            let answered = next_head(&mut connection).await.is_some_and(|head| head.starts_with("http/1.1 200"));
            assert!(next.is_ok() && answered, "{what}: the connection ended without a word, after {head}");
        }
    }
}
