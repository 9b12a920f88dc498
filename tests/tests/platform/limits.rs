//! How often passwords and codes may be tried: by account and by network, with Redis and whatever becomes of it.

use crate::{
    credentials::auth_with,
    telemetry::{metrics, sum},
};
use aws_lc_rs::digest;
use kisum::{
    local::{Part, Stack},
    platform::{Answer, Ask},
};
use kisum_tests::{
    account::{Account, add_app, part, signed, text},
    cached::Cached,
    demo::{Visitor, words},
    post::PostOffice,
};
use redis::aio::MultiplexedConnection;
use reqwest::Method;
use serde_json::{Value, json};

/// Where somebody signs in from, as a rule.
const HOME: &str = "198.51.100.7";
/// Where somebody guesses from.
const ELSEWHERE: &str = "203.0.113.66";
/// A network that nobody has come from.
const ANOTHER: &str = "192.0.2.9";
/// Failures of one account within a quarter of an hour (security.md, 4).
const FAILURES: usize = 20;
const WRONG: &str = "certainly not this one";
const LIMITED: &str = "429 rate_limited";
const REFUSED: &str = "401 unauthorized";

/// An Auth of a test's own, which believes what it is told of where requests come from.
async fn auth() -> (Stack, Visitor) {
    let stack = auth_with(&PostOffice::open()).await;
    let visitor = Visitor::of(&stack);
    (stack, visitor)
}

/// Asks from a network until it is decided.
async fn from(visitor: &Visitor, network: &str, token: Option<&str>, (path, body): (&str, Value)) -> Answer {
    let ask = Ask::new(Method::POST, path).body(body).through_proxy_from(network);
    kisum_tests::account::decided(visitor, token, ask).await
}

async fn login(visitor: &Visitor, network: &str, (email, password): (&str, &str)) -> Answer {
    let body = json!({ "email": email, "password": password, "client": "native" });
    from(visitor, network, None, ("/auth/login", body)).await
}

async fn second_factor(visitor: &Visitor, network: &str, challenge: &str, (method, code): (&str, &str)) -> Answer {
    let body = json!({ "challenge": challenge, "method": method, "code": code });
    from(visitor, network, None, ("/auth/login/second-factor", body)).await
}

/// Guesses until the limit is reached.
async fn guess(visitor: &Visitor, network: &str, email: &str) {
    for attempt in 1..=FAILURES {
        let answer = login(visitor, network, (email, WRONG)).await;
        assert_eq!(words(&answer), REFUSED, "attempt {attempt}");
    }
    assert_eq!(words(&login(visitor, network, (email, WRONG)).await), LIMITED);
}

/// A connection to Redis that may do anything.
async fn redis_of(stack: &Stack) -> MultiplexedConnection {
    let url = stack.variable("REDIS_URL").unwrap_or_else(|failure| panic!("{failure}"));
    let client = redis::Client::open(url).unwrap_or_else(|error| panic!("{error}"));
    client.get_multiplexed_async_connection().await.unwrap_or_else(|error| panic!("{error}"))
}

async fn told<T: redis::FromRedisValue>(redis: &mut MultiplexedConnection, words: &[&[u8]]) -> T {
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(word);
    }
    command.query_async(redis).await.unwrap_or_else(|error| panic!("{error}"))
}

/// security 4: whoever guesses elsewhere locks nobody out where they have signed in before, and whatever becomes of Redis
/// neither opens the gate nor shuts it for others. Security 17: a mark in Redis counts if it is ours.
#[tokio::test(flavor = "multi_thread")]
async fn guesses_are_limited_where_they_come_from_whatever_becomes_of_redis_or_is_written_there() {
    let (mut stack, visitor) = auth().await;
    let (account, other) = (Account::new(&visitor).await, Account::new(&visitor).await);
    let right = (account.email.as_str(), account.password.as_str());
    assert_eq!(words(&login(&visitor, HOME, right).await), "200");
    guess(&visitor, ELSEWHERE, &account.email).await;
    let assert_kept = async |how: &str| {
        for network in [ELSEWHERE, ANOTHER] {
            assert_eq!(words(&login(&visitor, network, right).await), LIMITED, "{how}: from {network}");
        }
        assert_eq!(words(&login(&visitor, HOME, right).await), "200", "{how}: from home");
    };
    assert_kept("with Redis").await;

    let mut redis = redis_of(&stack).await;
    let marks: Vec<String> = told(&mut redis, &[b"KEYS", b"ratelimit:login:known:*"]).await;
    let [mark] = marks.as_slice() else { panic!("{marks:?}") };
    // A mark's name tells nobody which network it is of; whoever knows how it is made could still write another's.
    let counted: Vec<String> = told(&mut redis, &[b"KEYS", b"ratelimit:login:email:*"]).await;
    let account = counted.iter().find_map(|key| key.split(':').nth(3)).unwrap_or_else(|| panic!("{counted:?}"));
    let of_network = |network: &str| {
        let digest = digest::digest(&digest::SHA256, format!("{account}|{network}").as_bytes());
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("ratelimit:login:known:{hex}")
    };
    assert_eq!(*mark, of_network(HOME));
    let forged = of_network(ANOTHER);
    assert_ne!(*mark, forged);
    let moved: Vec<u8> = told(&mut redis, &[b"GET", mark.as_bytes()]).await;
    for value in [b"1".as_slice(), &moved, b"", &b"x".repeat(200)] {
        told::<()>(&mut redis, &[b"SET", forged.as_bytes(), value]).await;
        assert_kept("with a mark that somebody wrote there").await;
    }
    let refused = sum(&metrics(&stack, Part::Auth).await, "kisum_redis_values_refused_total", "");
    assert!(refused >= 4.0, "{refused}");

    let counters: Vec<String> = told(&mut redis, &[b"KEYS", b"ratelimit:login:email:*"]).await;
    for value in [b"nonsense".as_slice(), b"-999999", b"9223372036854775807"] {
        for key in &counters {
            told::<()>(&mut redis, &[b"SET", key.as_bytes(), value]).await;
        }
        for network in [ELSEWHERE, ANOTHER] {
            assert_eq!(words(&login(&visitor, network, right).await), LIMITED, "{value:?} from {network}");
        }
    }
    Cached::of(&stack).await.flush().await;
    assert_kept("with Redis flushed").await;
    stack.kill(Part::Redis).await;
    assert_kept("without Redis").await;
    guess(&visitor, ELSEWHERE, &other.email).await;
    stack.start_part(Part::Redis).await.unwrap_or_else(|failure| panic!("{failure}"));
    assert_kept("with Redis back").await;
    stack.stop().await;
}

/// security 4: six digits are tried as often at sign-in and step-up together as at either; what nobody can guess goes on
/// being good, and so does a code from where its person has signed in before.
#[tokio::test(flavor = "multi_thread")]
async fn codes_are_counted_together_wherever_they_are_tried_and_leave_their_person_a_way_in() {
    let (stack, visitor) = auth().await;
    let account = Account::new(&visitor).await;
    let right = (account.email.as_str(), account.password.as_str());
    let home = signed(&login(&visitor, HOME, right).await);
    let (mut app, _, codes) = add_app(&visitor, &home.access).await;
    let begin = async |network: &str| text(&login(&visitor, network, right).await, "/challenge");
    let later = [begin(ANOTHER).await, begin(ANOTHER).await];

    let step_up = async |network: &str, code: &str| {
        let body = json!({ "method": "totp", "code": code });
        from(&visitor, network, Some(&home.access), ("/auth/step-up", body)).await
    };
    for _ in 0..FAILURES / 2 {
        assert_eq!(words(&step_up(ELSEWHERE, "000000x").await), "403 forbidden step_up_required");
    }
    for _ in 0..FAILURES / 10 {
        let challenge = begin(ELSEWHERE).await;
        for _ in 0..5 {
            assert_eq!(words(&second_factor(&visitor, ELSEWHERE, &challenge, ("totp", "000000x")).await), REFUSED);
        }
    }
    assert_eq!(words(&step_up(ELSEWHERE, "000000x").await), LIMITED);
    let code = app.code().await;
    assert_eq!(words(&step_up(ANOTHER, &code).await), LIMITED, "from wherever nobody knows them");
    let totp = second_factor(&visitor, ANOTHER, &later[0], ("totp", &code)).await;
    assert_eq!(words(&totp), LIMITED);
    signed(&second_factor(&visitor, ANOTHER, &later[1], ("recovery", &codes[0])).await);
    let stepped = step_up(HOME, &code).await;
    assert_eq!((stepped.status, part(&stepped, "/tokenType")), (200, json!("Bearer")), "{stepped}");
    stack.stop().await;
}

/// What has begun and was not finished is bounded for each person, and by network before they have shown both factors.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_begins_more_than_thirty_challenges_while_one_is_open() {
    const MAX: usize = 30;
    let (stack, visitor) = auth().await;
    let account = Account::new(&visitor).await;
    let right = (account.email.as_str(), account.password.as_str());
    let person = signed(&login(&visitor, HOME, right).await);
    let offer = async || from(&visitor, HOME, Some(&person.access), ("/auth/factors/totp", json!({}))).await;
    for number in 0..MAX {
        assert_eq!(words(&offer().await), "200", "{number}");
    }
    assert_eq!(words(&offer().await), LIMITED);
    let other = Account::new(&visitor).await;
    let right = (other.email.as_str(), other.password.as_str());
    add_app(&visitor, &signed(&login(&visitor, HOME, right).await).access).await;
    for number in 0..MAX {
        assert_eq!(words(&login(&visitor, ELSEWHERE, right).await), "200", "{number}");
    }
    assert_eq!(words(&login(&visitor, ELSEWHERE, right).await), LIMITED);
    let answer = login(&visitor, HOME, right).await;
    assert_eq!(
        part(&answer, "/mfaRequired"),
        json!(true),
        "whoever knows the password elsewhere takes nothing: {answer}"
    );
    stack.stop().await;
}
