//! A hundred thousand tokens that are almost genuine: none is accepted (`security.md` 18).

use super::TokenVerifier;
use crate::{
    clock::Clock,
    issuer::{AUDIENCE, ISSUER, claims, header, impostor, issuer, sign, with},
    jwks::KeySet,
    samples::wall,
};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

const TOKENS: usize = 100_000;

/// What differs from run to run, drawn from one number that a failure names (splitmix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

struct Ed25519 {
    key: EncodingKey,
    x: String,
}

impl Ed25519 {
    fn generate() -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        Self { key: EncodingKey::from_ed_der(pair.to_pkcs8v1().unwrap().as_ref()), x }
    }
}

/// The three keys that are trusted, genuine tokens of each, and a key that is not trusted.
struct World {
    verifier: TokenVerifier,
    genuine: Vec<String>,
    impostor: Ed25519,
    /// What is public of the trusted keys, for whoever would take it for a secret.
    public: Vec<Vec<u8>>,
}

impl World {
    fn new() -> Self {
        let (rsa, other_rsa, ed) = (issuer(), impostor(), Ed25519::generate());
        let key = |kid: &str, alg: &str, n: &str, e: &str| json!({ "kty": "RSA", "use": "sig", "alg": alg, "kid": kid, "n": n, "e": e });
        let keys = json!({ "keys": [
            key("ps", "PS256", &rsa.n, &rsa.e),
            key("rs", "RS256", &other_rsa.n, &other_rsa.e),
            { "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "ed", "x": ed.x },
        ] });
        let head = |kid: &str, alg: &str| with(header(), json!({ "kid": kid, "alg": alg }));
        let genuine = (1..4).flat_map(|user| {
            [
                rsa.sign(&head("ps", "PS256"), &claims(user), Algorithm::PS256),
                other_rsa.sign(&head("rs", "RS256"), &claims(user), Algorithm::RS256),
                sign(&head("ed", "EdDSA"), &claims(user), &ed.key, Algorithm::EdDSA),
            ]
        });
        let public = [keys.to_string().into_bytes(), rsa.n.clone().into_bytes(), ed.x.clone().into_bytes(), Vec::new()];
        let raw = [&rsa.n, &ed.x].map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
        Self {
            verifier: TokenVerifier::with_keys(ISSUER, AUDIENCE, KeySet::from_json(&keys.to_string()).unwrap()),
            genuine: genuine.collect(),
            impostor: Ed25519::generate(),
            public: public.into_iter().chain(raw).collect(),
        }
    }

    /// A token that differs from every genuine one, and how it came to be.
    fn altered(&self, chance: &mut Chance) -> (&'static str, String) {
        let token = chance.of(&self.genuine).clone();
        match chance.below(8) {
            0 => ("a byte changed", changed(chance, &token)),
            1 => ("bytes gone or added", resized(chance, &token)),
            2 => ("segments swapped", {
                let other = chance.of(&self.genuine).clone();
                swapped(chance, [&token, &other])
            }),
            3 => ("header edited", edited(&token, 0, header_edit(chance))),
            4 => ("claims edited", edited(&token, 1, claims_edit(chance))),
            5 => {
                let kid = chance.of(&["ps", "rs", "ed", "key-1", ""]);
                let alg = chance.of(&["EdDSA", "PS256", "RS256"]);
                let head = with(header(), json!({ "kid": kid, "alg": alg }));
                let head = if chance.below(2) == 0 { with(head, header_edit(chance)) } else { head };
                let said = if chance.below(2) == 0 { with(claims(1), claims_edit(chance)) } else { claims(1) };
                ("signed by nobody we trust", sign(&head, &said, &self.impostor.key, Algorithm::EdDSA))
            }
            6 => {
                let key = EncodingKey::from_secret(chance.of::<Vec<u8>>(&self.public));
                let (name, algorithm) = chance.of(&[
                    ("HS256", Algorithm::HS256),
                    ("HS384", Algorithm::HS384),
                    ("HS512", Algorithm::HS512),
                    ("PS256", Algorithm::HS256),
                    ("EdDSA", Algorithm::HS512),
                ]);
                let kid = chance.of(&["ps", "rs", "ed"]);
                let head = with(header(), json!({ "alg": name, "kid": kid }));
                ("a public key as the secret", sign(&head, &claims(1), &key, *algorithm))
            }
            _ => ("another signature", signed_otherwise(chance, &token)),
        }
    }
}

fn changed(chance: &mut Chance, token: &str) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ ~";
    let mut bytes = token.as_bytes().to_vec();
    for _ in 0..=chance.below(3) {
        let at = chance.below(bytes.len());
        bytes[at] = *chance.of(LETTERS);
    }
    String::from_utf8(bytes).unwrap()
}

fn resized(chance: &mut Chance, token: &str) -> String {
    let at = chance.below(token.len());
    let (start, end) = token.split_at(at);
    match chance.below(4) {
        0 => start.to_owned(),
        1 => end.to_owned(),
        2 => format!("{start}{}", &end[1..]),
        _ => format!("{start}{}{end}", chance.of(&["A", ".", "=", "AAAA", ".e30."])),
    }
}

fn swapped(chance: &mut Chance, tokens: [&str; 2]) -> String {
    let parts: Vec<&str> = tokens.into_iter().flat_map(|token| token.split('.')).collect();
    let count = 2 + chance.below(3);
    (0..count).map(|_| *chance.of(&parts)).collect::<Vec<_>>().join(".")
}

/// The token with one part edited; the signature stays.
fn edited(token: &str, part: usize, changes: Value) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let value: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(&parts[part]).unwrap()).unwrap();
    parts[part] = URL_SAFE_NO_PAD.encode(with(value, changes).to_string());
    parts.join(".")
}

fn header_edit(chance: &mut Chance) -> Value {
    match chance.below(6) {
        0 => {
            let alg =
                chance.of(&["none", "None", "NONE", "", "HS256", "ES256", "PS256", "RS256", "EdDSA", "PS512", "ps256"]);
            json!({ "alg": alg })
        }
        1 => json!({ "kid": *chance.of(&["ps", "rs", "ed", "", "../ps", "ps\u{0}", "PS"]) }),
        2 => json!({ "typ": *chance.of(&["JWT", "kisum-service+jwt", "", "at+jwt2"]) }),
        3 => json!({ *chance.of(&["jku", "x5u"]): "https://evil.example/jwks.json" }),
        4 => json!({ *chance.of(&["jwk", "x5c", "crit"]): [chance.next()] }),
        _ => json!({ *chance.of(&["alg", "kid", "typ"]): null }),
    }
}

fn claims_edit(chance: &mut Chance) -> Value {
    let later = wall().seconds() + 1 + i64::try_from(chance.below(1_000_000)).unwrap();
    match chance.below(7) {
        0 => json!({ "iss": *chance.of(&["https://evil.example", "", "https://auth.example/"]) }),
        1 => json!({ "aud": *chance.of(&["other", "", "Kisum"]) }),
        2 => json!({ "exp": later + 300 }),
        3 => json!({ "sub": uuid::Uuid::from_u128(u128::from(chance.next())) }),
        4 => json!({ "sid": uuid::Uuid::from_u128(u128::from(chance.next())) }),
        5 => json!({ "acr": "aal2", "auth_time": later }),
        _ => json!({ *chance.of(&["iss", "aud", "exp", "sub", "sid", "jti", "iat"]): null }),
    }
}

fn signed_otherwise(chance: &mut Chance, token: &str) -> String {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    match chance.below(4) {
        0 => bytes.fill(0),
        1 => bytes.fill(0xff),
        2 => bytes.truncate(chance.below(bytes.len())),
        _ => {
            let at = chance.below(bytes.len());
            bytes[at] ^= 1 << chance.below(8);
        }
    }
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// security 18
#[tokio::test]
async fn of_a_hundred_thousand_altered_tokens_none_is_accepted() {
    let world = World::new();
    for token in &world.genuine {
        assert!(world.verifier.check(token, wall()).await.is_ok(), "the tokens that are altered are genuine");
    }
    let seed = u64::try_from(Clock::system().now().micros()).unwrap();
    println!("seed {seed}");
    let (mut chance, mut refused, mut reasons) = (Chance(seed), 0, std::collections::BTreeMap::new());
    while refused < TOKENS {
        let (how, token) = world.altered(&mut chance);
        if world.genuine.contains(&token) {
            continue;
        }
        let checked = world.verifier.check(&token, wall()).await;
        let Err(reason) = checked else { panic!("seed {seed}, token {refused}, {how}: accepted: {token}") };
        *reasons.entry(reason.name()).or_insert(0) += 1;
        refused += 1;
    }
    // Every kind of refusal was met: the tokens came as far as each check.
    for reason in ["malformed", "algorithm", "header", "type", "unknown_key", "signature"] {
        assert!(reasons.get(reason).is_some_and(|count| *count > 100), "seed {seed}: {reasons:?}");
    }
    println!("{reasons:?}");
}
