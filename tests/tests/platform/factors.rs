//! Second factors through HTTP: apps, recovery codes and passkeys; signing in with them, and proving again who one is.

mod apps;
pub(crate) mod elsewhere;
mod passkeys;
mod stepping_up;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

/// The claims of an access token.
fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap_or_default();
    let bytes = URL_SAFE_NO_PAD.decode(part).unwrap_or_else(|error| panic!("{error}"));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{error}"))
}
