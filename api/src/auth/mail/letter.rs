//! What a mail says: plain text, short.
//!
//! INVARIANT: nothing in a mail was chosen by whoever caused it. Anybody can have one sent to any address, and a name or a
//! company that they chose would be a message of theirs under our sender. So no letter greets by name.

use super::work::Kind;
use crate::auth::tokens::MailedToken;
use kisum_events::{EventId, SecretPurpose, Timestamp};
use lettre::{
    Message,
    message::{
        Body, Mailbox,
        header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue},
    },
};
use std::time::{Duration, SystemTime};

/// Subject and text of a letter. A link's token stands behind `#`: what stands there is sent to no server and into no log.
pub(super) fn write(kind: Kind, app_url: &str, token: Option<&MailedToken>) -> (&'static str, String) {
    let link = |page: &str| match token {
        Some(token) => format!("{app_url}/{page}#token={}", token.reveal()),
        None => format!("{app_url}/{page}"),
    };
    match kind {
        Kind::Secret(SecretPurpose::EmailVerification) => (
            "Confirm your e-mail address",
            format!(
                "Somebody, we hope you, registered at Kisum with this address.\n\n\
                 To confirm that it is yours, follow this link within a day, and say the password that you chose:\n\n{}\n\n\
                 If it was not you, do nothing: without the link nothing comes of it.\n",
                link("verify-email")
            ),
        ),
        Kind::Secret(SecretPurpose::PasswordReset) => (
            "Set a new password",
            format!(
                "Somebody, we hope you, asked for a new password for your account at Kisum.\n\n\
                 To set one, follow this link within an hour:\n\n{}\n\n\
                 If it was not you, do nothing: your password stays as it is.\n",
                link("reset-password")
            ),
        ),
        Kind::RegistrationAttempted => (
            "You have an account already",
            format!(
                "Somebody, perhaps you, tried to register at Kisum with this address, which has an account already.\n\n\
                 If it was you, sign in. If you do not know your password any more, set a new one here:\n\n{}\n\n\
                 If it was not you, do nothing: nothing has changed.\n",
                link("forgot-password")
            ),
        ),
        Kind::PasswordSet => (
            "Your password was changed",
            format!(
                "The password of your account at Kisum was changed, and you were signed out everywhere else.\n\n\
                 If it was not you, set a new one at once:\n\n{}\n",
                link("forgot-password")
            ),
        ),
        Kind::FactorAdded => (
            "A second factor was added",
            of_factors(
                "A second factor was added to your account at Kisum, and you were signed out everywhere else.",
                &link,
            ),
        ),
        Kind::FactorRemoved => (
            "A second factor was removed",
            of_factors(
                "A second factor of your account at Kisum was removed, and you were signed out everywhere else.",
                &link,
            ),
        ),
        Kind::RecoveryCodesIssued => (
            "You have new recovery codes",
            of_factors(
                "New recovery codes were made for your account at Kisum. Those before them are good no more.",
                &link,
            ),
        ),
        Kind::RecoveryCodeUsed => (
            "A recovery code was used",
            of_factors("A recovery code of your account at Kisum was used. It is good no more.", &link),
        ),
    }
}

fn of_factors(what: &str, link: &impl Fn(&str) -> String) -> String {
    format!("{what}\n\nIf it was not you, set a new password at once:\n\n{}\n", link("forgot-password"))
}

/// Whom a letter is from and to, and what it follows from.
pub(super) struct Cover<'a> {
    pub(super) from: &'a Mailbox,
    pub(super) to: Mailbox,
    pub(super) event: EventId,
    pub(super) recorded_at: Timestamp,
}

/// Puts a letter into its envelope: the same one however often it is sent.
///
/// # Errors
/// When it cannot be written as a mail.
pub(super) fn address(cover: Cover<'_>, subject: &str, text: String) -> Result<Message, lettre::error::Error> {
    let id = format!("<{}@{}>", cover.event, cover.from.email.domain());
    let micros = u64::try_from(cover.recorded_at.micros()).unwrap_or(0);
    let message = Message::builder()
        .from(cover.from.clone())
        .to(cover.to)
        .subject(subject)
        .date(SystemTime::UNIX_EPOCH + Duration::from_micros(micros))
        .message_id(Some(id))
        .header(ContentType::TEXT_PLAIN);
    // RFC 3834: nobody's absence answers it.
    let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
    message.raw_header(automatic).body(plain(text))
}

/// Longest line of a mail (RFC 5322 §2.1.1).
const LINE_BYTES_MAX: usize = 998;

/// A link is longer than the lines of a mail like to be, and would be broken and escaped for it. It is within what they may
/// be: sent as it is, it is whole wherever the mail is shown.
fn plain(text: String) -> Body {
    if text.is_ascii() && text.lines().all(|line| line.len() <= LINE_BYTES_MAX) {
        let lines = text.replace('\n', "\r\n").into_bytes();
        return Body::dangerous_pre_encoded(lines, ContentTransferEncoding::SevenBit);
    }
    Body::new(text)
}

#[cfg(test)]
mod tests {
    use super::{Cover, Kind, address, write};
    use crate::auth::tokens::MailedKey;
    use kisum_events::{EventId, SecretId, SecretPurpose, Timestamp, UserId};
    use uuid::Uuid;

    #[test]
    fn a_mail_is_the_same_whenever_it_is_written_and_its_link_is_whole() {
        let (user, secret) = (UserId::new(Uuid::from_u128(1)), SecretId::new(Uuid::from_u128(2)));
        let token = MailedKey::new(&[7; 32]).token(user, secret, SecretPurpose::PasswordReset);
        let mail = || {
            let from = "Kisum <no-reply@kisum.example>".parse().unwrap();
            let to = "ada@example.org".parse().unwrap();
            let event = EventId::new(Uuid::from_u128(3));
            let cover = Cover { from: &from, to, event, recorded_at: Timestamp::from_micros(1_700_000_000_000_000) };
            let kind = Kind::Secret(SecretPurpose::PasswordReset);
            let (subject, text) = write(kind, "https://app.kisum.example", Some(&token));
            String::from_utf8(address(cover, subject, text).unwrap().formatted()).unwrap()
        };
        let link = format!("\r\nhttps://app.kisum.example/reset-password#token={}\r\n", token.reveal());
        assert!(mail().contains(&link), "{}", mail());
        assert!(mail().contains("Message-ID: <00000000-0000-0000-0000-000000000003@kisum.example>\r\n"), "{}", mail());
        assert_eq!(mail(), mail());
    }
}
