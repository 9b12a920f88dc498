//! What a signed-in client holds: a short-lived access token and a rotating refresh token.
//!
//! It owns their forms and keys. It refuses to know sessions' rules (`kisum_domains::session`) and how a token
//! travels (`cookie`).

mod access;
mod mailed;
mod refresh;

pub(super) use access::{AccessTokens, IssueError};
pub(super) use mailed::{InvitationToken, MailedKey, MailedToken};
pub(super) use refresh::{RefreshKey, RefreshToken};
