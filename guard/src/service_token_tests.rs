//! What a service token must and must not be good for.

use super::{Claims, ServiceSigner, ServiceTrust, TYP, URL_SAFE_NO_PAD, encode};
use aws_lc_rs::{rand::SystemRandom, signature::Ed25519KeyPair};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::StatusCode;
use kisum_events::Timestamp;
use serde_json::json;
use std::time::Duration;

const PATH: &str = "/internal/v1/access-context";

pub(crate) fn ed25519_pem() -> String {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(document.as_ref()))
}

fn now() -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000)
}

fn rules(signer: &ServiceSigner, routes: &[&str]) -> String {
    json!({ "services": { "finance": { "keys": [{ "kid": "finance-1", "x": signer.public_key() }], "routes": routes } } })
        .to_string()
}

fn pair() -> (ServiceSigner, ServiceTrust) {
    let signer = ServiceSigner::new("local", "finance", &ed25519_pem()).unwrap();
    let json = rules(&signer, &["POST /internal/v1/access-context", "GET /internal/v1/log/*"]);
    let trust = ServiceTrust::from_json("local", "auth", &json).unwrap();
    (signer, trust)
}

#[test]
fn a_token_opens_the_route_it_was_made_for_once() {
    let (signer, trust) = pair();
    let token = signer.token("auth", "POST", PATH, now());
    assert_eq!(trust.verify(&token, "POST", PATH, now()).unwrap().service, "finance");
    let replayed = trust.verify(&token, "POST", PATH, now()).unwrap_err();
    assert_eq!((replayed.status, replayed.code), (StatusCode::UNAUTHORIZED, "unauthorized"));
}

#[test]
fn new_rules_do_not_forget_used_tokens() {
    let (signer, trust) = pair();
    let token = signer.token("auth", "POST", PATH, now());
    trust.verify(&token, "POST", PATH, now()).unwrap();
    trust.replace(&rules(&signer, &["POST /internal/v1/access-context"])).unwrap();
    assert_eq!(trust.verify(&token, "POST", PATH, now()).unwrap_err().status, StatusCode::UNAUTHORIZED);
    trust.replace(r#"{"services":{}}"#).unwrap();
    let token = signer.token("auth", "POST", PATH, now());
    assert_eq!(trust.verify(&token, "POST", PATH, now()).unwrap_err().status, StatusCode::UNAUTHORIZED);
}

/// security 14
#[test]
fn while_keys_are_rotated_both_are_good_and_the_old_one_until_it_is_taken_away() {
    let old = ServiceSigner::new("local", "finance", &ed25519_pem()).unwrap();
    let new = ServiceSigner::new("local", "finance", &ed25519_pem()).unwrap().with_kid("finance-2");
    let key = |kid: &str, signer: &ServiceSigner| json!({ "kid": kid, "x": signer.public_key() });
    let rules = |keys: &[serde_json::Value]| {
        json!({ "services": { "finance": { "keys": keys, "routes": ["POST /internal/v1/access-context"] } } })
            .to_string()
    };
    let (first, second) = (key("finance-1", &old), key("finance-2", &new));
    let trust = ServiceTrust::from_json("local", "auth", &rules(std::slice::from_ref(&first))).unwrap();
    let opens = |signer: &ServiceSigner| trust.verify(&signer.token("auth", "POST", PATH, now()), "POST", PATH, now());
    assert_eq!((opens(&old).is_ok(), opens(&new).is_ok()), (true, false));
    trust.replace(&rules(&[first, second.clone()])).unwrap();
    assert_eq!((opens(&old).is_ok(), opens(&new).is_ok()), (true, true));
    trust.replace(&rules(&[second])).unwrap();
    assert_eq!(opens(&old).unwrap_err().status, StatusCode::UNAUTHORIZED);
    assert!(opens(&new).is_ok());
    // Neither key under the other's id.
    let swapped = old.with_kid("finance-2");
    assert_eq!(opens(&swapped).unwrap_err().status, StatusCode::UNAUTHORIZED);
}

#[test]
fn a_query_belongs_to_neither_the_token_nor_the_route() {
    let (signer, trust) = pair();
    let token = signer.token("auth", "GET", "/internal/v1/log/auth?after=3", now());
    assert!(trust.verify(&format!("Bearer {token}"), "GET", "/internal/v1/log/auth?after=4", now()).is_ok());
}

#[test]
fn a_token_for_another_request_service_time_or_environment_is_unauthorized() {
    let (signer, trust) = pair();
    let unauthorized = |token: &str, method: &str, path: &str, at: Timestamp| {
        let problem = trust.verify(token, method, path, at).unwrap_err();
        assert_eq!(problem.status, StatusCode::UNAUTHORIZED, "{problem}");
    };
    unauthorized(&signer.token("auth", "GET", PATH, now()), "POST", PATH, now());
    unauthorized(&signer.token("auth", "POST", "/internal/v1/log/auth", now()), "POST", PATH, now());
    unauthorized(&signer.token("core", "POST", PATH, now()), "POST", PATH, now());
    unauthorized(&signer.token("auth", "POST", PATH, now()), "POST", PATH, now().plus(Duration::from_secs(90)));
    unauthorized(&signer.token("auth", "POST", PATH, now().plus(Duration::from_secs(60))), "POST", PATH, now());

    let foreign = ServiceSigner::new("local", "finance", &ed25519_pem()).unwrap();
    unauthorized(&foreign.token("auth", "POST", PATH, now()), "POST", PATH, now());
    let unknown = ServiceSigner::new("local", "basic", &ed25519_pem()).unwrap();
    unauthorized(&unknown.token("auth", "POST", PATH, now()), "POST", PATH, now());
    let other_kid = signer.clone().with_kid("finance-2");
    unauthorized(&other_kid.token("auth", "POST", PATH, now()), "POST", PATH, now());
    for garbage in ["", "Bearer", "a.b.c", "a.b", "....", "\u{0}"] {
        unauthorized(garbage, "POST", PATH, now());
    }

    let pem = ed25519_pem();
    let elsewhere = ServiceSigner::new("staging", "finance", &pem).unwrap();
    let here = ServiceTrust::from_json("local", "auth", &rules(&elsewhere, &["POST /internal/v1/access-context"]));
    let token = elsewhere.token("auth", "POST", PATH, now());
    assert_eq!(here.unwrap().verify(&token, "POST", PATH, now()).unwrap_err().status, StatusCode::UNAUTHORIZED);
}

#[test]
fn a_token_s_id_takes_no_more_room_than_ours_need() {
    let (signer, trust) = pair();
    let token = |jti: String| {
        let (own, aud) = ("local/finance".to_owned(), "local/auth".to_owned());
        let (iat, exp) = (now().seconds(), now().seconds() + 30);
        let claims = Claims { iss: own.clone(), sub: own, aud, jti, htm: "POST".into(), htu: PATH.into(), iat, exp };
        let header = json!({ "alg": "EdDSA", "typ": TYP, "kid": "finance-1" });
        let message = format!("{}.{}", encode(&header), encode(&json!(claims)));
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signer.key.sign(message.as_bytes()).as_ref()))
    };
    assert!(trust.verify(&token("x".repeat(64)), "POST", PATH, now()).is_ok());
    for jti in [String::new(), "x".repeat(65), "x".repeat(4096)] {
        assert_eq!(trust.verify(&token(jti), "POST", PATH, now()).unwrap_err().status, StatusCode::UNAUTHORIZED);
    }
}

#[test]
fn a_known_caller_on_a_route_it_was_not_given_is_forbidden() {
    let (signer, trust) = pair();
    for path in ["/internal/v1/companies", "/internal/v1/log/", "/internal/v1/access-context/x"] {
        let token = signer.token("auth", "GET", path, now());
        let problem = trust.verify(&token, "GET", path, now()).unwrap_err();
        assert_eq!((problem.status, problem.code), (StatusCode::FORBIDDEN, "forbidden"), "{path}");
    }
}

#[test]
fn a_broken_trust_file_says_where() {
    let bad_key = r#"{"services":{"finance":{"keys":[{"kid":"finance-1","x":"AAAA"}],"routes":[]}}}"#;
    let message = ServiceTrust::from_json("local", "auth", bad_key).unwrap_err().to_string();
    assert!(message.contains("finance-1"), "{message}");
    let bad_route = r#"{"services":{"finance":{"keys":[],"routes":["POST /a/*/b"]}}}"#;
    assert!(ServiceTrust::from_json("local", "auth", bad_route).is_err());
    assert!(ServiceTrust::from_json("local", "auth", "[]").is_err());
}
