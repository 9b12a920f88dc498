//! Failed sign-ins in the log, limits of rotation, and refreshes that meet a crash.

use kisum::{
    local::{Part, databases::Database},
    platform::Ask,
};
use kisum_tests::{
    cached::Cached,
    demo::{Demo, words},
};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use std::time::Duration;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

fn login(email: &str, password: &str) -> Ask<'static> {
    Ask::new(Method::POST, "/auth/login").body(json!({ "email": email, "password": password, "client": "native" }))
}

fn refresh(token: &str) -> Ask<'static> {
    Ask::new(Method::POST, "/auth/refresh").body(json!({ "refreshToken": token }))
}

/// A session's id as it is written elsewhere than in tokens.
fn session_id(text: &str) -> Uuid {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

async fn failures(demo: &Demo) -> Vec<(String, Value)> {
    let url = demo.stack.addresses_with(|at| at.database(Database::Auth, Database::Auth.runtime_role()));
    let url = url.unwrap_or_else(|failure| panic!("{failure}"));
    let mut conn = PgConnection::connect(&url).await.unwrap_or_else(|error| panic!("{error}"));
    let sql = "select stream, data from event where type = 'signin.failed' order by position";
    let rows: Vec<(String, String)> =
        sqlx::query_as(sql).fetch_all(&mut conn).await.unwrap_or_else(|error| panic!("{error}"));
    let read = |data: String| serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error}"));
    rows.into_iter().map(|(stream, data)| (stream, read(data))).collect()
}

/// events.md: coalesced per account and network; unknown addresses are metrics only.
#[tokio::test(flavor = "multi_thread")]
async fn failed_sign_ins_are_one_event_an_account_and_network_and_an_orderly_end_loses_none() {
    let mut demo = Demo::start().await;
    let user = demo.sign_in("user@core-club.example").await.user_id;
    for _ in 0..7 {
        let wrong = demo.auth(None, login("user@core-club.example", "this is not the password")).await;
        assert_eq!(wrong.status, 401, "{wrong}");
    }
    for number in 0..5 {
        let unknown = demo.auth(None, login(&format!("nobody{number}@nowhere.example"), "whatever it may be")).await;
        assert_eq!(unknown.status, 401, "{unknown}");
    }
    demo.stack.stop_part(Part::Auth).await;
    let written = failures(&demo).await;
    // One; a minute may have ended in between.
    assert!((1..=3).contains(&written.len()), "{written:?}");
    let mut count = 0;
    for (stream, data) in &written {
        assert!(stream.starts_with(&format!("signin-{user}-20")), "{stream}");
        assert_eq!((&data["userId"], &data["reason"]), (&json!(user), &json!("credentials")), "{data}");
        assert!(data.get("net").is_none(), "where it came from is sealed: {data}");
        assert!(data["from"].as_str() <= data["until"].as_str(), "{data}");
        count += data["count"].as_u64().unwrap_or_default();
    }
    assert_eq!(count, 7, "{written:?}");
}

/// Contract, *Redis*: `ratelimit:refresh:{sessionId}`; a replay counts against no limit.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_rotates_no_more_often_than_it_may_with_redis_and_without_and_replays_cost_nothing() {
    const MAX: usize = 4;
    let mut demo = Demo::start_with(&[("REFRESHES_PER_MINUTE_MAX", "4")]).await;
    let rotate = async |demo: &Demo| {
        let mut token = demo.sign_in("user@core-club.example").await.refresh;
        for _ in 0..MAX {
            let former = token.clone();
            let answer = demo.auth(None, refresh(&token)).await;
            token = answer.text("/refreshToken").unwrap_or_else(|error| panic!("{error:#}"));
            for _ in 0..3 {
                let replayed = demo.auth(None, refresh(&former)).await;
                assert_eq!(replayed.text("/refreshToken").ok().as_ref(), Some(&token), "{replayed}");
            }
        }
        // What was rotated a moment ago is counted a moment later, so one more may slip through, and no second.
        let waiting = async {
            loop {
                let answer = demo.auth(None, refresh(&token)).await;
                if answer.status == 429 {
                    return (answer, token);
                }
                token = answer.text("/refreshToken").unwrap_or_else(|error| panic!("{error:#}"));
                tokio::time::sleep(PAUSE).await;
            }
        };
        let limited = tokio::time::timeout(PATIENCE, waiting).await;
        limited.unwrap_or_else(|_| panic!("rotations are not limited"))
    };
    let (limited, token) = rotate(&demo).await;
    assert_eq!(words(&limited), "429 rate_limited");
    Cached::of(&demo.stack).await.flush().await;
    let still = demo.auth(None, refresh(&token)).await;
    assert_eq!(words(&still), "429 rate_limited", "what Redis forgets, the process does not");
    let url = demo.stack.variable("REDIS_URL").unwrap_or_else(|failure| panic!("{failure}"));
    let client = redis::Client::open(url).unwrap_or_else(|error| panic!("{error}"));
    let mut poisoner = client.get_multiplexed_async_connection().await.unwrap_or_else(|error| panic!("{error}"));
    let session = token.split('.').next().unwrap_or_default();
    let session = session_id(session);
    for poison in ["nonsense", "-999999"] {
        let key = format!("ratelimit:refresh:{session}");
        let put = redis::cmd("SET").arg(key).arg(poison).query_async::<()>(&mut poisoner).await;
        put.unwrap_or_else(|error| panic!("{error}"));
        let poisoned = demo.auth(None, refresh(&token)).await;
        assert_eq!(words(&poisoned), "429 rate_limited", "whatever somebody wrote there: {poison}");
    }
    demo.stack.kill(Part::Redis).await;
    assert_eq!(words(&demo.auth(None, refresh(&token)).await), "429 rate_limited");
    let (limited, _) = rotate(&demo).await;
    assert_eq!(words(&limited), "429 rate_limited", "without Redis it counts by itself");
}

/// security 7: whatever became of the answer, the client has a successor.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_was_committed_and_not_answered_is_answered_when_asked_again() {
    let mut demo = Demo::start().await;
    let signed = demo.sign_in("user@core-club.example").await;
    // Auth is frozen with the request in its hands, and killed: whether it had committed, the client cannot tell.
    let mut token = signed.refresh;
    for _ in 0..4 {
        let base = demo.platform.addresses().auth.clone();
        let http = reqwest::Client::new();
        let body = json!({ "refreshToken": token });
        let lost = tokio::spawn(http.post(format!("{base}/auth/refresh")).json(&body).send());
        let sent = sessions_refreshed(&demo).await;
        let written = async {
            while sessions_refreshed(&demo).await == sent && !lost.is_finished() {
                tokio::task::yield_now().await;
            }
        };
        let _either = tokio::time::timeout(PATIENCE, written).await;
        demo.stack.kill(Part::Auth).await;
        lost.abort();
        demo.stack.start_part(Part::Auth).await.unwrap_or_else(|failure| panic!("{failure}"));
        let again = async {
            loop {
                let answer = demo.platform.public(&base, None, refresh(&token)).await;
                match answer {
                    Ok(answer) if answer.status != 503 => return answer,
                    Ok(_) | Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
        };
        let answer = tokio::time::timeout(PATIENCE, again).await.unwrap_or_else(|_| panic!("Auth does not come back"));
        token = answer.text("/refreshToken").unwrap_or_else(|error| panic!("{error:#}"));
    }
}

async fn sessions_refreshed(demo: &Demo) -> i64 {
    let url = demo.stack.addresses_with(|at| at.database(Database::Auth, Database::Auth.runtime_role()));
    let url = url.unwrap_or_else(|failure| panic!("{failure}"));
    let mut conn = PgConnection::connect(&url).await.unwrap_or_else(|error| panic!("{error}"));
    let sql = "select count(*) from event where type = 'session.refreshed'";
    sqlx::query_scalar(sql).fetch_one(&mut conn).await.unwrap_or_else(|error| panic!("{error}"))
}
