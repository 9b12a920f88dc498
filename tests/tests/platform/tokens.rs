//! Access tokens that are not: none is accepted by Auth or by a backend, and none makes anything but a 401.

use kisum::platform::Ask;
use kisum_tests::{
    demo::{self, Visitor, words},
    seeded::Seeded,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn decode(part: &str) -> Value {
    let bytes = URL_SAFE_NO_PAD.decode(part).unwrap_or_else(|error| panic!("{error}"));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{error}"))
}

/// The token with its header changed; the signature stays.
fn with_header(token: &str, change: impl Fn(&mut Value)) -> String {
    let parts: Vec<_> = token.split('.').collect();
    let mut header = decode(parts[0]);
    change(&mut header);
    format!("{}.{}.{}", encode(&header), parts[1], parts[2])
}

/// The token with its claims changed; the signature stays.
fn with_claims(token: &str, change: impl Fn(&mut Value)) -> String {
    let parts: Vec<_> = token.split('.').collect();
    let mut claims = decode(parts[1]);
    change(&mut claims);
    format!("{}.{}.{}", parts[0], encode(&claims), parts[2])
}

async fn asked(demo: &Visitor, token: &str) -> [String; 2] {
    let finance = &demo.platform.addresses().finance;
    let backend = demo.ask(finance, Some(token), Ask::get("/api/bills").company("acme-live")).await;
    [words(&demo.auth(Some(token), Ask::get("/auth/me")).await), words(&backend)]
}

/// security 18
#[tokio::test(flavor = "multi_thread")]
async fn no_altered_token_is_accepted() {
    let demo = demo::shared().await;
    let good = demo.sign_in("superadmin@acme-live.example").await.access;
    assert_eq!(asked(&demo, &good).await, ["200", "200"]);
    let parts: Vec<_> = good.split('.').collect();
    let none = encode(&json!({ "alg": "none", "typ": "at+jwt" }));
    let other = demo.sign_in("superadmin@bright-books.example").await.access;
    let foreign_signature = other.rsplit('.').next().unwrap_or_default();
    let bad = [
        ("nothing", String::new()),
        ("nonsense", "nonsense".to_owned()),
        ("three dots", "a.b.c".to_owned()),
        ("none, unsigned", format!("{none}.{}.", parts[1])),
        ("none, signed", format!("{none}.{}.{}", parts[1], parts[2])),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("another's signature", format!("{}.{}.{foreign_signature}", parts[0], parts[1])),
        ("HS256", with_header(&good, |header| header["alg"] = json!("HS256"))),
        ("RS256", with_header(&good, |header| header["alg"] = json!("RS256"))),
        ("unknown kid", with_header(&good, |header| header["kid"] = json!("no-such-key"))),
        ("no kid", with_header(&good, |header| drop(header.as_object_mut().and_then(|h| h.remove("kid"))))),
        ("jku", with_header(&good, |header| header["jku"] = json!("https://evil.example/keys"))),
        ("typ", with_header(&good, |header| header["typ"] = json!("JWT"))),
        ("other subject", with_claims(&good, |claims| claims["sub"] = json!("00000000-0000-7000-8000-000000000000"))),
        ("longer life", with_claims(&good, |claims| claims["exp"] = json!(4_000_000_000_u64))),
        ("act", with_claims(&good, |claims| claims["act"] = json!({ "sub": "somebody" }))),
    ];
    for (what, token) in &bad {
        let answers = asked(&demo, token).await;
        assert_eq!(answers, ["401 unauthorized", "401 unauthorized"], "{what}");
    }
    for index in (0..good.len()).step_by(41) {
        let mut bytes = good.clone().into_bytes();
        bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
        let flipped = String::from_utf8(bytes).unwrap_or_default();
        assert_eq!(asked(&demo, &flipped).await, ["401 unauthorized", "401 unauthorized"], "byte {index}");
    }
}

/// security 9
#[tokio::test(flavor = "multi_thread")]
async fn access_tokens_are_small_and_carry_identity_alone() {
    let demo = demo::shared().await;
    let token = demo.sign_in("superadmin@acme-live.example").await.access;
    assert!(token.len() <= 700, "{} bytes", token.len());
    let parts: Vec<_> = token.split('.').collect();
    let (header, claims) = (decode(parts[0]), decode(parts[1]));
    assert_eq!((header["typ"].clone(), header["alg"].clone()), (json!("at+jwt"), json!("PS256")));
    let names: Vec<_> = claims.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["acr", "aud", "auth_time", "exp", "iat", "iss", "jti", "sid", "sub"]);
    let life = claims["exp"].as_i64().unwrap_or(0) - claims["iat"].as_i64().unwrap_or(0);
    assert!((1..=300).contains(&life), "{life} s");
}

/// security 18
#[tokio::test(flavor = "multi_thread")]
async fn a_key_published_to_all_is_no_secret_to_sign_with() {
    let demo = demo::shared().await;
    let good = demo.sign_in("superadmin@acme-live.example").await.access;
    let jwks = demo.auth(None, Ask::get("/.well-known/jwks.json")).await.body;
    let key = &jwks["keys"][0];
    assert!(key["d"].is_null() && key["n"].is_string(), "{jwks}");
    // An HMAC keyed with the public modulus: what a verifier that trusts `alg` would accept.
    let header = encode(&json!({ "alg": "HS256", "typ": "at+jwt", "kid": key["kid"] }));
    let signed = format!("{header}.{}", good.split('.').nth(1).unwrap_or_default());
    let secret =
        aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key["n"].as_str().unwrap_or_default().as_bytes());
    let tag = URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&secret, signed.as_bytes()));
    assert_eq!(asked(&demo, &format!("{signed}.{tag}")).await, ["401 unauthorized", "401 unauthorized"]);
}

/// security 18; the hundred thousand of them are in `guard`.
#[tokio::test(flavor = "multi_thread")]
async fn of_hundreds_of_altered_tokens_none_is_accepted_over_http() {
    const TOKENS: usize = 300;
    let demo = demo::shared().await;
    let good = [
        demo.sign_in("superadmin@acme-live.example").await.access,
        demo.sign_in("user@acme-live.example").await.access,
    ];
    let seed = u64::try_from(kisum::ambient::now().micros()).unwrap_or(1);
    println!("seed {seed}");
    let mut chance = Seeded::new(seed);
    let mut below = |end: usize| usize::try_from(chance.below(u64::try_from(end).unwrap_or(1))).unwrap_or(0);
    for number in 0..TOKENS {
        let token = &good[below(2)];
        let altered = match below(3) {
            0 => {
                let mut bytes = token.clone().into_bytes();
                let at = below(bytes.len());
                bytes[at] = b"ABCDEFGHabcdefgh01234567-_.~"[below(28)];
                String::from_utf8(bytes).unwrap_or_default()
            }
            1 => token[..below(token.len())].to_owned(),
            _ => {
                let parts: Vec<&str> = good.iter().flat_map(|token| token.split('.')).collect();
                (0..3).map(|_| parts[below(parts.len())]).collect::<Vec<_>>().join(".")
            }
        };
        if good.contains(&altered) {
            continue;
        }
        let answers = asked(&demo, &altered).await;
        assert_eq!(answers, ["401 unauthorized", "401 unauthorized"], "seed {seed}, token {number}: {altered}");
    }
}
