//! Whether somebody knows the password that a person has.
//!
//! It owns that guesses are limited and that nothing is said but right or wrong. Who asks says whose guesses are counted
//! together, and what a wrong one is told.

use super::of_hash;
use crate::{
    auth::{Auth, passwords::Verdict},
    shared::problem::Problem,
};
use kisum_domains::User;

/// Whose guesses are counted together: what the limits know the account by, and the network that they come from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guesser<'a> {
    pub(super) account: &'a str,
    pub(super) network: &'a str,
}

/// Compares a password with the person's. Answers with the hash that it was compared with: what is decided on it holds as
/// long as that is theirs.
///
/// # Errors
/// `wrong`; 429 after too many of these; 503 when it cannot be compared now.
pub(super) async fn show_own_password(
    auth: &Auth,
    user: &User,
    guesser: Guesser<'_>,
    password: String,
    wrong: fn() -> Problem,
) -> Result<String, Problem> {
    let place = auth.passwords.enter().map_err(of_hash)?;
    let attempt = auth.limiter.begin(guesser.account, guesser.network).await;
    let attempt = attempt.map_err(|limited| Problem::rate_limited(limited.retry_after_s))?;
    let stored = user.password_hash.get().cloned();
    match auth.passwords.verify(place, password, stored.clone()).await {
        Ok(Verdict::Wrong) => Err(wrong()),
        Ok(Verdict::Right { outdated: _ }) => {
            auth.limiter.take_back(&attempt).await;
            stored.ok_or_else(wrong)
        }
        Err(error) => {
            auth.limiter.take_back(&attempt).await;
            Err(of_hash(error))
        }
    }
}
