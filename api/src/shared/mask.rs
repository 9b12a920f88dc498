//! Hiding in a text what must not be in a log (`security.md` 12): tokens of every kind, hashes of passwords, e-mail
//! addresses, the credentials in an address.
//!
//! It owns what these look like. It refuses to be relied on: nothing of the kind is to be logged, and this is for the
//! day when somebody does.

use std::borrow::Cow;
use uuid::Uuid;

/// Characters of one value at most: a line is a line, not a dump.
const VALUE_LEN_MAX: usize = 2_000;

const MASKED: &str = "[masked]";
/// What secrets begin with, and how much of that may be seen: JSON Web Tokens, hashes of passwords (PHC strings), links
/// of mails.
const MARKS: [(&str, usize); 3] = [("eyJ", 0), ("$argon2", 0), ("token=", 6)];
/// Characters of an id with its hyphens.
const ID_LEN: usize = 36;
/// Characters of base64url that nobody would call a word.
const SECRET_LEN_MIN: usize = 16;

/// The text, shortened, and without what looks like a token, a password's hash, an e-mail address or the credentials in
/// an address.
pub(super) fn mask(text: &str) -> Cow<'_, str> {
    let is_short = text.len() <= VALUE_LEN_MAX;
    let end = if is_short { None } else { text.char_indices().nth(VALUE_LEN_MAX).map(|(end, _)| end) };
    let end = end.unwrap_or(text.len());
    let shortened = text.get(..end).unwrap_or_default();
    if !shortened.contains('@') && secret_in(shortened).is_none() {
        return Cow::Borrowed(shortened);
    }
    Cow::Owned(shortened.split_inclusive(char::is_whitespace).map(mask_word).collect())
}

fn mask_word(word: &str) -> Cow<'_, str> {
    let space = if word.ends_with(char::is_whitespace) { " " } else { "" };
    let bare = word.trim_end();
    if bare.contains('@') {
        return format!("{MASKED}{space}").into();
    }
    match secret_in(bare) {
        Some(start) => format!("{}{MASKED}{space}", bare.get(..start).unwrap_or_default()).into(),
        None => word.into(),
    }
}

/// Where the first secret begins.
fn secret_in(text: &str) -> Option<usize> {
    let marked = MARKS.iter().filter_map(|(mark, seen)| Some(text.find(mark)?.saturating_add(*seen)));
    marked.chain(behind_an_id(text)).min()
}

/// A refresh token is `session.generation.secret`, a mailed one `user.id.secret`. The first id may be seen.
fn behind_an_id(text: &str) -> Option<usize> {
    let dots = text.match_indices('.').map(|(at, _)| at);
    dots.filter(|at| {
        let id = at.checked_sub(ID_LEN).and_then(|start| text.get(start..*at));
        let behind = text.get(at.saturating_add(1)..).and_then(|rest| rest.split_once('.'));
        let secret_len = |(_, secret): (&str, &str)| secret.bytes().take_while(|byte| is_base64url(*byte)).count();
        id.is_some_and(|id| Uuid::try_parse(id).is_ok()) && behind.is_some_and(|it| secret_len(it) >= SECRET_LEN_MIN)
    })
    .map(|at| at.saturating_add(1))
    .next()
}

const fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::mask;

    const ID: &str = "0198c5a2-7b1e-7000-8000-000000000001";
    const SECRET: &str = "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE";

    /// security 12
    #[test]
    fn what_looks_like_a_token_a_hash_or_an_address_is_masked() {
        for (text, masked) in [
            ("refused for ann@acme.example today".to_owned(), "refused for [masked] today".to_owned()),
            ("Bearer eyJhbGciOi.eyJzdWIi.sig".to_owned(), "Bearer [masked]".to_owned()),
            ("postgres://u:p@host/db failed".to_owned(), "[masked] failed".to_owned()),
            (format!("refresh {ID}.17.{SECRET} refused"), format!("refresh {ID}.[masked] refused")),
            (format!("{{\"refreshToken\":\"{ID}.0.{SECRET}\"}}"), format!("{{\"refreshToken\":\"{ID}.[masked]")),
            (format!("mailed {ID}.{ID}.{SECRET}"), format!("mailed {ID}.[masked]")),
            (format!("https://app.example/reset#token={ID}"), "https://app.example/reset#token=[masked]".to_owned()),
            ("hash $argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA is old".to_owned(), "hash [masked] is old".to_owned()),
            (format!("PasswordSet{{hash:\"$argon2id$v=19${SECRET}\"}}"), "PasswordSet{hash:\"[masked]".to_owned()),
        ] {
            assert_eq!(mask(&text), masked);
        }
    }

    #[test]
    fn what_is_no_secret_stays_as_it_is() {
        for text in [
            "plain text".to_owned(),
            format!("session-{ID} has ended."),
            format!("version 1.2.3 of {ID}.json, 10.0.0.1:8080"),
            format!("{ID}.0.short"),
            "kisum.auth.v1.access.membership.permission_revoked".to_owned(),
        ] {
            assert_eq!(mask(&text), text);
        }
        assert_eq!(mask(&"x".repeat(5000)).len(), 2000);
    }
}
