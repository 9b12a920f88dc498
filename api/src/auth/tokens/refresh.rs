//! Refresh tokens: `sid.generation.secret`, each successor derived from its predecessor, none of them stored.

use crate::shared::ambient::{self, RandomError};
use aws_lc_rs::{constant_time, digest, hmac};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use kisum_events::SessionId;
use std::{fmt, str::FromStr, sync::Arc};

/// Bytes of a secret's random or derived part: 256 bits.
const SECRET_BYTES: usize = 32;
/// Bytes of the tag behind it, 128 bits: what shows, without asking anybody, that the token was issued here. Without
/// it, whoever knows a session's id could present an invented old token and so end the session.
const TAG_BYTES: usize = 16;

/// A refresh token in a client's hands.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::auth) struct RefreshToken {
    /// The session that it continues.
    pub(in crate::auth) session: SessionId,
    /// How many rotations came before it.
    pub(in crate::auth) generation: u32,
    secret: [u8; SECRET_BYTES],
    tag: [u8; TAG_BYTES],
}

/// A text that is no refresh token. It does not say what was wrong: the text is a secret, or an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a refresh token")]
pub(in crate::auth) struct NotARefreshToken;

impl RefreshToken {
    /// What is stored of it: SHA-256 of the secret, lower-case hex.
    pub(in crate::auth) fn hash(&self) -> String {
        crate::auth::lookup::hex(digest::digest(&digest::SHA256, &self.secret).as_ref())
    }

    /// The token as the client gets it.
    pub(in crate::auth) fn reveal(&self) -> String {
        let secret = [self.secret.as_slice(), &self.tag].concat();
        format!("{}.{}.{}", self.session, self.generation, URL_SAFE_NO_PAD.encode(secret))
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.…", self.session, self.generation)
    }
}

impl FromStr for RefreshToken {
    type Err = NotARefreshToken;
    fn from_str(text: &str) -> Result<Self, NotARefreshToken> {
        let mut parts = text.split('.');
        let (Some(session), Some(generation), Some(secret), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NotARefreshToken);
        };
        let bytes = URL_SAFE_NO_PAD.decode(secret).map_err(|_| NotARefreshToken)?;
        let (secret, tag) = bytes.split_at_checked(SECRET_BYTES).ok_or(NotARefreshToken)?;
        Ok(Self {
            session: session.parse().map_err(|_| NotARefreshToken)?,
            generation: generation.parse().map_err(|_| NotARefreshToken)?,
            secret: secret.try_into().map_err(|_| NotARefreshToken)?,
            tag: tag.try_into().map_err(|_| NotARefreshToken)?,
        })
    }
}

/// `REFRESH_TOKEN_KEY`: derives successors, so that whoever presents a token again gets the same successor and a
/// crash between commit and answer loses nobody's session (security.md, 7).
#[derive(Clone)]
pub(in crate::auth) struct RefreshKey(Arc<hmac::Key>);

impl RefreshKey {
    /// A key of 32 bytes.
    pub(in crate::auth) fn new(key: &[u8]) -> Self {
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key)))
    }

    /// The first token of a session, drawn at random.
    pub(in crate::auth) fn first(&self, session: SessionId) -> Result<RefreshToken, RandomError> {
        Ok(self.tagged(session, 0, ambient::random()?))
    }

    /// The one successor of a token; none when the token was not issued under this key, and none after 2³² rotations.
    pub(in crate::auth) fn successor(&self, token: &RefreshToken) -> Option<RefreshToken> {
        let issued = self.signed(b"tag", token.session, token.generation, &token.secret);
        constant_time::verify_slices_are_equal(issued.as_ref().get(..TAG_BYTES)?, &token.tag).ok()?;
        let generation = token.generation.checked_add(1)?;
        let secret = self.signed(b"secret", token.session, generation, &token.secret);
        Some(self.tagged(token.session, generation, secret.as_ref().try_into().ok()?))
    }

    fn tagged(&self, session: SessionId, generation: u32, secret: [u8; SECRET_BYTES]) -> RefreshToken {
        let mut tag = [0; TAG_BYTES];
        let signed = self.signed(b"tag", session, generation, &secret);
        tag.iter_mut().zip(signed.as_ref()).for_each(|(byte, signed)| *byte = *signed);
        RefreshToken { session, generation, secret, tag }
    }

    fn signed(&self, purpose: &[u8], session: SessionId, generation: u32, secret: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        for part in [purpose, session.uuid().as_bytes(), &generation.to_be_bytes(), secret] {
            context.update(part);
        }
        context.sign()
    }
}

#[cfg(test)]
mod tests {
    use super::{NotARefreshToken, RefreshKey, RefreshToken};
    use kisum_events::SessionId;

    fn token() -> RefreshToken {
        let session: SessionId = "0198c5a2-7b1e-7000-8000-000000000001".parse().unwrap();
        RefreshKey::new(&[7; 32]).first(session).unwrap()
    }

    #[test]
    fn a_token_that_was_not_issued_here_has_no_successor() {
        let (key, token) = (RefreshKey::new(&[7; 32]), token());
        assert!(RefreshKey::new(&[8; 32]).successor(&token).is_none());
        for forged in [
            RefreshToken { generation: 1, ..token.clone() },
            RefreshToken { session: "0198c5a2-7b1e-7000-8000-000000000002".parse().unwrap(), ..token.clone() },
            RefreshToken { secret: [0; 32], ..token.clone() },
            RefreshToken { tag: [0; 16], ..token.clone() },
        ] {
            assert!(key.successor(&forged).is_none(), "{}", forged.reveal());
        }
    }

    #[test]
    fn a_token_survives_the_way_to_the_client_and_back() {
        let token = token();
        assert_eq!(token.reveal().parse(), Ok(token.clone()));
        assert!(!format!("{token:?}").contains(token.reveal().rsplit('.').next().unwrap()));
    }

    #[test]
    fn a_token_has_one_successor_under_one_key() {
        let (key, token) = (RefreshKey::new(&[7; 32]), token());
        let successor = key.successor(&token).unwrap();
        assert_eq!(successor.generation, 1);
        assert_eq!(key.successor(&token), Some(successor.clone()));
        assert_ne!(key.successor(&successor).unwrap().hash(), successor.hash());
    }

    /// security 6
    #[test]
    fn the_stored_hash_is_sixty_four_hexadecimal_digits() {
        let hash = token().hash();
        assert!(hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()));
    }

    #[test]
    fn anything_else_is_no_refresh_token() {
        let good = token().reveal();
        for bad in ["", "a.b.c", "..", &good[1..], &format!("{good}."), &format!("{good}A"), &good.replace('.', "-")] {
            assert_eq!(bad.parse::<RefreshToken>(), Err(NotARefreshToken), "{bad}");
        }
    }
}
