//! E-mail addresses as look-up keys: normalised, then HMAC under `LOOKUP_KEY`, so that a dump of claims or of Redis
//! names nobody.

use aws_lc_rs::hmac;
use std::{fmt, sync::Arc};

/// Longest address that can exist (RFC 5321 §4.5.3.1.3: a path of 256 with its brackets).
const EMAIL_BYTES_MAX: usize = 254;

/// `LOOKUP_KEY`.
#[derive(Clone)]
pub(super) struct LookupKey(Arc<hmac::Key>);

impl LookupKey {
    /// A key of 32 bytes.
    pub(super) fn new(key: &[u8]) -> Self {
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key)))
    }

    /// The look-up value of an address, as lower-case hex.
    pub(super) fn email(&self, email: &Email) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(b"email\0");
        context.update(email.normal.as_bytes());
        hex(context.sign().as_ref())
    }

    /// A hash of texts that tells equal from different and nothing else to whoever has no key.
    pub(super) fn fingerprint(&self, texts: &[&str]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(b"fingerprint\0");
        for text in texts {
            // The length keeps "ab","c" and "a","bc" apart.
            context.update(&text.len().to_be_bytes());
            context.update(text.as_bytes());
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(context.sign().as_ref());
        hash
    }
}

/// An address that could exist. Whether it does, only mail can show.
#[derive(Clone)]
pub(super) struct Email {
    /// As it was given.
    given: String,
    /// As it is compared: lower case throughout, which the providers that people use agree on.
    normal: String,
}

impl Email {
    /// Reads an address: one `@` with something before it and a name behind it, no blanks or control characters.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let given = text.trim();
        let (local, domain) = given.rsplit_once('@')?;
        let plain = |part: &str| !part.is_empty() && !part.chars().any(|c| c.is_whitespace() || c.is_control());
        let fits = given.len() <= EMAIL_BYTES_MAX && plain(local) && plain(domain) && !local.contains('@');
        fits.then(|| Self { given: given.to_owned(), normal: given.to_lowercase() })
    }

    /// The address as it was given.
    pub(super) fn given(&self) -> &str {
        &self.given
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(…)")
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len().saturating_mul(2)), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::{Email, LookupKey};

    fn parse(text: &str) -> Email {
        Email::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn an_address_is_found_however_it_is_written() {
        let key = LookupKey::new(&[1; 32]);
        assert_eq!(key.email(&parse("Ada@Example.org")), key.email(&parse(" ada@example.org ")));
        assert_ne!(key.email(&parse("ada@example.org")), key.email(&parse("bob@example.org")));
        assert_ne!(key.email(&parse("ada@example.org")), LookupKey::new(&[2; 32]).email(&parse("ada@example.org")));
    }

    #[test]
    fn what_cannot_be_an_address_is_refused() {
        for bad in ["", "ada", "@example.org", "ada@", "a da@example.org", "a@b@c", "ada@exa\0mple.org"] {
            assert!(Email::parse(bad).is_none(), "{bad}");
        }
        assert!(Email::parse(&format!("{}@example.org", "a".repeat(250))).is_none());
    }
}
