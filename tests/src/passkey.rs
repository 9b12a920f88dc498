//! An authenticator in software: it makes passkeys and signs with them as a browser would hand it over, and lies where a
//! test wants it to.

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::{self, SystemRandom},
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
const HAS_CREDENTIAL: u8 = 0x40;

/// A passkey in somebody's hands.
pub struct Passkey {
    key: EcdsaKeyPair,
    id: [u8; 16],
    user: Vec<u8>,
    /// How often it has signed.
    pub counter: u32,
}

/// How an authenticator answers; as it should unless a test says otherwise.
#[derive(Clone)]
pub struct Manner {
    /// The page's origin.
    pub origin: String,
    /// The relying party; the one that asked when absent.
    pub rp_id: Option<String>,
    /// Whether it has verified its user.
    pub verifies: bool,
    /// The challenge; the one that was asked when absent.
    pub challenge: Option<String>,
    /// Whether it says whose the passkey is.
    pub names_user: bool,
}

impl Default for Manner {
    fn default() -> Self {
        let origin = "http://localhost:3000".to_owned();
        Self { origin, rp_id: None, verifies: true, challenge: None, names_user: true }
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn text(options: &Value, pointer: &str) -> String {
    let found = options.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("the options have no {pointer}: {options}")).to_owned()
}

impl Manner {
    fn client_data(&self, kind: &str, options: &Value) -> Vec<u8> {
        let challenge = self.challenge.clone().unwrap_or_else(|| text(options, "/challenge"));
        let data = json!({ "type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": false });
        data.to_string().into_bytes()
    }

    fn authenticator_data(&self, rp_id: String, flags: u8, counter: u32) -> Vec<u8> {
        let rp_id = self.rp_id.clone().unwrap_or(rp_id);
        let verified = if self.verifies { USER_VERIFIED } else { 0 };
        let mut data = digest(&SHA256, rp_id.as_bytes()).as_ref().to_vec();
        data.push(USER_PRESENT | verified | flags);
        data.extend(counter.to_be_bytes());
        data
    }
}

impl Passkey {
    /// Makes a passkey for the options of `navigator.credentials.create`, and what that answers.
    pub fn create(options: &Value, manner: &Manner) -> (Self, Value) {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap_or_else(|error| panic!("{error}"));
        let mut id = [0; 16];
        rand::fill(&mut id).unwrap_or_else(|error| panic!("{error}"));
        let user = URL_SAFE_NO_PAD.decode(text(options, "/user/id")).unwrap_or_else(|error| panic!("{error}"));
        let mut data = manner.authenticator_data(text(options, "/rp/id"), HAS_CREDENTIAL, 0);
        data.extend([0; 16]); // no make
        data.extend([0, 16]);
        data.extend(id);
        data.extend(cose(key.public_key().as_ref()));
        let client_data = manner.client_data("webauthn.create", options);
        let credential = json!({
            "id": encode(&id), "rawId": encode(&id), "type": "public-key",
            "authenticatorAttachment": "platform", "clientExtensionResults": {},
            "response": {
                "attestationObject": encode(&attestation(&data)), "clientDataJSON": encode(&client_data),
                "transports": ["internal"],
            },
        });
        (Self { key, id, user, counter: 0 }, credential)
    }

    /// Signs for the options of `navigator.credentials.get`, and says what that answers.
    pub fn get(&mut self, options: &Value, manner: &Manner) -> Value {
        self.counter += 1;
        let data = manner.authenticator_data(text(options, "/rpId"), 0, self.counter);
        let client_data = manner.client_data("webauthn.get", options);
        let signed = [data.as_slice(), digest(&SHA256, &client_data).as_ref()].concat();
        let signature = self.key.sign(&SystemRandom::new(), &signed).unwrap_or_else(|error| panic!("{error}"));
        json!({
            "id": encode(&self.id), "rawId": encode(&self.id), "type": "public-key",
            "authenticatorAttachment": "platform", "clientExtensionResults": {},
            "response": {
                "authenticatorData": encode(&data), "clientDataJSON": encode(&client_data),
                "signature": encode(signature.as_ref()),
                "userHandle": manner.names_user.then(|| encode(&self.user)),
            },
        })
    }

    /// The same options, asking for this passkey as another would.
    pub fn id(&self) -> String {
        encode(&self.id)
    }
}

/// A P-256 public key as COSE has it (RFC 9052), in CBOR.
fn cose(point: &[u8]) -> Vec<u8> {
    let (x, y) = (point.get(1..33).unwrap_or_default(), point.get(33..65).unwrap_or_default());
    let head: &[u8] = &[0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20];
    [head, x, &[0x22, 0x58, 0x20], y].concat()
}

/// An attestation of nothing: `{"fmt":"none","attStmt":{},"authData":…}` in CBOR.
fn attestation(data: &[u8]) -> Vec<u8> {
    let length = u8::try_from(data.len()).unwrap_or_else(|_| panic!("{} bytes", data.len()));
    [b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58".as_slice(), &[length], data].concat()
}
