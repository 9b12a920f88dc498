//! Secrets that go by mail: `userId.secretId.secret`, the secret derived from the rest, none of them stored; in invitations
//! the invitation's id stands for the person's.
//!
//! A mail can be sent, and sent again, from the event alone, and a dump of the database holds no usable token
//! (security 6). Under another `REFRESH_TOKEN_KEY` secrets that were sent go on being good: what is compared is their hash.

use aws_lc_rs::{digest, hmac};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use kisum_domains::{invitation::PresentedToken, user::PresentedSecret};
use kisum_events::{InvitationId, SecretId, SecretPurpose, UserId};
use std::{fmt, str::FromStr, sync::Arc};

/// Bytes of a secret: 256 bits.
const SECRET_BYTES: usize = 32;

/// A mailed secret in somebody's hands, and whose it says it is.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::auth) struct MailedToken {
    /// Whose.
    pub(in crate::auth) user: UserId,
    id: SecretId,
    secret: [u8; SECRET_BYTES],
}

/// A text that is no such token. It does not say what was wrong: the text is a secret, or an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a mailed token")]
pub(in crate::auth) struct NotAMailedToken;

impl MailedToken {
    /// What is stored of it: SHA-256 of the secret, lower-case hex.
    pub(in crate::auth) fn hash(&self) -> String {
        crate::auth::lookup::hex(digest::digest(&digest::SHA256, &self.secret).as_ref())
    }

    /// The token as the person gets it.
    pub(in crate::auth) fn reveal(&self) -> String {
        format!("{}.{}.{}", self.user, self.id, URL_SAFE_NO_PAD.encode(self.secret))
    }

    /// The token as the rules see it.
    pub(in crate::auth) fn presented(&self, purpose: SecretPurpose) -> PresentedSecret {
        PresentedSecret { id: self.id, purpose, hash: self.hash() }
    }
}

impl fmt::Debug for MailedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.…", self.user, self.id)
    }
}

impl FromStr for MailedToken {
    type Err = NotAMailedToken;
    fn from_str(text: &str) -> Result<Self, NotAMailedToken> {
        let mut parts = text.split('.');
        let (Some(user), Some(id), Some(secret), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NotAMailedToken);
        };
        let secret = URL_SAFE_NO_PAD.decode(secret).map_err(|_| NotAMailedToken)?;
        Ok(Self {
            user: user.parse().map_err(|_| NotAMailedToken)?,
            id: id.parse().map_err(|_| NotAMailedToken)?,
            secret: secret.try_into().map_err(|_| NotAMailedToken)?,
        })
    }
}

/// An invitation's token: of the same form, but nobody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::auth) struct InvitationToken(MailedToken);

impl InvitationToken {
    /// The invitation that it says it belongs to.
    pub(in crate::auth) const fn invitation(&self) -> InvitationId {
        InvitationId::new(self.0.user.uuid())
    }

    /// What is stored of it, as of any mailed token.
    pub(in crate::auth) fn hash(&self) -> String {
        self.0.hash()
    }

    /// The token as whoever is invited gets it.
    pub(in crate::auth) fn reveal(&self) -> String {
        self.0.reveal()
    }

    /// The token as the rules see it.
    pub(in crate::auth) fn presented(&self) -> PresentedToken {
        PresentedToken { secret_id: self.0.id, hash: self.hash() }
    }
}

impl FromStr for InvitationToken {
    type Err = NotAMailedToken;
    fn from_str(text: &str) -> Result<Self, NotAMailedToken> {
        text.parse().map(Self)
    }
}

/// `REFRESH_TOKEN_KEY`, as what is mailed is derived from it.
#[derive(Clone)]
pub(in crate::auth) struct MailedKey(Arc<hmac::Key>);

impl MailedKey {
    /// A key of 32 bytes.
    pub(in crate::auth) fn new(key: &[u8]) -> Self {
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key)))
    }

    /// The token of a secret: always the same one.
    pub(in crate::auth) fn token(&self, user: UserId, id: SecretId, purpose: SecretPurpose) -> MailedToken {
        self.derive(purpose.name(), user, id)
    }

    /// The token of an invitation: always the same one.
    pub(in crate::auth) fn invitation(&self, invitation: InvitationId, id: SecretId) -> InvitationToken {
        // No purpose of a person's secret is called so.
        InvitationToken(self.derive("invitation", UserId::new(invitation.uuid()), id))
    }

    fn derive(&self, purpose: &str, user: UserId, id: SecretId) -> MailedToken {
        let mut context = hmac::Context::with_key(&self.0);
        // No other derivation under this key begins with this, and a purpose cannot run into what follows.
        for part in [b"mailed\0", purpose.as_bytes(), b"\0", user.uuid().as_bytes(), id.uuid().as_bytes()] {
            context.update(part);
        }
        let mut secret = [0; SECRET_BYTES];
        secret.iter_mut().zip(context.sign().as_ref()).for_each(|(byte, signed)| *byte = *signed);
        MailedToken { user, id, secret }
    }
}

#[cfg(test)]
mod tests {
    use super::{MailedKey, MailedToken, NotAMailedToken};
    use kisum_events::{InvitationId, SecretId, SecretPurpose, UserId};
    use uuid::Uuid;

    fn token(key: u8, user: u128, id: u128, purpose: SecretPurpose) -> MailedToken {
        let (user, id) = (UserId::new(Uuid::from_u128(user)), SecretId::new(Uuid::from_u128(id)));
        MailedKey::new(&[key; 32]).token(user, id, purpose)
    }

    /// security 6
    #[test]
    fn a_token_is_the_same_whenever_it_is_derived_and_another_for_anything_else() {
        let reset = token(7, 1, 2, SecretPurpose::PasswordReset);
        assert_eq!(reset, token(7, 1, 2, SecretPurpose::PasswordReset));
        for other in [
            token(8, 1, 2, SecretPurpose::PasswordReset),
            token(7, 3, 2, SecretPurpose::PasswordReset),
            token(7, 1, 3, SecretPurpose::PasswordReset),
            token(7, 1, 2, SecretPurpose::EmailVerification),
        ] {
            assert_ne!(other.hash(), reset.hash());
        }
        let (key, id) = (MailedKey::new(&[7; 32]), SecretId::new(Uuid::from_u128(2)));
        let invitation = key.invitation(InvitationId::new(Uuid::from_u128(1)), id);
        assert_ne!(invitation.hash(), reset.hash());
        assert_eq!(invitation, key.invitation(InvitationId::new(Uuid::from_u128(1)), id));
    }

    #[test]
    fn a_token_survives_the_way_by_mail_and_is_not_printed() {
        let token = token(7, 1, 2, SecretPurpose::PasswordReset);
        let text = token.reveal();
        assert_eq!(text.parse(), Ok(token.clone()));
        assert!(!format!("{token:?}").contains(text.rsplit('.').next().unwrap()));
        for bad in ["", "a.b.c", "..", &text[1..], &format!("{text}."), &format!("{text}A"), &text.replace('.', "-")] {
            assert_eq!(bad.parse::<MailedToken>(), Err(NotAMailedToken), "{bad}");
        }
    }
}
