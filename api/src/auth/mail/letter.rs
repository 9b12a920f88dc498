//! What a mail says: plain text, short.
//!
//! INVARIANT: nothing in a mail was chosen by whoever caused it. Anybody can have one sent to any address, and a name or a
//! company that they chose would be a message of theirs under our sender. So no letter greets by name. An invitation alone
//! says who sends it: a member of a company that the platform approved, and both names as words that lead nowhere (`words`).

use super::work::Kind;
use kisum_events::{EventId, SecretPurpose, Timestamp};
use lettre::{
    Message,
    message::{
        Body, Mailbox,
        header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue},
    },
};
use std::time::{Duration, SystemTime};

/// Who invites whom into what; empty in every other letter.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// What the company calls itself.
    pub(super) company: String,
    /// What the member calls themselves who sent it; empty where the platform did.
    pub(super) inviter: String,
}

/// Subject and text of a letter. A link's token stands behind `#`: what stands there is sent to no server and into no log.
pub(super) fn write(kind: Kind, app_url: &str, token: Option<&str>, names: &Names) -> (&'static str, String) {
    let link = |page: &str| match token {
        Some(token) => format!("{app_url}/{page}#token={token}"),
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
        Kind::Invitation => ("You are invited", invitation(names, &link)),
    }
}

fn invitation(names: &Names, link: &impl Fn(&str) -> String) -> String {
    let (company, inviter) = (words(&names.company), words(&names.inviter));
    let invited = if inviter.is_empty() { "You are invited".to_owned() } else { format!("\"{inviter}\" invites you") };
    format!(
        "{invited} to join the company \"{company}\" at Kisum.\n\n\
         To accept, follow this link within a week:\n\n{}\n\n\
         If you do not know them, do nothing: without the link nothing comes of it.\n",
        link("accept-invitation")
    )
}

/// Characters of a name in a letter at most.
const NAME_CHARS_MAX: usize = 60;

/// A name that somebody chose, as words that no reader and no mail program takes for a link or a line of ours: letters,
/// digits and a little punctuation, a full stop only where a word ends with it.
fn words(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let kept = chars.iter().enumerate().map(|(at, c)| {
        let ends_a_word = chars.get(at.saturating_add(1)).is_none_or(|next| next.is_whitespace());
        let stays = c.is_alphanumeric() || "-'’&,()+".contains(*c) || (*c == '.' && ends_a_word);
        if stays { *c } else { ' ' }
    });
    let kept: String = kept.collect();
    let spaced = kept.split_whitespace().collect::<Vec<_>>().join(" ");
    spaced.chars().take(NAME_CHARS_MAX).collect::<String>().trim_end().to_owned()
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
    use super::{Cover, Kind, Names, address, words, write};
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
            let (subject, text) = write(kind, "https://app.kisum.example", Some(&token.reveal()), &Names::default());
            String::from_utf8(address(cover, subject, text).unwrap().formatted()).unwrap()
        };
        let link = format!("\r\nhttps://app.kisum.example/reset-password#token={}\r\n", token.reveal());
        assert!(mail().contains(&link), "{}", mail());
        assert!(mail().contains("Message-ID: <00000000-0000-0000-0000-000000000003@kisum.example>\r\n"), "{}", mail());
        assert_eq!(mail(), mail());
    }

    #[test]
    fn a_name_in_an_invitation_leads_nowhere_and_begins_no_line() {
        for (name, shown) in [
            ("Acme Live, Inc.", "Acme Live, Inc."),
            ("J. R. O'Neill-Müller & Söhne", "J. R. O'Neill-Müller & Söhne"),
            ("Win at evil.example", "Win at evil example"),
            ("https://evil.example/?a=b", "https evil example a b"),
            ("mail me@evil.example\r\n\r\nDear you", "mail me evil example Dear you"),
            ("evil\u{3002}example\u{202e}moc", "evil example moc"),
            ("\"quoted\" <b>bold</b>", "quoted b bold b"),
            ("...", "."),
            ("   ", ""),
        ] {
            assert_eq!(words(name), shown, "{name}");
        }
        assert_eq!(words(&"x".repeat(200)).len(), 60);
    }

    #[test]
    fn an_invitation_says_who_invites_into_what_where_it_knows() {
        let named = Names { company: "Acme Live".into(), inviter: "Ada".into() };
        let by_platform =
            Names { inviter: String::new(), ..Names { company: "Acme Live".into(), inviter: "Ada".into() } };
        let text = |names: &Names| write(Kind::Invitation, "https://app.kisum.example", Some("t.o.k"), names).1;
        assert!(text(&named).starts_with("\"Ada\" invites you to join the company \"Acme Live\" at Kisum."));
        assert!(text(&by_platform).starts_with("You are invited to join the company \"Acme Live\" at Kisum."));
        assert!(text(&named).contains("\nhttps://app.kisum.example/accept-invitation#token=t.o.k\n"));
    }
}
