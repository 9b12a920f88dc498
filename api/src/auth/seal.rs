//! `CACHE_MAC_KEY`: what makes a value in Redis ours.
//!
//! Whoever can write to Redis can neither forge a value nor move one under another key, because a value names its own
//! key behind a MAC. It refuses to know what is sealed.

use super::lookup::hex;
use aws_lc_rs::hmac;
use std::sync::Arc;

/// Hexadecimal digits of the MAC in front of a value.
const MAC_DIGITS: usize = 64;

/// The key.
#[derive(Clone)]
pub(super) struct Seal(Arc<hmac::Key>);

impl Seal {
    /// A key of 32 bytes.
    pub(super) fn new(key: &[u8]) -> Self {
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key)))
    }

    /// The body behind its MAC.
    pub(super) fn close(&self, body: &[u8]) -> Vec<u8> {
        let mut value = hex(hmac::sign(&self.0, body).as_ref()).into_bytes();
        value.extend_from_slice(body);
        value
    }

    /// The body of a value that this key closed; nothing of any other.
    pub(super) fn open<'a>(&self, value: &'a [u8]) -> Option<&'a [u8]> {
        let (digits, body) = value.split_at_checked(MAC_DIGITS)?;
        hmac::verify(&self.0, body, &unhex(digits)?).ok()?;
        Some(body)
    }
}

fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(digits).ok()?;
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at.saturating_add(2))?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::Seal;

    #[test]
    fn only_the_key_that_closed_a_value_opens_it() {
        let (ours, other) = (Seal::new(&[1; 32]), Seal::new(&[2; 32]));
        let value = ours.close(b"body");
        assert_eq!(ours.open(&value), Some(b"body".as_slice()));
        assert_eq!(other.open(&value), None);
    }

    #[test]
    fn whatever_else_stands_in_redis_does_not_open() {
        let seal = Seal::new(&[1; 32]);
        let value = seal.close(b"body");
        let (mut longer, shorter) = (value.clone(), value.get(..value.len() - 1).unwrap_or_default());
        longer.push(b'!');
        let letters = "é".repeat(64);
        for forged in [b"".as_slice(), b"body", &longer, shorter, letters.as_bytes(), &[b'+'; 80]] {
            assert_eq!(seal.open(forged), None);
        }
    }
}
