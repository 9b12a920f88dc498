//! Refreshes that meet each other, a crash, an outage and a thief (security 7): whatever became of an answer, the client
//! has one successor, and a token that was rotated away and comes back too late ends the session.

use aws_lc_rs::{digest, hmac};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use kisum::{
    local::{Part, Stack, databases::Database},
    platform::{Answer, Ask},
};
use kisum_domains::Session;
use kisum_events::{Actor, Log, Meta, RequestId, Sealed, SessionEvent, SessionId, StreamName, Timestamp};
use kisum_log::{Append, EventLog, Loaded, Sealer};
use kisum_tests::{
    account::{Account, decided, me},
    counted::new_uuid,
    demo::{self, Visitor, words},
    kept::Kept,
    processes::Ended,
    servers,
};
use reqwest::Method;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// Requests with one token at the same moment.
const CROWD: usize = 50;
/// Kills of a process that holds a refresh, each at a later one of its calls: the first ones prepare statements.
const KILLS: usize = 4;
const OVER: &str = "401 session_revoked";

static STACK: Kept<Stack> = Kept::new();

fn ok<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// An Auth alone, which the tests of this file share.
async fn scene() -> (Arc<Stack>, Visitor) {
    let start = async || servers::start(&[Part::RelayAuth, Part::RelayCore, Part::Auth]).await;
    let stack = STACK.get(start).await;
    let visitor = Visitor::of(&stack);
    (stack, visitor)
}

fn refresh(token: &str) -> Ask<'static> {
    Ask::new(Method::POST, "/auth/refresh").body(json!({ "refreshToken": token }))
}

/// Asks until it is decided.
async fn refreshed(visitor: &Visitor, token: &str) -> Answer {
    decided(visitor, None, refresh(token)).await
}

fn successor(answer: &Answer) -> String {
    answer.text("/refreshToken").unwrap_or_else(|error| panic!("{error:#}: {answer}"))
}

fn stream_of(token: &str) -> StreamName {
    StreamName::session(SessionId::new(ok(token.split('.').next().unwrap_or_default().parse())))
}

/// What happened to the session, in order.
async fn history(stack: &Stack, token: &str) -> Vec<String> {
    let url = ok(stack.addresses_with(|at| at.database(Database::Auth, Database::Auth.runtime_role())));
    let mut conn = ok(PgConnection::connect(&url).await);
    let sql = "select type from event where stream = $1 order by version";
    ok(sqlx::query_scalar(sql).bind(stream_of(token).to_string()).fetch_all(&mut conn).await)
}

async fn log(stack: &Stack) -> EventLog {
    let sealer = ok(Sealer::new(&ok(stack.secrets().data_keys())));
    let url = ok(stack.addresses_with(|at| at.database(Database::Auth, Database::Auth.runtime_role())));
    ok(EventLog::open(Log::Auth, &url, servers::pool(&url).await, sealer).await)
}

/// The successor's secret as the contract derives it: whoever has the key and the predecessor has it.
fn derived(stack: &Stack, token: &str) -> Vec<u8> {
    let environment = ok(stack.environment(Part::Auth));
    let key = ok(STANDARD.decode(&environment["REFRESH_TOKEN_KEY"]));
    let parts: Vec<_> = token.split('.').collect();
    let session = SessionId::new(ok(parts[0].parse()));
    let generation: u32 = ok(parts[1].parse());
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &key));
    context.update(b"secret");
    context.update(session.uuid().as_bytes());
    context.update(&(generation + 1).to_be_bytes());
    context.update(&ok(URL_SAFE_NO_PAD.decode(parts[2]))[..32]);
    context.sign().as_ref().to_vec()
}

fn sha256(secret: &[u8]) -> String {
    digest::digest(&digest::SHA256, secret).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes what a process committed so long ago and told nobody: rotations to secrets with these hashes.
async fn rotated(stack: &Stack, token: &str, ago: Duration, hashes: &[String]) {
    let log = log(stack).await;
    let session: Loaded<Session> = ok(log.load(&stream_of(token)).await);
    let at = Timestamp::from_micros(kisum::ambient::now().micros() - ok(i64::try_from(ago.as_micros())));
    let idle_until = session.state.ends_at().unwrap_or(at);
    let rotations = hashes.iter().zip(1..).map(|(hash, generation)| SessionEvent::Refreshed {
        generation,
        rotated_at: at,
        idle_until,
        token_hash: Sealed::new(hash.clone()),
    });
    let request = RequestId::new(new_uuid());
    let mut append = Append::new(request, Meta::new(Actor::System, request));
    ok(append.write(&session, rotations.collect()));
    ok(log.append(append).await);
}

/// security 7
#[tokio::test(flavor = "multi_thread")]
async fn fifty_refreshes_of_one_token_at_two_processes_are_one_event_and_one_successor() {
    let (stack, here) = scene().await;
    let (process, there) = demo::another_auth(&stack, &[]).await;
    let first = Account::new(&here).await.sign_in(&here).await.refresh;
    let asking = (0..CROWD).map(|number| refreshed(if number % 2 == 0 { &here } else { &there }, &first));
    let answers = futures_util::future::join_all(asking).await;
    let successors: BTreeSet<_> = answers.iter().map(successor).collect();
    assert_eq!((answers.len(), successors.len()), (CROWD, 1), "everybody has a good answer, and the same");
    assert_eq!(history(&stack, &first).await, ["session.started", "session.refreshed"]);
    let next = successors.first().map_or("", String::as_str);
    assert!(refreshed(&there, next).await.is_success());
    // The predecessor once more, behind its successor's use: an answer may still be on its way.
    assert_eq!(successor(&refreshed(&here, &first).await), next);
    process.kill().await;
}

/// security 7
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_between_commit_and_answer_loses_nobody_s_session() {
    let (stack, here) = scene().await;
    let mut unheard = 0;
    for before in 0..KILLS {
        let account = Account::new(&here).await;
        let token = account.sign_in(&here).await.refresh;
        let failpoints = format!("append.answer_read={before}*off->return");
        let (process, there) = demo::another_auth(&stack, &[("FAILPOINTS", &failpoints)]).await;
        let base = there.platform.addresses().auth.clone();
        let lost = there.platform.public(&base, None, refresh(&token)).await;
        let is_answered = lost.as_ref().is_ok_and(Answer::is_success);
        if !is_answered {
            let (ended, lines) = process.ended().await;
            assert_eq!(ended, Ended::Killed, "{:?}", lines.last());
        }
        let committed = history(&stack, &token).await.len() == 2;
        unheard += usize::from(committed && !is_answered);
        let next = successor(&refreshed(&here, &token).await);
        assert_eq!(history(&stack, &token).await, ["session.started", "session.refreshed"], "kill {before}");
        assert!(refreshed(&here, &next).await.is_success(), "kill {before}");
    }
    assert!(unheard > 0, "no process died behind a commit: this proved nothing");
}

/// security 7
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_lost_a_minute_ago_is_given_once_auth_is_back() {
    let (stack, visitor) = scene().await;
    let token = Account::new(&visitor).await.sign_in(&visitor).await.refresh;
    // As of an Auth that committed, died before it answered, and is back a minute later.
    let secret = derived(&stack, &token);
    rotated(&stack, &token, Duration::from_secs(60), &[sha256(&secret)]).await;
    let next = successor(&refreshed(&visitor, &token).await);
    let given = ok(URL_SAFE_NO_PAD.decode(next.rsplit('.').next().unwrap_or_default()));
    assert_eq!(given[..32], secret[..], "the successor that was committed");
    assert!(refreshed(&visitor, &next).await.is_success());
    assert_eq!(history(&stack, &token).await, ["session.started", "session.refreshed", "session.refreshed"]);
}

/// security 7 (RFC 9700 §4.14.2)
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_comes_back_too_late_or_is_older_ends_the_session_and_is_noted() {
    let (stack, visitor) = scene().await;
    let other = sha256(b"a successor that somebody else has");
    let cases = [
        // Nobody used its successor, but no answer takes eleven minutes.
        ("the predecessor, late", 660, vec![other.clone()]),
        ("the predecessor's predecessor, a moment later", 11, vec![other.clone(), other]),
    ];
    for (what, ago, hashes) in cases {
        let account = Account::new(&visitor).await;
        let (signed, untouched) = (account.sign_in(&visitor).await, account.sign_in(&visitor).await);
        rotated(&stack, &signed.refresh, Duration::from_secs(ago), &hashes).await;
        assert_eq!(me(&visitor, &signed.access).await, "200");
        assert_eq!(words(&refreshed(&visitor, &signed.refresh).await), OVER, "{what}");
        assert_eq!(me(&visitor, &signed.access).await, OVER, "{what}");
        let noted = history(&stack, &signed.refresh).await;
        assert_eq!(noted[noted.len() - 2..], ["session.reuse_detected", "session.ended"], "{what}");
        assert_eq!(words(&refreshed(&visitor, &signed.refresh).await), OVER, "{what}, again");
        assert!(refreshed(&visitor, &untouched.refresh).await.is_success(), "another session of the person goes on");
    }
}

/// security 7: whoever knows a session's id, which stands in access tokens, must not be able to end it.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_token_of_any_generation_is_refused_and_ends_nothing() {
    let (stack, visitor) = scene().await;
    let first = Account::new(&visitor).await.sign_in(&visitor).await.refresh;
    let second = successor(&refreshed(&visitor, &first).await);
    let sid = first.split('.').next().unwrap_or_default();
    let secret = |token: &str| token.rsplit('.').next().unwrap_or_default().to_owned();
    let before = history(&stack, &first).await;
    for forged in [
        format!("{sid}.0.{}", URL_SAFE_NO_PAD.encode([7; 48])),
        format!("{sid}.1.{}", URL_SAFE_NO_PAD.encode([7; 48])),
        format!("{sid}.2.{}", secret(&second)),
        format!("{sid}.0.{}", secret(&second)),
        format!("{sid}.1.{}", secret(&first)),
        format!("{sid}.4294967295.{}", secret(&second)),
    ] {
        assert_eq!(words(&refreshed(&visitor, &forged).await), "401 unauthorized", "{forged}");
    }
    assert_eq!(history(&stack, &first).await, before);
    assert!(refreshed(&visitor, &second).await.is_success());
}
