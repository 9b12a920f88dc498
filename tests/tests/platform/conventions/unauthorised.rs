//! No token that is not good gets past any operation of any listener that wants one (`security.md` 14, 18 and 23).

use super::{
    Everywhere, filled, header, json, sent,
    signed::{key_of, part, platform_key, sign, with},
    table::{LISTENERS, Listener, Sender},
    untouched::written,
};
use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::{StreamExt as _, stream};
use kisum::local::keys;
use kisum_events::Timestamp;
use kisum_guard::{Clock, ServiceSigner};
use serde_json::{Value, json as object};
use std::time::Duration;

/// Requests at once.
const AT_ONCE: usize = 16;

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// The token with its last signed byte changed, and with its signature changed.
fn altered(token: &str) -> [String; 2] {
    let parts: Vec<_> = token.split('.').collect();
    let change = |part: &str| {
        let other = if part.starts_with('A') { 'B' } else { 'A' };
        format!("{other}{}", part.get(1..).unwrap_or_default())
    };
    [
        format!("{}.{}.{}", parts[0], change(parts[1]), parts[2]),
        format!("{}.{}.{}", parts[0], parts[1], change(parts[2])),
    ]
}

/// What holds of tokens of either kind: neither is one.
fn malformed(token: &str) -> Vec<(&'static str, String)> {
    let parts: Vec<_> = token.split('.').collect();
    let none = with(&part(token, 0), "alg", object!("none"));
    let [claims, signature] = altered(token);
    vec![
        ("no token at all", String::new()),
        ("nonsense", "nonsense".to_owned()),
        ("three parts of nothing", "..".to_owned()),
        ("three parts of nonsense", "a.b.c".to_owned()),
        ("four parts", format!("{token}.{}", parts[2])),
        ("two tokens", format!("{token} {token}")),
        ("alg none, unsigned", format!("{}.{}.", encode(&none), parts[1])),
        ("alg none, signed", format!("{}.{}.{}", encode(&none), parts[1], parts[2])),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("altered claims", claims),
        ("an altered signature", signature),
    ]
}

/// Tokens that are nobody's access token, though most carry a genuine signature.
async fn not_a_person(everywhere: &Everywhere) -> Vec<(&'static str, String)> {
    let person = everywhere.demo.sign_in("superadmin@acme-live.example").await.access;
    let other = everywhere.demo.sign_in("superadmin@bright-books.example").await.access;
    let (header, claims) = (part(&person, 0), part(&person, 1));
    let issued = claims["iat"].as_i64().unwrap_or_else(|| panic!("{claims}"));
    let key = platform_key(everywhere);
    let stranger = key_of(&keys::rsa().unwrap_or_else(|error| panic!("{error:#}")));
    let signed = |header: &Value, claims: &Value| sign(&key, header, claims);
    let with_header = |name: &str, value: Value| signed(&with(&header, name, value), &claims);
    let with_claim = |name: &str, value: Value| signed(&header, &with(&claims, name, value));
    let foreign = other.rsplit('.').next().unwrap_or_default();

    let jwks = json(everywhere.get(&LISTENERS[0], "/.well-known/jwks.json").await).await;
    let modulus = jwks["keys"][0]["n"].as_str().unwrap_or_else(|| panic!("{jwks}"));
    let hs256 = with(&header, "alg", object!("HS256"));
    let by_hmac = |secret: &[u8]| {
        let text = format!("{}.{}", encode(&hs256), encode(&claims));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag))
    };
    let mut tokens = malformed(&person);
    tokens.extend([
        ("another's signature", format!("{}.{}.{foreign}", encode(&header), encode(&claims))),
        ("a stranger's signature", sign(&stranger, &header, &claims)),
        (
            "a stranger's signature and key",
            sign(&stranger, &with(&header, "jku", object!("https://evil.example")), &claims),
        ),
        ("HS256 under the published modulus", by_hmac(modulus.as_bytes())),
        ("HS256 under its bytes", by_hmac(&URL_SAFE_NO_PAD.decode(modulus).unwrap_or_default())),
        ("jku", with_header("jku", object!("https://evil.example/keys"))),
        ("jwk", with_header("jwk", jwks["keys"][0].clone())),
        ("x5u", with_header("x5u", object!("https://evil.example/chain"))),
        ("an unknown kid", with_header("kid", object!("elsewhere"))),
        ("no kid", with_header("kid", Value::Null)),
        ("another algorithm", with_header("alg", object!("RS256"))),
        ("the type of any token", with_header("typ", object!("JWT"))),
        ("the type of a service's", with_header("typ", object!("kisum-service+jwt"))),
        ("expired", with_claim("exp", object!(issued - 31))),
        ("for ever", with_claim("exp", Value::Null)),
        ("not yet good", with_claim("nbf", object!(issued + 600))),
        ("of another issuer", with_claim("iss", object!("https://auth.example"))),
        ("for another audience", with_claim("aud", object!("elsewhere"))),
        ("acting for somebody", with_claim("act", object!({ "sub": "x" }))),
    ]);
    tokens
}

/// Tokens that are no service's for this request.
fn not_a_service(
    everywhere: &Everywhere,
    listener: &Listener,
    (method, path): (&str, &str),
    person: &str,
) -> Vec<(&'static str, String)> {
    let addresses = everywhere.demo.platform.addresses();
    let signer = |environment: &str, service: &str, pem: &str| {
        ServiceSigner::new(environment, service, pem).unwrap_or_else(|error| panic!("{error}"))
    };
    let own = &addresses.admin_private_key;
    let admin = signer(&addresses.environment, "admin", own);
    let foreign = keys::ed25519().unwrap_or_else(|error| panic!("{error:#}"));
    let (callee, now) = (listener.callee(), Clock::system().now());
    let at = |seconds: i64| Timestamp::from_micros(now.micros() + seconds * 1_000_000);
    let token = |signer: &ServiceSigner| signer.token(&callee, method, path, now);
    let mut tokens = malformed(&token(&admin));
    tokens.extend([
        ("a person's", person.to_owned()),
        ("under a stranger's key", token(&signer(&addresses.environment, "admin", &foreign))),
        ("under an unknown kid", token(&admin.clone().with_kid("admin-9"))),
        ("of an unknown service", token(&signer(&addresses.environment, "nobody", own))),
        ("under another service's key", token(&signer(&addresses.environment, "auth", own))),
        ("of another environment", token(&signer("elsewhere", "admin", own))),
        ("for another service", admin.token("elsewhere", method, path, now)),
        ("for another method", admin.token(&callee, "TRACE", path, now)),
        ("for another path", admin.token(&callee, method, "/internal/v1/elsewhere", now)),
        ("expired", admin.token(&callee, method, path, at(-120))),
        ("not yet good", admin.token(&callee, method, path, at(3_600))),
    ]);
    tokens
}

/// security 14, 18
#[tokio::test(flavor = "multi_thread")]
async fn no_token_that_is_not_good_gets_past_any_operation_of_any_listener() {
    let everywhere = Everywhere::start().await;
    let person = everywhere.demo.sign_in("superadmin@acme-live.example").await.access;
    let good = everywhere.ask(&LISTENERS[0], "GET", "/auth/me").bearer_auth(&person);
    assert_eq!(sent(good).await.status().as_u16(), 200);
    let persons = not_a_person(&everywhere).await;
    let before = written(&everywhere).await;
    let mut asked = Vec::new();
    for listener in &LISTENERS {
        for (sender, method, path) in listener.operations() {
            let at = filled(path);
            let tokens = match sender {
                Sender::Anybody | Sender::Either | Sender::RefreshToken => continue,
                Sender::Person => {
                    let service = everywhere.service_token(listener, method, &at);
                    persons.iter().cloned().chain([("a service's", service)]).collect::<Vec<_>>()
                }
                Sender::Service => not_a_service(&everywhere, listener, (method, &at), &person),
            };
            for (what, token) in tokens {
                // Neither a content type nor JSON: were the body read first, this would be a 400 or a 415.
                let request = everywhere.ask(listener, method, &at).header("x-org", "acme-live").body("{");
                asked.push((format!("{} {method} {path}: {what}", listener.url), request.bearer_auth(token)));
            }
        }
    }
    assert!(asked.len() > 500, "only {} requests", asked.len());
    let answers = stream::iter(asked).map(async |(what, request)| {
        let answer = sent(request).await;
        let said = (answer.status().as_u16(), header(&answer, "www-authenticate").to_owned());
        (what, said, json(answer).await["error"]["code"].clone())
    });
    let answers: Vec<_> = answers.buffer_unordered(AT_ONCE).collect().await;
    for (what, said, code) in answers {
        assert_eq!((said, code), ((401, "Bearer".to_owned()), object!("unauthorized")), "{what}");
    }
    assert_eq!(written(&everywhere).await, before, "nothing was written");
}

/// security 14
#[tokio::test(flavor = "multi_thread")]
async fn a_service_s_token_is_good_once() {
    let everywhere = Everywhere::start().await;
    for listener in LISTENERS.iter().filter(|listener| listener.is_internal) {
        let reads = listener
            .operations()
            .find(|(sender, method, path)| *sender == Sender::Service && *method == "GET" && !path.contains('{'));
        let Some((_, method, path)) = reads else { continue };
        let token = everywhere.service_token(listener, method, path);
        let ask = || everywhere.ask(listener, method, path).bearer_auth(&token).timeout(Duration::from_secs(30));
        let (first, again) = (sent(ask()).await, sent(ask()).await);
        assert_ne!(first.status().as_u16(), 401, "{} {path}", listener.url);
        assert_eq!(again.status().as_u16(), 401, "{} {path}", listener.url);
    }
}
