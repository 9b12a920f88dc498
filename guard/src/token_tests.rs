//! Tokens that must be refused, and the few that must not (RFC 8725; `security.md` 18, 19).

use super::{TokenVerifier, bearer};
use crate::{
    clock::Clock,
    issuer::{AUDIENCE, ISSUER, Issuer, KID, claims, header, impostor, issuer, sign, with},
    samples::{session, user, wall},
};
use axum::{Router, routing::get};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, StatusCode};
use jsonwebtoken::{Algorithm, EncodingKey};
use kisum_events::Timestamp;
use serde_json::{Value, json};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

fn verifier() -> TokenVerifier {
    TokenVerifier::with_keys(ISSUER, AUDIENCE, issuer().keys())
}

fn genuine(issuer: &Issuer, changes: Value) -> String {
    issuer.sign(&header(), &with(claims(1), changes), Algorithm::PS256)
}

async fn refusal(verifier: &TokenVerifier, token: &str, now: Timestamp) -> &'static str {
    let reason = verifier.check(token, now).await.unwrap_err();
    let problem = reason.into_problem();
    assert_eq!((problem.status, problem.code), (StatusCode::UNAUTHORIZED, "unauthorized"), "{reason:?}");
    reason.name()
}

#[tokio::test]
async fn a_genuine_token_says_who_and_in_which_session() {
    let verifier = verifier();
    for _ in 0..2 {
        let said = verifier.verify(&issuer().token(1), wall()).await.unwrap();
        assert_eq!((said.sub, said.sid, said.acr.as_str()), (user(1), session(1), "aal1"));
        assert_eq!(said.exp, wall().plus(Duration::from_secs(300)));
    }
    let several = genuine(issuer(), json!({ "aud": ["other", AUDIENCE] }));
    assert!(verifier.verify(&several, wall()).await.is_ok());
}

#[tokio::test]
async fn claims_of_another_issuer_audience_time_or_actor_are_refused() {
    let verifier = verifier();
    let now = wall().seconds();
    let cases = [
        (json!({ "iss": "https://elsewhere.example" }), "issuer"),
        (json!({ "iss": null }), "malformed"),
        (json!({ "aud": "other" }), "audience"),
        (json!({ "aud": ["other"] }), "audience"),
        (json!({ "aud": null }), "malformed"),
        (json!({ "exp": now - 30 }), "expired"),
        (json!({ "exp": null }), "malformed"),
        (json!({ "exp": "soon" }), "malformed"),
        (json!({ "nbf": now + 31 }), "not_yet"),
        (json!({ "iat": now + 31 }), "not_yet"),
        (json!({ "act": { "sub": "service:support" } }), "actor"),
        (json!({ "act": {} }), "actor"),
        (json!({ "sub": "not-a-uuid" }), "malformed"),
        (json!({ "sid": null }), "malformed"),
        (json!({ "acr": null }), "malformed"),
    ];
    for (changes, reason) in cases {
        assert_eq!(refusal(&verifier, &genuine(issuer(), changes.clone()), wall()).await, reason, "{changes}");
    }
    for accepted in [json!({ "exp": now - 29 }), json!({ "nbf": now + 30 })] {
        assert!(verifier.verify(&genuine(issuer(), accepted), wall()).await.is_ok());
    }
}

#[tokio::test]
async fn a_remembered_token_still_ends() {
    let verifier = verifier();
    let token = issuer().token(1);
    verifier.verify(&token, wall()).await.unwrap();
    assert!(verifier.verify(&token, wall().plus(Duration::from_secs(329))).await.is_ok());
    assert_eq!(refusal(&verifier, &token, wall().plus(Duration::from_secs(330))).await, "expired");
}

#[tokio::test]
async fn headers_that_bring_a_key_or_another_algorithm_are_refused() {
    let verifier = verifier();
    let cases = [
        (json!({ "jku": "https://evil.example/jwks.json" }), "header"),
        (json!({ "jwk": { "kty": "RSA" } }), "header"),
        (json!({ "x5u": "https://evil.example/cert" }), "header"),
        (json!({ "x5c": ["AAAA"] }), "header"),
        (json!({ "crit": ["exp"] }), "header"),
        (json!({ "crit": [] }), "header"),
        (json!({ "kid": null }), "header"),
        (json!({ "kid": "key-2" }), "unknown_key"),
        (json!({ "typ": "JWT" }), "type"),
        (json!({ "typ": "kisum-service+jwt" }), "type"),
        (json!({ "typ": null }), "type"),
        (json!({ "alg": "none" }), "algorithm"),
        (json!({ "alg": "PS512" }), "algorithm"),
        (json!({ "alg": "ps256" }), "algorithm"),
        (json!({ "alg": "EdDSA" }), "algorithm"),
    ];
    for (changes, reason) in cases {
        let token = issuer().sign(&with(header(), changes.clone()), &claims(1), Algorithm::PS256);
        assert_eq!(refusal(&verifier, &token, wall()).await, reason, "{changes}");
    }
    // The key is for PS256 alone, though RS256 is on the list and the key could.
    let rs256 = issuer().sign(&with(header(), json!({ "alg": "RS256" })), &claims(1), Algorithm::RS256);
    assert_eq!(refusal(&verifier, &rs256, wall()).await, "algorithm");
}

#[tokio::test]
async fn the_public_key_is_not_a_secret_to_sign_with() {
    let secrets = [issuer().n.clone(), issuer().jwks().to_string(), String::new()];
    for secret in secrets {
        let key = EncodingKey::from_secret(secret.as_bytes());
        let token = sign(&with(header(), json!({ "alg": "HS256" })), &claims(1), &key, Algorithm::HS256);
        assert_eq!(refusal(&verifier(), &token, wall()).await, "algorithm");
    }
}

#[tokio::test]
async fn tampered_and_foreign_tokens_are_refused() {
    let verifier = verifier();
    assert_eq!(refusal(&verifier, &impostor().token(1), wall()).await, "signature");

    let token = issuer().token(1);
    let parts: Vec<&str> = token.split('.').collect();
    let other_claims = URL_SAFE_NO_PAD.encode(claims(2).to_string());
    assert_eq!(refusal(&verifier, &format!("{}.{other_claims}.{}", parts[0], parts[2]), wall()).await, "signature");
    assert_eq!(refusal(&verifier, &format!("{}.{}.", parts[0], parts[1]), wall()).await, "signature");
    let none = URL_SAFE_NO_PAD.encode(with(header(), json!({ "alg": "none" })).to_string());
    assert_eq!(refusal(&verifier, &format!("{none}.{}.", parts[1]), wall()).await, "algorithm");

    for malformed in ["", ".", "..", "a.b.c", "a.b.c.d", &token[1..], &format!("{token}.x"), &"a".repeat(9000)] {
        assert_eq!(refusal(&verifier, malformed, wall()).await, "malformed", "{malformed:.40}");
    }
    let padded = format!("{}=.{}.{}", parts[0], parts[1], parts[2]);
    assert_eq!(refusal(&verifier, &padded, wall()).await, "malformed");
}

#[tokio::test]
async fn replacing_the_keys_forgets_what_the_old_ones_signed() {
    let verifier = verifier();
    verifier.verify(&issuer().token(1), wall()).await.unwrap();
    verifier.replace_keys(impostor().keys());
    assert_eq!(refusal(&verifier, &issuer().token(1), wall()).await, "signature");
}

#[test]
fn there_is_exactly_one_bearer_token() {
    let headers = |values: &[&str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("authorization", HeaderValue::from_str(value).unwrap());
        }
        headers
    };
    assert_eq!(bearer(&headers(&["Bearer abc"])).unwrap(), "abc");
    assert_eq!(bearer(&headers(&["bearer abc"])).unwrap(), "abc");
    for bad in [&[][..], &["Bearer "], &["Bearer"], &["abc"], &["Basic abc"], &["Bearer a", "Bearer a"]] {
        assert_eq!(bearer(&headers(bad)).unwrap_err().status, StatusCode::UNAUTHORIZED, "{bad:?}");
    }
}

/// Serves the issuer's keys, counting how often.
async fn key_server(fetched: Arc<AtomicUsize>) -> String {
    let jwks = move || {
        fetched.fetch_add(1, Ordering::SeqCst);
        async { issuer().jwks().to_string() }
    };
    let router = Router::new().route("/.well-known/jwks.json", get(jwks));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

fn published(url: &str, clock: &Clock) -> TokenVerifier {
    TokenVerifier::with_published_keys(ISSUER, AUDIENCE, url, reqwest::Client::new(), clock.clone())
}

/// security 19
#[tokio::test]
async fn ten_thousand_random_key_ids_cause_one_fetch() {
    let fetched = Arc::new(AtomicUsize::new(0));
    let url = key_server(Arc::clone(&fetched)).await;
    let clock = Clock::manual(wall());
    let verifier = published(&url, &clock);

    let mut checks = tokio::task::JoinSet::new();
    for n in 0..10_000 {
        let header = URL_SAFE_NO_PAD.encode(with(header(), json!({ "kid": format!("random-{n}") })).to_string());
        let (verifier, token) = (verifier.clone(), format!("{header}.e30.AAAA"));
        checks.spawn(async move { refusal(&verifier, &token, wall()).await });
    }
    while let Some(reason) = checks.join_next().await {
        assert_eq!(reason.unwrap(), "unknown_key");
    }
    assert_eq!(fetched.load(Ordering::SeqCst), 1);

    // The keys that came with that fetch are good, and the cool-down ends.
    verifier.verify(&issuer().token(1), wall()).await.unwrap();
    clock.advance(Duration::from_secs(30));
    let token = issuer().sign(&with(header(), json!({ "kid": "key-2" })), &claims(1), Algorithm::PS256);
    assert_eq!(refusal(&verifier, &token, wall()).await, "unknown_key");
    assert_eq!(fetched.load(Ordering::SeqCst), 2);
}

/// security 22
#[tokio::test]
async fn without_keys_a_token_is_neither_good_nor_bad() {
    // Bound and dropped: nobody listens there.
    let unused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let verifier = published(&format!("http://{unused}"), &Clock::manual(wall()));
    let problem = verifier.verify(&issuer().token(1), wall()).await.unwrap_err();
    assert_eq!((problem.status, problem.retry_after), (StatusCode::SERVICE_UNAVAILABLE, Some(1)));
    assert!(!verifier.is_ready());
    // What no key could make good is refused all the same.
    let none = issuer().sign(&with(header(), json!({ "alg": "none" })), &claims(1), Algorithm::PS256);
    assert_eq!(refusal(&verifier, &none, wall()).await, "algorithm");
}

#[tokio::test]
async fn forgetting_everything_fetches_the_keys_anew() {
    let fetched = Arc::new(AtomicUsize::new(0));
    let url = key_server(Arc::clone(&fetched)).await;
    let verifier = published(&url, &Clock::manual(wall()));
    verifier.verify(&issuer().token(1), wall()).await.unwrap();
    verifier.verify(&issuer().token(1), wall()).await.unwrap();
    assert_eq!(fetched.load(Ordering::SeqCst), 1);
    verifier.forget_everything();
    verifier.verify(&issuer().token(1), wall()).await.unwrap();
    assert_eq!(fetched.load(Ordering::SeqCst), 2);
}

/// security 11
#[tokio::test]
async fn a_removed_key_takes_its_tokens_with_it_and_no_key_set_brings_it_back() {
    let fetched = Arc::new(AtomicUsize::new(0));
    let url = key_server(Arc::clone(&fetched)).await;
    let clock = Clock::manual(wall());
    let verifier = published(&url, &clock);
    let (remembered, fresh) = (issuer().token(1), issuer().token(2));
    verifier.verify(&remembered, wall()).await.unwrap();
    assert!(verifier.is_ready());
    verifier.remove_key(&KID.parse().unwrap());
    for token in [&remembered, &fresh] {
        assert_eq!(refusal(&verifier, token, wall()).await, "unknown_key");
    }
    assert!(!verifier.is_ready(), "the only key is gone");
    // The server, or whatever caches between, still has the key.
    clock.advance(Duration::from_secs(31));
    verifier.refresh_keys().await;
    verifier.forget_everything();
    for token in [&remembered, &fresh] {
        assert_eq!(refusal(&verifier, token, wall()).await, "unknown_key");
    }
    assert!(fetched.load(Ordering::SeqCst) >= 2);
}

#[tokio::test]
async fn a_token_by_a_key_that_was_published_and_has_not_come_yet_is_neither_good_nor_bad() {
    let url = key_server(Arc::default()).await;
    let verifier = published(&url, &Clock::manual(wall()));
    verifier.verify(&issuer().token(1), wall()).await.unwrap();
    let token = |kid: &str| issuer().sign(&with(header(), json!({ "kid": kid })), &claims(1), Algorithm::PS256);
    verifier.expect_key("key-2".parse().unwrap());
    assert!(!verifier.has_expected_keys());
    assert_eq!(verifier.check(&token("key-2"), wall()).await.unwrap_err().name(), "keys_unreachable");
    assert_eq!(refusal(&verifier, &token("key-3"), wall()).await, "unknown_key");
    // Of two that are published at once neither token is refused, whichever key comes first.
    verifier.expect_key("key-4".parse().unwrap());
    for kid in ["key-2", "key-4"] {
        assert_eq!(verifier.check(&token(kid), wall()).await.unwrap_err().name(), "keys_unreachable");
    }
    verifier.expect_key(KID.parse().unwrap());
    assert!(!verifier.has_expected_keys(), "two have not come");
    for kid in ["key-2", "key-4"] {
        verifier.remove_key(&kid.parse().unwrap());
    }
    assert!(verifier.has_expected_keys());
}

/// security 11: an emergency leaves no time for what stands between to forget.
#[tokio::test]
async fn a_key_is_not_taken_from_a_cache_in_between() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let jwks = move |headers: HeaderMap| {
        seen.lock().unwrap().push(headers.get("cache-control").cloned());
        async { issuer().jwks().to_string() }
    };
    let router = Router::new().route("/.well-known/jwks.json", get(jwks));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    published(&url, &Clock::manual(wall())).verify(&issuer().token(1), wall()).await.unwrap();
    assert_eq!(*asked.lock().unwrap(), [Some(HeaderValue::from_static("no-cache"))]);
}
