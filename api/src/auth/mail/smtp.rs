//! Handing mails to a mail server (RFC 5321), each over a connection of its own.
//!
//! It speaks the commands one by one, so that it knows what a server refuses: this recipient, or whatever it is asked. It
//! refuses to pass a server's words on: they may repeat an address.

use super::transport::TransportError;
use lettre::{
    Message,
    transport::smtp::{
        Error,
        authentication::{Credentials, DEFAULT_MECHANISMS},
        client::{AsyncSmtpConnection, TlsParameters},
        commands::{Data, Mail, Rcpt},
        extension::{ClientId, Extension, MailBodyParameter, MailParameter},
    },
};
use percent_encoding::percent_decode_str;
use reqwest::Url;
use std::{error::Error as _, time::Duration};

/// Longest wait for one command's answer of a mail server.
const COMMAND_PATIENCE: Duration = Duration::from_secs(10);
/// Longest wait for a server to say good-bye: whatever it says, the mail is taken or not.
const QUIT_PATIENCE: Duration = Duration::from_secs(1);
/// Ports where an address names none (RFC 5321, 6409, 8314).
const RELAY_PORT: u16 = 25;
const SUBMISSION_PORT: u16 = 587;
const ENCRYPTED_PORT: u16 = 465;
/// Codes that are about a recipient when a server answers with them to one (RFC 5321 §4.2.3, RFC 7504).
const ABOUT_RECIPIENT: [u16; 4] = [550, 551, 553, 556];
/// What an enhanced status begins with that is about who may send what, and not about the recipient (RFC 3463 §3.8).
const POLICY: &str = "5.7.";

/// A mail server.
#[derive(Clone)]
pub(in crate::auth) struct Server {
    host: String,
    port: u16,
    encryption: Encryption,
    hello: ClientId,
    credentials: Option<Credentials>,
}

#[derive(Clone)]
enum Encryption {
    None,
    /// If the server offers it.
    Offered(TlsParameters),
    /// The connection begins in the clear and goes on encrypted, or not at all.
    Demanded(TlsParameters),
    /// From the first byte.
    Throughout(TlsParameters),
}

impl Server {
    /// Reads `smtp://[user:password@]host[:port][/hello][?tls=required|opportunistic]` or `smtps://…`.
    pub(super) fn from_url(url: &str) -> Option<Self> {
        let url = Url::parse(url).ok()?;
        let host = url.host_str()?.to_owned();
        let tls = url.query_pairs().find(|(name, _)| name == "tls").map(|(_, value)| value.into_owned());
        let parameters = || TlsParameters::new(host.clone()).ok();
        let (encryption, port) = match (url.scheme(), tls.as_deref()) {
            ("smtp", None) => (Encryption::None, RELAY_PORT),
            ("smtp", Some("opportunistic")) => (Encryption::Offered(parameters()?), SUBMISSION_PORT),
            ("smtp", Some("required")) => (Encryption::Demanded(parameters()?), SUBMISSION_PORT),
            ("smtps", _) => (Encryption::Throughout(parameters()?), ENCRYPTED_PORT),
            _ => return None,
        };
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned());
        let credentials = match url.password() {
            Some(password) => Some(Credentials::new(decoded(url.username())?, decoded(password)?)),
            None => None,
        };
        let hello = match url.path().trim_matches('/') {
            "" => ClientId::default(),
            name => ClientId::Domain(name.to_owned()),
        };
        Some(Self { port: url.port().unwrap_or(port), host, encryption, hello, credentials })
    }

    /// Whether it would take a mail now, as far as it says before it has one.
    ///
    /// # Errors
    /// [`TransportError`].
    pub(super) async fn check(&self) -> Result<(), TransportError> {
        let mut connection = self.connect().await?;
        good_bye(&mut connection).await;
        Ok(())
    }

    /// Hands a mail over.
    ///
    /// # Errors
    /// [`TransportError`]; the server may have taken the mail all the same.
    pub(super) async fn send(&self, message: &Message) -> Result<(), TransportError> {
        let mut connection = self.connect().await?;
        let sent = hand_over(&mut connection, message).await;
        good_bye(&mut connection).await;
        sent
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, TransportError> {
        let at_once = match &self.encryption {
            Encryption::Throughout(parameters) => Some(parameters.clone()),
            Encryption::None | Encryption::Offered(_) | Encryption::Demanded(_) => None,
        };
        let at = (self.host.as_str(), self.port);
        let connecting = AsyncSmtpConnection::connect_tokio1(at, Some(COMMAND_PATIENCE), &self.hello, at_once, None);
        let mut connection = within(connecting).await?;
        let offers = connection.can_starttls();
        match &self.encryption {
            Encryption::Offered(parameters) if offers => {
                within(connection.starttls(parameters.clone(), &self.hello)).await?;
            }
            Encryption::Demanded(parameters) => {
                within(connection.starttls(parameters.clone(), &self.hello)).await?;
            }
            Encryption::None | Encryption::Offered(_) | Encryption::Throughout(_) => {}
        }
        if let Some(credentials) = &self.credentials {
            within(connection.auth(DEFAULT_MECHANISMS, credentials)).await?;
        }
        Ok(connection)
    }
}

async fn hand_over(connection: &mut AsyncSmtpConnection, message: &Message) -> Result<(), TransportError> {
    let (envelope, text) = (message.envelope(), message.formatted());
    let mut options = Vec::new();
    let mut want = |extension, option| {
        let has = connection.server_info().supports_feature(extension);
        if has {
            options.push(option);
        }
        has
    };
    let is_plain = envelope.to().iter().chain(envelope.from()).all(|address| AsRef::<str>::as_ref(address).is_ascii());
    let fits = (is_plain || want(Extension::SmtpUtfEight, MailParameter::SmtpUtfEight))
        && (text.is_ascii() || want(Extension::EightBitMime, MailParameter::Body(MailBodyParameter::EightBitMime)));
    if !fits {
        return Err(TransportError::Unsuited);
    }
    within(connection.command(Mail::new(envelope.from().cloned(), options))).await?;
    for recipient in envelope.to() {
        let asked = tokio::time::timeout(COMMAND_PATIENCE, connection.command(Rcpt::new(recipient.clone(), vec![])));
        match asked.await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(about_recipient(&error).unwrap_or_else(|| of(&error))),
            Err(_elapsed) => return Err(TransportError::TimedOut),
        }
    }
    within(connection.command(Data)).await?;
    within(connection.message(&text)).await.map(drop)
}

async fn within<T>(asked: impl Future<Output = Result<T, Error>>) -> Result<T, TransportError> {
    match tokio::time::timeout(COMMAND_PATIENCE, asked).await {
        Ok(answer) => answer.map_err(|error| of(&error)),
        Err(_elapsed) => Err(TransportError::TimedOut),
    }
}

/// A refusal of the recipient and of nothing else, for good. What a server refuses for its policy's sake, such as relaying
/// without credentials, may be our own mistake and is tried again.
fn about_recipient(error: &Error) -> Option<TransportError> {
    let code = error.status().map(u16::from).filter(|code| ABOUT_RECIPIENT.contains(code))?;
    let is_policy = error.source().is_some_and(|words| words.to_string().starts_with(POLICY));
    (!is_policy).then_some(TransportError::Undeliverable { code })
}

fn of(error: &Error) -> TransportError {
    match error.status() {
        Some(code) => TransportError::Refused { code: code.into() },
        None if error.is_timeout() => TransportError::TimedOut,
        None => TransportError::Unreachable,
    }
}

async fn good_bye(connection: &mut AsyncSmtpConnection) {
    let _whatever_it_says = tokio::time::timeout(QUIT_PATIENCE, connection.abort()).await;
}

#[cfg(test)]
mod tests {
    use super::{Encryption, Server};

    fn read(url: &str) -> Server {
        Server::from_url(url).unwrap_or_else(|| panic!("{url}"))
    }

    #[test]
    fn an_address_says_where_how_and_as_whom() {
        for (url, host, port, has_credentials) in [
            ("smtp://mail.example", "mail.example", 25, false),
            ("smtp://mail.example:2525", "mail.example", 2525, false),
            ("smtp://ada:secret@mail.example?tls=required", "mail.example", 587, true),
            ("smtps://ada%40example.org:s%2Fecret@mail.example", "mail.example", 465, true),
        ] {
            let server = read(url);
            assert_eq!((server.host.as_str(), server.port), (host, port), "{url}");
            assert_eq!(server.credentials.is_some(), has_credentials, "{url}");
        }
        let credentials = read("smtps://ada%40example.org:s%2Fecret@mail.example").credentials;
        let expected = super::Credentials::new("ada@example.org".to_owned(), "s/ecret".to_owned());
        assert!(credentials == Some(expected), "what is escaped is read as it is meant");
        assert!(matches!(read("smtp://mail.example?tls=required").encryption, Encryption::Demanded(_)));
        assert!(matches!(read("smtps://mail.example").encryption, Encryption::Throughout(_)));
    }

    #[test]
    fn what_is_no_address_of_a_mail_server_is_none() {
        for bad in ["", "mail.example", "https://mail.example", "smtp://", "smtp://mail.example?tls=perhaps"] {
            assert!(Server::from_url(bad).is_none(), "{bad}");
        }
    }
}
