//! A login flood: what may wait is bounded, whoever comes beyond it is told at once to come back, memory stays where it
//! was, nobody else is kept waiting, and afterwards people sign in as before.

use crate::ALONE;
use kisum::local::{Part, Stack};
use kisum_tests::{account::Account, demo::Visitor, servers};
use reqwest::{Client, StatusCode, header::RETRY_AFTER};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinSet;

/// Passwords that may wait for a thread (`api/src/auth/passwords.rs`).
const QUEUE: usize = 64;
/// How many times that come.
const TIMES: usize = 20;
/// Senders, each with one request after the other: twice as many as may wait.
const SENDERS: usize = 2 * QUEUE;
/// Answers that everybody else gets of each route meanwhile.
const OTHERS: usize = 20;
/// MB that Auth may grow by at most, besides what its hashing threads work in: connections, requests, answers, lines. Were
/// everybody hashed who comes, each sender would take [`HASH_MB`].
const GROWTH_MB: usize = 64;
const HASH_MB: usize = 19;
/// Longest wait for anything on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Two connections to the database: if one were held while a password is hashed or waits, nobody else would get an answer.
const OF_AUTH: [(&str, &str); 2] = [("TRUSTED_PROXIES", "127.0.0.1/32"), ("DB_POOL_MAX", "2")];

async fn start() -> Stack {
    let mut options = servers::options().with_services(&[Part::Auth]);
    let told = OF_AUTH.map(|(name, value)| (name.to_owned(), value.to_owned()));
    options.overrides.entry(Part::Auth).or_default().extend(told);
    Stack::start(options).await.unwrap_or_else(|failure| panic!("{failure}"))
}

/// A line of `/proc/{pid}/status`, in MB.
fn memory(stack: &Stack, line: &str) -> usize {
    let pid = stack.pid(Part::Auth).unwrap_or_else(|| panic!("Auth does not run"));
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_else(|error| panic!("{error}"));
    let kilobytes: Option<usize> =
        status.lines().find_map(|text| text.strip_prefix(line)?.trim().split(' ').next()?.parse().ok());
    kilobytes.unwrap_or_else(|| panic!("no {line} in {status}")) / 1024
}

/// What everybody did.
#[derive(Default)]
struct Flood {
    sent: AtomicUsize,
    is_over: AtomicBool,
}

/// Sends wrong passwords, each from a network of its own, until enough were sent and everybody else was served; answers what
/// came back, by status and code.
async fn send(flood: Arc<Flood>, http: Client, url: String) -> BTreeMap<String, usize> {
    let mut answers = BTreeMap::new();
    while !flood.is_over.load(Ordering::Relaxed) || flood.sent.load(Ordering::Relaxed) < QUEUE * TIMES {
        let number = flood.sent.fetch_add(1, Ordering::Relaxed);
        let body = json!({ "email": format!("nobody{number}@flood.example"), "password": "nobody's password at all" });
        let from = format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255);
        let request = http.post(&url).header("x-forwarded-for", from).json(&body);
        let answer = request.send().await.unwrap_or_else(|error| panic!("{error}"));
        let (status, comes_back) = (answer.status(), answer.headers().contains_key(RETRY_AFTER));
        let body: Value = answer.json().await.unwrap_or_else(|error| panic!("{status}: {error}"));
        let code = body["error"]["code"].as_str().unwrap_or_default();
        assert_eq!(status == StatusCode::SERVICE_UNAVAILABLE, comes_back, "{status}: {body}");
        *answers.entry(format!("{} {code}", status.as_u16())).or_default() += 1;
    }
    answers
}

/// `security.md` 2: a bounded queue, refusals beyond it with `Retry-After`, no database connection held while hashing; and the
/// login flood of the plan: memory is bounded, others are served, and it leaves nothing behind.
#[tokio::test(flavor = "multi_thread")]
async fn security_2_a_login_flood_is_refused_beyond_its_queue_and_reaches_nobody_else() {
    let _alone = ALONE.lock().await;
    let stack = start().await;
    let visitor = Visitor::of(&stack);
    let ada = Account::new(&visitor).await;
    let token = ada.sign_in(&visitor).await.access;
    let auth = visitor.platform.addresses().auth.clone();
    let http = Client::builder().no_proxy().build().unwrap_or_else(|error| panic!("{error}"));
    let before = memory(&stack, "VmHWM:");

    let flood = Arc::new(Flood::default());
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        senders.spawn(send(Arc::clone(&flood), http.clone(), format!("{auth}/auth/login")));
    }
    let asking = async {
        for path in ["/.well-known/jwks.json", "/auth/me", "/auth/sessions"].repeat(OTHERS) {
            loop {
                let answer = http.get(format!("{auth}{path}")).bearer_auth(&token).send().await;
                let status = answer.unwrap_or_else(|error| panic!("{path}: {error}")).status();
                if status == StatusCode::OK {
                    break;
                }
                // A busy machine may say that it cannot tell; what needs nobody always can.
                assert!(status == StatusCode::SERVICE_UNAVAILABLE && path.starts_with("/auth/"), "{path}: {status}");
            }
        }
        flood.is_over.store(true, Ordering::Relaxed);
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("others are kept waiting"));
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    let gathering = async {
        while let Some(sent) = senders.join_next().await {
            for (answer, count) in sent.unwrap_or_else(|error| panic!("{error}")) {
                *answers.entry(answer).or_default() += count;
            }
        }
    };
    tokio::time::timeout(PATIENCE, gathering).await.unwrap_or_else(|_| panic!("the flood gets no answers"));

    // A request that waited for its time's end in the queue of a starved machine was answered, too.
    let known = ["401 unauthorized", "503 service_unavailable", "408 request_timeout"];
    assert!(answers.keys().all(|answer| known.contains(&answer.as_str())), "{answers:?}");
    let count = |answer: &str| answers.get(answer).copied().unwrap_or_default();
    assert!(count(known[0]) > 0 && count(known[1]) > 0, "some are hashed, some refused: {answers:?}");
    assert!(answers.values().sum::<usize>() >= QUEUE * TIMES, "{answers:?}");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (peak, room) = (memory(&stack, "VmHWM:"), GROWTH_MB + threads * HASH_MB);
    assert!(peak <= before + room, "Auth grew from {before} to {peak} MB, by more than {room}");

    // Whoever was let in may still be hashed; then it is as before.
    assert_eq!(ada.login(&visitor).await.status, 200, "the next sign-in after a flood");
}
