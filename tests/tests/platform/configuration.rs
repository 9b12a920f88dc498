//! A service and its environment: whatever is missing or invalid stands in one message, the process exits with 78
//! before it listens, and no value is ever shown (contract, *Environment*).

use kisum::local::{Part, stack::binary_beside_this};
use kisum_tests::servers;
use std::{collections::BTreeMap, process::Stdio, time::Duration};
use tokio::{net::TcpListener, process::Command};

/// `EX_CONFIG` of sysexits.h.
const EX_CONFIG: i32 = 78;
/// A process that refuses its environment does so at once; one that still runs after this has accepted it.
const PATIENCE: Duration = Duration::from_secs(30);
/// What every service must be told.
const ALL: [&str; 3] = ["ENVIRONMENT", "OPS_LISTEN_ADDR", "SERVICE_PRIVATE_KEY"];

/// What else a service must be told. A variable that a service begins to need fails this until it is placed.
fn own(part: Part) -> &'static [&'static str] {
    match part {
        Part::Postgres | Part::Nats | Part::Redis => &[],
        Part::RelayAuth => &["SERVICE_TRUST", "AUTH_DB_URL", "NATS_URL", "NATS_HEAD_URL"],
        Part::RelayCore => &["SERVICE_TRUST", "CORE_DB_URL", "NATS_URL", "NATS_HEAD_URL"],
        Part::Core => &["SERVICE_TRUST", "CORE_DB_URL", "DATA_ENCRYPTION_KEYS"],
        Part::Auth => &[
            "LISTEN_ADDR",
            "SERVICE_TRUST",
            "AUTH_DB_URL",
            "REDIS_URL",
            "NATS_URL",
            "JWT_ISSUER",
            "JWT_AUDIENCE",
            "JWT_KEYRING_FILE",
            "REFRESH_TOKEN_KEY",
            "DATA_ENCRYPTION_KEYS",
            "LOOKUP_KEY",
            "CACHE_MAC_KEY",
            "AUTH_LOG_URLS",
            "CORE_LOG_URLS",
            "CORE_INTERNAL_URL",
            "SMTP_URL",
            "MAIL_FROM",
            "APP_URL",
            "WEBAUTHN_RP_ID",
            "ERASURE_LEDGER",
        ],
        Part::Basic => {
            &["LISTEN_ADDR", "BASIC_DB_URL", "NATS_URL", "AUTH_URL", "AUTH_INTERNAL_URL", "JWT_ISSUER", "JWT_AUDIENCE"]
        }
        Part::Finance => &[
            "LISTEN_ADDR",
            "FINANCE_DB_URL",
            "NATS_URL",
            "AUTH_URL",
            "AUTH_INTERNAL_URL",
            "JWT_ISSUER",
            "JWT_AUDIENCE",
        ],
    }
}

fn required(part: Part) -> Vec<&'static str> {
    let mut names: Vec<_> = ALL.iter().chain(own(part)).copied().collect();
    names.sort_unstable();
    names
}

/// How a service ended that was given an environment which it must refuse.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ended {
    /// The variables that the message names, each line one, in order of name.
    fn named(&self) -> Vec<&str> {
        let mut names: Vec<_> =
            self.stderr.lines().skip(1).filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
        names.sort_unstable();
        names
    }
}

type Variables = BTreeMap<String, String>;

async fn serve(part: Part, environment: &Variables) -> Ended {
    let binary = binary_beside_this().unwrap_or_else(|failure| panic!("{failure}"));
    let mut command = Command::new(binary);
    command.args(part.serve_arguments()).env_clear().envs(environment).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ended = tokio::time::timeout(PATIENCE, command.output()).await;
    let names: Vec<_> = environment.keys().collect();
    let output = ended.unwrap_or_else(|_| panic!("{part} runs with {names:?}")).unwrap_or_else(|e| panic!("{e}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// An environment with which the service runs.
async fn good(part: Part) -> Variables {
    let stack = servers::shared().await;
    stack.environment(part).unwrap_or_else(|failure| panic!("{failure}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_an_environment_names_every_variable_it_misses_and_exits_with_78() {
    for part in Part::SERVICES {
        let ended = serve(part, &Variables::new()).await;
        assert_eq!(ended.code, Some(EX_CONFIG), "{part}: {}", ended.stderr);
        assert_eq!(ended.named(), required(part), "{part}: {}", ended.stderr);
        let missing = ended.stderr.lines().skip(1).all(|line| line.ends_with(" is missing"));
        assert!(missing && ended.stderr.starts_with("kisum: "), "{part}: {}", ended.stderr);
        assert_eq!(ended.stdout, "", "{part} says it once, on standard error");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_required_variable_has_a_default_even_on_a_developer_s_machine() {
    for part in Part::SERVICES {
        let good = good(part).await;
        for name in required(part) {
            for empty in [false, true] {
                let mut environment = good.clone();
                environment.remove(name);
                if empty {
                    environment.insert(name.to_owned(), String::new());
                }
                let ended = serve(part, &environment).await;
                assert_eq!(ended.code, Some(EX_CONFIG), "{part} without {name}: {}", ended.stderr);
                assert_eq!(ended.named(), [name], "{part} without {name}: {}", ended.stderr);
            }
        }
    }
}

/// security 28
#[tokio::test(flavor = "multi_thread")]
async fn every_invalid_variable_stands_in_the_same_message_and_no_value_is_shown() {
    // Whatever has a form of its own; the others are names, or are passed on as they are.
    let any_text = ["JWT_ISSUER", "JWT_AUDIENCE"];
    for part in Part::SERVICES {
        let formed: Vec<_> = required(part).into_iter().filter(|name| !any_text.contains(name)).collect();
        let mut environment = good(part).await;
        for name in &formed {
            environment.insert((*name).to_owned(), "Hunter2 is no such thing".to_owned());
        }
        let ended = serve(part, &environment).await;
        assert_eq!(ended.code, Some(EX_CONFIG), "{part}: {}", ended.stderr);
        assert_eq!(ended.named(), formed, "{part}: {}", ended.stderr);
        assert!(!ended.stderr.contains("Hunter2"), "a value may be a secret: {}", ended.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_invalid_alone_is_refused_before_anything_is_listened_on() {
    for part in Part::SERVICES {
        let good = good(part).await;
        for (name, bad) in [
            ("SERVICE_PRIVATE_KEY", "no PEM"),
            ("SERVICE_PRIVATE_KEY", "file:/no/such/file"),
            ("SERVICE_TRUST", "/no/such/file"),
            ("JWT_KEYRING_FILE", "/no/such/file"),
            ("ERASURE_LEDGER", "/no/such/folder/erasures.jsonl"),
            ("DATA_ENCRYPTION_KEYS", "1:c2hvcnQ="),
            ("LOOKUP_KEY", "c2hvcnQ="),
            ("REFRESH_TOKEN_KEY", "not base64"),
            ("CACHE_MAC_KEY", "c2hvcnQ="),
            ("AUTH_DB_URL", "mysql://nobody@127.0.0.1/none"),
            ("NATS_URL", "nats://127.0.0.1:no-port"),
            ("REDIS_URL", "http://127.0.0.1"),
            ("DB_POOL_MAX", "0"),
            ("ACCESS_TOKEN_TTL", "five minutes"),
            ("CORS_ORIGINS", "*"),
            ("TRUSTED_PROXIES", "everybody"),
            ("LOG_FORMAT", "xml"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://127.0.0.1:4317"),
            ("AUTH_INTERNAL_URL", "127.0.0.1:80"),
        ] {
            // What a service does not read cannot be wrong for it.
            let by_all =
                ["DB_POOL_MAX", "CORS_ORIGINS", "TRUSTED_PROXIES", "LOG_FORMAT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
            let reads_it = by_all.contains(&name)
                || required(part).contains(&name)
                || (name == "ACCESS_TOKEN_TTL" && part == Part::Auth);
            if !reads_it {
                continue;
            }
            // The address is held by this test: had the service come to listening, it would say so instead.
            let held = TcpListener::bind("127.0.0.1:0").await.unwrap_or_else(|error| panic!("{error}"));
            let address = held.local_addr().unwrap_or_else(|error| panic!("{error}")).to_string();
            let mut environment = good.clone();
            environment.insert("OPS_LISTEN_ADDR".to_owned(), address);
            environment.insert(name.to_owned(), bad.to_owned());
            let ended = serve(part, &environment).await;
            assert_eq!(ended.code, Some(EX_CONFIG), "{part} with {name}={bad}: {}", ended.stderr);
            assert_eq!(ended.named(), [name], "{part} with {name}={bad}: {}", ended.stderr);
        }
    }
}

/// security 28
#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_developer_s_machine_may_do_is_refused_elsewhere() {
    let mut environment = good(Part::Auth).await;
    environment.insert("ENVIRONMENT".to_owned(), "production".to_owned());
    environment.insert("ACCESS_TOKEN_TTL".to_owned(), "900".to_owned());
    environment.insert("SMTP_URL".to_owned(), "smtp://127.0.0.1:2525".to_owned());
    let ended = serve(Part::Auth, &environment).await;
    let refused = (Some(EX_CONFIG), vec!["ACCESS_TOKEN_TTL", "SMTP_URL"]);
    assert_eq!((ended.code, ended.named()), refused, "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dependency_that_does_not_answer_is_exit_code_3_and_named_without_its_address() {
    for (part, name) in [(Part::Core, "CORE_DB_URL"), (Part::Finance, "FINANCE_DB_URL")] {
        let mut environment = good(part).await;
        environment.insert(name.to_owned(), "postgres://someone:hunter2@127.0.0.1:1/none".to_owned());
        let ended = serve(part, &environment).await;
        assert_eq!(ended.code, Some(3), "{part}: {}", ended.stderr);
        assert!(ended.stderr.contains(name) && !ended.stderr.contains("hunter2"), "{part}: {}", ended.stderr);
    }
}
