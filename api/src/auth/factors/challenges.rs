//! Proofs that have begun: what a client was asked for, until it has answered or given up.
//!
//! It owns that a challenge is open for minutes, may be tried a few times, and is good once, whichever process of Auth is
//! asked and whatever becomes of Redis. It refuses to know what a right answer is.
//!
//! What a challenge is about is sealed under its own secret, which only the client holds: a dump of the table opens
//! nothing and names nobody.

use crate::{
    auth::{
        limiter::{Limit, Limiter},
        lookup::hex,
    },
    shared::{
        ambient::{self, Clock},
        problem::{self, Problem},
    },
};
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest, hmac,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};
use sqlx::PgPool;
use std::time::Duration;

/// How long a challenge is open (contract: minutes).
pub(in crate::auth) const LIVES: Duration = Duration::from_secs(300);
/// Answers that may be tried (contract, *Auth*).
const ATTEMPTS_MAX: i16 = 5;
/// Challenges whose time has run out and that are taken away with each that begins: more than begin, so that they
/// never gather.
const PURGED_AT_ONCE: i64 = 16;
/// Challenges that one person begins while one is open.
const BEGUN: Limit = Limit { max: 30, window_s: LIVES.as_secs() };
/// Bytes of the client's secret.
const SECRET_BYTES: usize = 32;

/// What a challenge is for; none is good for anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::auth) enum Purpose {
    /// A sign-in whose password was right.
    SecondFactor,
    /// A sign-in by passkey alone.
    PasskeyLogin,
    /// Adding a TOTP app.
    TotpRegistration,
    /// Adding a passkey.
    PasskeyRegistration,
    /// Proving again who one is, by passkey.
    StepUp,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::SecondFactor => "second_factor",
            Self::PasskeyLogin => "passkey_login",
            Self::TotpRegistration => "totp_registration",
            Self::PasskeyRegistration => "passkey_registration",
            Self::StepUp => "step_up",
        }
    }
}

/// A challenge that is being tried.
pub(in crate::auth) struct Tried<T> {
    id: Vec<u8>,
    /// What it is about.
    pub(in crate::auth) about: T,
}

/// The challenges of all processes.
#[derive(Clone)]
pub(in crate::auth) struct Challenges {
    pool: PgPool,
    limits: Limiter,
    clock: Clock,
}

#[derive(Debug, thiserror::Error)]
#[error("a challenge could not be sealed: {0}")]
struct SealError(String);

impl Challenges {
    /// Challenges in Auth's database.
    pub(in crate::auth) const fn new(pool: PgPool, limits: Limiter, clock: Clock) -> Self {
        Self { pool, limits, clock }
    }

    /// Begins one for somebody who has shown who they are, unless they have begun too many: what the database keeps of them
    /// is bounded. `who` says whose are counted together.
    ///
    /// # Errors
    /// 429; 503 when the database does not answer.
    pub(in crate::auth) async fn begin_for<T: Serialize + Sync>(
        &self,
        who: &str,
        purpose: Purpose,
        about: &T,
    ) -> Result<String, Problem> {
        let allowed = self.limits.allow(&format!("ratelimit:challenge:{who}"), BEGUN).await;
        allowed.map_err(|limited| Problem::rate_limited(limited.retry_after_s))?;
        self.begin(purpose, about).await
    }

    /// Begins one. Answers with the secret that names it.
    ///
    /// # Errors
    /// 503 when the database does not answer.
    pub(in crate::auth) async fn begin<T: Serialize + Sync>(
        &self,
        purpose: Purpose,
        about: &T,
    ) -> Result<String, Problem> {
        let secret = ambient::random::<SECRET_BYTES>().map_err(|error| problem::of_defect(&error))?;
        let sealed = seal(&secret, about).map_err(|error| problem::of_defect(&error))?;
        let now = self.clock.now();
        sqlx::query!(
            "with over as (select id from auth_challenge where expires_at <= $1
                           order by expires_at limit $2 for update skip locked),
                  purged as (delete from auth_challenge c using over where c.id = over.id)
             insert into auth_challenge (id, purpose, attempts_left, expires_at, sealed) values ($3, $4, $5, $6, $7)",
            now.micros(),
            PURGED_AT_ONCE,
            id_of(&secret),
            purpose.name(),
            ATTEMPTS_MAX,
            now.plus(LIVES).micros(),
            sealed
        )
        .execute(&self.pool)
        .await
        .map_err(problem::of_query)?;
        Ok(URL_SAFE_NO_PAD.encode(secret))
    }

    /// Counts an attempt at one; nothing where it is not open, not for this, or was tried too often. Attempts in
    /// parallel are counted one by one.
    ///
    /// # Errors
    /// 503 when the database does not answer.
    pub(in crate::auth) async fn attempt<T: DeserializeOwned>(
        &self,
        purpose: Purpose,
        secret: &str,
    ) -> Result<Option<Tried<T>>, Problem> {
        let secret: Option<[u8; SECRET_BYTES]> =
            URL_SAFE_NO_PAD.decode(secret).ok().and_then(|bytes| bytes.try_into().ok());
        let Some(secret) = secret else { return Ok(None) };
        let id = id_of(&secret);
        let sealed = sqlx::query_scalar!(
            "update auth_challenge set attempts_left = attempts_left - 1
             where id = $1 and purpose = $2 and attempts_left > 0 and expires_at > $3 returning sealed",
            id,
            purpose.name(),
            self.clock.now().micros()
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(problem::of_query)?;
        let Some(sealed) = sealed else { return Ok(None) };
        let about = open(&secret, sealed).map_err(|error| problem::of_defect(&error))?;
        Ok(Some(Tried { id, about }))
    }

    /// Uses one up: true for one caller alone.
    ///
    /// # Errors
    /// 503 when the database does not answer.
    pub(in crate::auth) async fn use_up<T>(&self, tried: &Tried<T>) -> Result<bool, Problem> {
        let used = sqlx::query!("delete from auth_challenge where id = $1", tried.id).execute(&self.pool).await;
        Ok(used.map_err(problem::of_query)?.rows_affected() == 1)
    }
}

fn id_of(secret: &[u8; SECRET_BYTES]) -> Vec<u8> {
    digest::digest(&digest::SHA256, secret).as_ref().to_vec()
}

/// A key that seals one text alone, so that its nonce may be anything.
fn key_of(secret: &[u8; SECRET_BYTES]) -> Result<LessSafeKey, SealError> {
    let key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"challenge");
    let key = UnboundKey::new(&AES_256_GCM, key.as_ref()).map_err(|error| SealError(error.to_string()))?;
    Ok(LessSafeKey::new(key))
}

fn seal<T: Serialize>(secret: &[u8; SECRET_BYTES], about: &T) -> Result<Vec<u8>, SealError> {
    let mut text = serde_json::to_vec(about).map_err(|error| SealError(error.to_string()))?;
    let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
    let sealed = key_of(secret)?.seal_in_place_append_tag(nonce, Aad::empty(), &mut text);
    sealed.map_err(|error| SealError(error.to_string()))?;
    Ok(text)
}

fn open<T: DeserializeOwned>(secret: &[u8; SECRET_BYTES], mut sealed: Vec<u8>) -> Result<T, SealError> {
    let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
    let key = key_of(secret)?;
    let text = key
        .open_in_place(nonce, Aad::empty(), &mut sealed)
        .map_err(|_| SealError("it was sealed otherwise".to_owned()))?;
    serde_json::from_slice(text).map_err(|error| SealError(error.to_string()))
}

/// SHA-256 of a text in lower-case hex: what is kept of a recovery code.
pub(super) fn sha256_hex(text: &str) -> String {
    hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

#[cfg(test)]
mod tests {
    use super::{open, seal};

    #[test]
    fn what_a_challenge_is_about_opens_with_its_own_secret_alone() {
        let sealed = seal(&[1; 32], &"about").unwrap();
        assert!(!sealed.windows(5).any(|window| window == b"about"));
        assert_eq!(open::<String>(&[1; 32], sealed.clone()).unwrap(), "about");
        assert!(open::<String>(&[2; 32], sealed.clone()).is_err());
        let mut altered = sealed;
        if let Some(byte) = altered.first_mut() {
            *byte ^= 1;
        }
        assert!(open::<String>(&[1; 32], altered).is_err());
    }
}
