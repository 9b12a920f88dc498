//! Which passwords may be set (security 3, NIST SP 800-63B-4 §3.1.1.2): long enough, taken whole, of any characters, and
//! not one that everybody tries first.
//!
//! It owns the lengths and the blocklist. It refuses to know hashes, and to ask for kinds of characters.

use std::collections::BTreeSet;

/// Longest password, in characters; taken whole.
pub const PASSWORD_CHARS_MAX: usize = 128;
/// Shortest password while it is the only factor.
const SINGLE_FACTOR_CHARS_MIN: usize = 15;
/// Shortest password beside a second factor.
const SECOND_FACTOR_CHARS_MIN: usize = 8;
/// What has to be left of a password without the words that belong to its person and this service.
const OWN_CHARS_MIN: usize = 6;
/// Shorter context words stand in too much that has nothing to do with them.
const CONTEXT_CHARS_MIN: usize = 4;
/// A text of at most so many characters, repeated, is no more than itself.
const REPEATED_CHARS_MAX: usize = 8;
/// Names of the service.
const SERVICE: [&str; 2] = ["kisum", "kisum.com"];
/// Passwords of at least [`SECOND_FACTOR_CHARS_MIN`] characters that are tried first, in lower case.
const BLOCKLIST: &str = include_str!("password/blocklist.txt");

/// What a password has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordPolicy {
    /// It alone opens the account.
    SingleFactor,
    /// A second factor is asked for beside it.
    WithSecondFactor,
}

impl PasswordPolicy {
    /// The shortest that is allowed, in characters.
    pub const fn chars_min(self) -> usize {
        match self {
            Self::SingleFactor => SINGLE_FACTOR_CHARS_MIN,
            Self::WithSecondFactor => SECOND_FACTOR_CHARS_MIN,
        }
    }
}

/// Whether a password that was accepted is long enough to be the only factor.
pub fn may_stand_alone(password: &str) -> bool {
    password.chars().count() >= SINGLE_FACTOR_CHARS_MIN
}

/// Why a password may not be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordRefused {
    /// Too short or too long.
    #[error("a password has {least} to {PASSWORD_CHARS_MAX} characters")]
    Length {
        /// The shortest that is allowed.
        least: usize,
    },
    /// It is among those that are tried first.
    #[error("this password is one of those that are tried first")]
    Common,
    /// It is little more than a name, an address or the service's name.
    #[error("this password is little more than your name, your address or the name of this service")]
    Context,
}

/// Checks a password that somebody wants to set. `about` is what belongs to the person: their name, their address.
///
/// # Errors
/// [`PasswordRefused`], the first reason that holds.
pub fn check(password: &str, about: &[&str], policy: PasswordPolicy) -> Result<(), PasswordRefused> {
    let least = policy.chars_min();
    if !(least..=PASSWORD_CHARS_MAX).contains(&password.chars().count()) {
        return Err(PasswordRefused::Length { least });
    }
    let lower = password.to_lowercase();
    if is_common(&lower) {
        return Err(PasswordRefused::Common);
    }
    if is_context(&lower, about) { Err(PasswordRefused::Context) } else { Ok(()) }
}

/// Whether it is listed, also with its words apart, or nothing but a short text over and over, or a run along an
/// alphabet or a keyboard.
fn is_common(lower: &str) -> bool {
    let plain: String = lower.chars().filter(|it| it.is_alphanumeric()).collect();
    let is_listed = BLOCKLIST.lines().any(|listed| listed == lower || listed == plain);
    is_listed || is_repeated(lower) || is_run(&plain)
}

fn is_repeated(text: &str) -> bool {
    let characters: Vec<char> = text.chars().collect();
    (1..=REPEATED_CHARS_MAX.min(characters.len() / 2)).any(|len| {
        let unit = characters.iter().take(len).cycle();
        characters.iter().zip(unit).all(|(found, expected)| found == expected)
    })
}

/// Runs that people type instead of a password; a password may go round one several times.
fn is_run(plain: &str) -> bool {
    const RUNS: [&str; 7] = [
        "abcdefghijklmnopqrstuvwxyz",
        "0123456789",
        "123456789",
        "qwertyuiopasdfghjklzxcvbnm",
        "qwertzuiopasdfghjklyxcvbnm",
        "azertyuiopqsdfghjklmwxcvbn",
        "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
    ];
    !plain.is_empty()
        && RUNS.iter().any(|run| {
            let backwards: String = run.chars().rev().collect();
            [(*run).to_owned(), backwards].iter().any(|run| run.repeat(plain.len() / run.len() + 2).contains(plain))
        })
}

/// Whether too little is left of it without the words of its context.
fn is_context(lower: &str, about: &[&str]) -> bool {
    let mut words: BTreeSet<(std::cmp::Reverse<usize>, String)> = BTreeSet::new();
    for text in SERVICE.iter().chain(about) {
        let text = text.to_lowercase();
        let parts = text.split(|it: char| !it.is_alphanumeric()).map(str::to_owned);
        for word in parts.chain([text.clone()]) {
            if word.chars().count() >= CONTEXT_CHARS_MIN {
                words.insert((std::cmp::Reverse(word.len()), word));
            }
        }
    }
    // The longest first, or a part of a word would leave the rest of it.
    let rest = words.iter().fold(lower.to_owned(), |rest, (_, word)| rest.replace(word, ""));
    rest.len() < lower.len() && rest.chars().filter(|it| it.is_alphabetic()).count() < OWN_CHARS_MIN
}

#[cfg(test)]
mod tests {
    use super::{BLOCKLIST, SECOND_FACTOR_CHARS_MIN};
    use std::collections::BTreeSet;

    #[test]
    fn the_blocklist_is_in_lower_case_without_doubles_and_long_enough_to_matter() {
        let lines: Vec<&str> = BLOCKLIST.lines().collect();
        for line in &lines {
            assert!(line.chars().count() >= SECOND_FACTOR_CHARS_MIN, "{line}");
            assert_eq!(*line, line.to_lowercase());
        }
        assert_eq!(lines.iter().collect::<BTreeSet<_>>().len(), lines.len());
    }
}
