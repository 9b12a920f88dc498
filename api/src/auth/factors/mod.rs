//! Second factors: TOTP apps, passkeys and recovery codes; proving with one of them who one is, at sign-in and again
//! later.
//!
//! It owns the ways to prove, and their routes. The rules (which step is good, who may change factors) are
//! `kisum_domains`'; that a session starts or steps up is `login`'s and `step_up`'s.

mod base32;
mod challenges;
mod manage;
mod passkey_login;
mod passkeys;
mod prove;
mod recovery;
mod register;
mod second_factor;
pub(super) mod step_up;
mod totp;

pub(super) use challenges::Challenges;
pub(super) use passkeys::Passkeys;
pub(super) use second_factor::{SecondFactorWanted, want_second_factor};
pub(super) use totp::is_totp_secret;

use super::Auth;
use utoipa_axum::{router::OpenApiRouter, routes};

/// The public routes of factors.
pub(super) fn routes() -> OpenApiRouter<Auth> {
    OpenApiRouter::new()
        .routes(routes!(second_factor::second_factor))
        .routes(routes!(passkey_login::passkey_login_options))
        .routes(routes!(passkey_login::passkey_login_finish))
        .routes(routes!(manage::list, manage::add_totp))
        .routes(routes!(manage::remove))
        .routes(routes!(manage::offer_totp))
        .routes(routes!(manage::renew_recovery_codes))
        .routes(routes!(register::passkey_register_options))
        .routes(routes!(register::passkey_register_finish))
        .routes(routes!(step_up::step_up))
        .routes(routes!(step_up::step_up_options))
}
