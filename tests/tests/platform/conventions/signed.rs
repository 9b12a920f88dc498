//! Tokens signed with the platform's own key that are nevertheless not good: expired, early, foreign, of another kind.

use super::{Everywhere, json, sent};
use aws_lc_rs::{rand::SystemRandom, rsa::KeyPair, signature::RSA_PSS_SHA256};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json as object};

/// Decodes one part of a token.
pub(super) fn part(token: &str, index: usize) -> Value {
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(index).unwrap_or_default()).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{error}"))
}

/// The platform's own signature under whatever is given.
pub(super) fn sign(key: &KeyPair, header: &Value, claims: &Value) -> String {
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let signed = format!("{header}.{claims}");
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PSS_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .unwrap_or_else(|error| panic!("{error}"));
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

pub(super) fn with(value: &Value, name: &str, new: Value) -> Value {
    let mut value = value.clone();
    value[name] = new;
    value
}

/// An RSA key as the platform keeps its own.
pub(super) fn key_of(pem: &str) -> KeyPair {
    let der: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD.decode(der).unwrap_or_else(|error| panic!("{error}"));
    KeyPair::from_pkcs8(&der).unwrap_or_else(|error| panic!("{error}"))
}

/// The key that the platform signs access tokens with.
pub(super) fn platform_key(everywhere: &Everywhere) -> KeyPair {
    let path = everywhere.shared.stack.secrets().jwt_key_path();
    key_of(&std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// security 9, 14, 18
#[tokio::test(flavor = "multi_thread")]
async fn a_genuine_signature_does_not_make_a_token_good() {
    let everywhere = Everywhere::start().await;
    let demo = &everywhere.demo;
    let key = platform_key(&everywhere);
    let person = demo.sign_in("superadmin@acme-live.example").await;
    let (header, claims) = (part(&person.access, 0), part(&person.access, 1));
    let issued = claims["iat"].as_i64().unwrap_or_else(|| panic!("{claims}"));
    let ask = async |token: String| {
        let addresses = demo.platform.addresses();
        let mut answers = Vec::new();
        for url in [format!("{}/auth/me", addresses.auth), format!("{}/api/bills", addresses.finance)] {
            let request = everywhere.http.get(url).bearer_auth(&token).header("x-org", "acme-live");
            let answer = sent(request).await;
            let status = answer.status().as_u16();
            let code = json(answer).await["error"]["code"].as_str().unwrap_or_default().to_owned();
            answers.push(format!("{status} {code}").trim_end().to_owned());
        }
        answers
    };
    assert_eq!(ask(sign(&key, &header, &claims)).await, ["200", "200"], "this test signs as the platform does");

    let session = "018f3a5c000070008000000000000001";
    for (what, header, claims) in [
        ("expired", header.clone(), with(&claims, "exp", object!(issued - 31))),
        ("never expires", header.clone(), with(&claims, "exp", Value::Null)),
        ("not yet good", header.clone(), with(&claims, "nbf", object!(issued + 600))),
        ("of another issuer", header.clone(), with(&claims, "iss", object!("https://auth.example"))),
        ("for another audience", header.clone(), with(&claims, "aud", object!("elsewhere"))),
        ("acting for somebody", header.clone(), with(&claims, "act", object!({ "sub": "x" }))),
        ("of a nameless person", header.clone(), with(&claims, "sub", object!("somebody"))),
        ("of another type", with(&header, "typ", object!("kisum-service+jwt")), claims.clone()),
        ("of another algorithm", with(&header, "alg", object!("RS256")), claims.clone()),
        ("under an unknown key", with(&header, "kid", object!("elsewhere")), claims.clone()),
    ] {
        assert_eq!(ask(sign(&key, &header, &claims)).await, ["401 unauthorized", "401 unauthorized"], "{what}");
    }
    // A backend knows the sessions that have ended (`consistency.md`); only Auth knows which there are.
    let nowhere = ask(sign(&key, &header, &with(&claims, "sid", object!(session)))).await;
    assert_eq!(nowhere[0], "401 session_revoked", "a session that never was");
}
