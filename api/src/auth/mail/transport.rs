//! The way out of the house: a mail server, or on a developer's machine a folder.
//!
//! It owns `SMTP_URL` and what an attempt came to. It refuses to pass a server's words on: they may repeat an address.

use super::smtp::Server;
use kisum_events::EventId;
use lettre::Message;
use std::{path::PathBuf, time::Duration};

/// Longest that one mail may take.
pub(super) const SEND_PATIENCE: Duration = Duration::from_secs(30);

/// The way out.
#[derive(Clone)]
pub(in crate::auth) enum Transport {
    /// A mail server.
    Smtp(Server),
    /// A folder, into which each mail is written as `{event id}.eml`.
    Folder(PathBuf),
}

/// Why a mail did not get out, without anything that may be personal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::auth) enum TransportError {
    /// The server cannot be reached, or the connection ended.
    #[error("the mail server cannot be reached")]
    Unreachable,
    /// It is reached and does not answer.
    #[error("the mail server does not answer in time")]
    TimedOut,
    /// It will not have the mail, with this code (RFC 5321 §4.2).
    #[error("the mail server refuses with {code}")]
    Refused {
        /// The code.
        code: u16,
    },
    /// It will not have a mail for this recipient, now or ever, with this code.
    #[error("the mail server has no such recipient: {code}")]
    Undeliverable {
        /// The code.
        code: u16,
    },
    /// The address has letters that the server cannot take.
    #[error("the mail server takes no such address")]
    Unsuited,
    /// The folder cannot be written.
    #[error("the folder for mails cannot be written")]
    Folder,
}

impl TransportError {
    /// Its name in metrics.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Refused { .. } => "refused",
            Self::Undeliverable { .. } => "undeliverable",
            Self::Unsuited => "address",
            Self::Folder => "folder",
        }
    }

    /// Whether trying again would come to the same.
    pub(super) const fn is_for_good(self) -> bool {
        match self {
            Self::Undeliverable { .. } | Self::Unsuited => true,
            Self::Unreachable | Self::TimedOut | Self::Refused { .. } | Self::Folder => false,
        }
    }

    /// What readiness says.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Unreachable => "the mail server cannot be reached",
            Self::TimedOut => "the mail server does not answer in time",
            Self::Refused { .. } | Self::Undeliverable { .. } | Self::Unsuited => "the mail server refuses",
            Self::Folder => "the folder for mails cannot be written",
        }
    }
}

impl Transport {
    /// Reads `SMTP_URL`. A mail carries a secret, so it travels in the clear on a developer's machine alone, where it may
    /// also go into a folder (`file:…`).
    pub(in crate::auth) fn from_url(url: &str, is_local: bool) -> Option<Self> {
        if let Some(folder) = url.strip_prefix("file:").filter(|folder| is_local && !folder.is_empty()) {
            return Some(Self::Folder(PathBuf::from(folder)));
        }
        let is_encrypted =
            url.starts_with("smtps://") || (url.starts_with("smtp://") && url.ends_with("?tls=required"));
        let may_travel = is_encrypted || (is_local && url.starts_with("smtp://"));
        if !may_travel {
            return None;
        }
        Server::from_url(url).map(Self::Smtp)
    }

    /// Sends a mail.
    ///
    /// # Errors
    /// [`TransportError`]; the mail may have got out all the same.
    pub(super) async fn send(&self, event: EventId, message: &Message) -> Result<(), TransportError> {
        match self {
            Self::Smtp(server) => patiently(server.send(message)).await,
            Self::Folder(folder) => write(folder, event, message).await.map_err(|_| TransportError::Folder),
        }
    }

    /// Whether a mail could be sent now.
    ///
    /// # Errors
    /// [`TransportError`].
    pub(super) async fn check(&self) -> Result<(), TransportError> {
        match self {
            Self::Smtp(server) => patiently(server.check()).await,
            Self::Folder(folder) => tokio::fs::create_dir_all(folder).await.map_err(|_| TransportError::Folder),
        }
    }
}

async fn patiently(asked: impl Future<Output = Result<(), TransportError>>) -> Result<(), TransportError> {
    tokio::time::timeout(SEND_PATIENCE, asked).await.unwrap_or(Err(TransportError::TimedOut))
}

/// Whole or not at all: who lists the folder sees no half of a mail.
async fn write(folder: &std::path::Path, event: EventId, message: &Message) -> std::io::Result<()> {
    tokio::fs::create_dir_all(folder).await?;
    let half = folder.join(format!(".{event}"));
    tokio::fs::write(&half, message.formatted()).await?;
    tokio::fs::rename(half, folder.join(format!("{event}.eml"))).await
}

#[cfg(test)]
mod tests {
    use super::Transport;

    #[test]
    fn a_mail_travels_in_the_clear_on_a_developer_s_machine_alone() {
        for (url, local, elsewhere) in [
            ("smtps://user:secret@mail.example", true, true),
            ("smtp://user:secret@mail.example:587?tls=required", true, true),
            ("smtp://mail.example", true, false),
            ("smtp://mail.example?tls=opportunistic", true, false),
            ("file:/tmp/mail", true, false),
            ("file:", false, false),
            ("mail.example", false, false),
            ("https://mail.example", false, false),
        ] {
            let reads = [true, false].map(|is_local| Transport::from_url(url, is_local).is_some());
            assert_eq!(reads, [local, elsewhere], "{url}");
        }
    }
}
