//! Codes by the clock (RFC 6238): SHA-1, 30 s, six digits, which is what every app understands.
//!
//! It owns how a code follows from a secret and an instant. It refuses to remember which step was used.

use super::base32;
use crate::shared::ambient::{self, RandomError};
use aws_lc_rs::{constant_time, hmac};
use kisum_events::Timestamp;
use std::fmt::Write as _;

/// Seconds of a step.
const STEP_S: u64 = 30;
/// Steps before and after the present one whose codes are taken, for clocks that are off (RFC 6238 §5.2).
const STEPS_OFF: u64 = 1;
/// Bytes of a secret: 160 bits, as RFC 4226 §4 recommends.
const SECRET_BYTES: usize = 20;
/// Of one that somebody brings.
const SECRET_BYTES_MIN: usize = 16;
const SECRET_BYTES_MAX: usize = 64;
/// Who issues, as apps show it.
const ISSUER: &str = "Kisum";

/// A new secret in base32.
pub(super) fn new_secret() -> Result<String, RandomError> {
    ambient::random::<SECRET_BYTES>().map(|bytes| base32::encode(&bytes))
}

/// Whether a text is a secret that an app may hold: of at least 128 bits (RFC 4226 §4, R6), and no longer than SHA-1 has
/// use for.
pub(in crate::auth) fn is_totp_secret(text: &str) -> bool {
    base32::decode(text).is_some_and(|bytes| (SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&bytes.len()))
}

/// What an app reads from a QR code.
pub(super) fn uri(secret: &str, account: &str) -> String {
    let account = escaped(account);
    format!("otpauth://totp/{ISSUER}:{account}?secret={secret}&issuer={ISSUER}&algorithm=SHA1&digits=6&period={STEP_S}")
}

/// The step whose code this is: the present one, or one beside it.
pub(super) fn step_of(secret: &str, code: &str, now: Timestamp) -> Option<u64> {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &base32::decode(secret)?);
    let present = u64::try_from(now.seconds()).ok()? / STEP_S;
    let steps = present.saturating_sub(STEPS_OFF)..=present.saturating_add(STEPS_OFF);
    // All are compared, so that how long it takes tells nothing.
    let mut found = None;
    for step in steps {
        let expected = code_of(&key, step);
        if constant_time::verify_slices_are_equal(expected.as_bytes(), code.as_bytes()).is_ok() {
            found = Some(step);
        }
    }
    found
}

/// RFC 4226 §5.3.
fn code_of(key: &hmac::Key, step: u64) -> String {
    let tag = hmac::sign(key, &step.to_be_bytes());
    let bytes = tag.as_ref();
    let offset = bytes.last().map_or(0, |last| usize::from(last & 0x0f));
    let number = bytes.iter().skip(offset).take(4).fold(0_u32, |number, byte| (number << 8) | u32::from(*byte));
    format!("{:06}", (number & 0x7fff_ffff) % 1_000_000)
}

/// A text as part of a URI (RFC 3986 §2.3).
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(char::from(byte)),
            _ => {
                let _infallible = write!(escaped, "%{byte:02X}");
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::{STEP_S, code_of, is_totp_secret, new_secret, step_of, uri};
    use crate::auth::factors::base32;
    use aws_lc_rs::hmac;
    use kisum_events::Timestamp;

    /// RFC 6238 appendix B (SHA-1; the last six of its eight digits).
    const VECTORS: [(u64, &str); 6] = [
        (59, "287082"),
        (1_111_111_109, "081804"),
        (1_111_111_111, "050471"),
        (1_234_567_890, "005924"),
        (2_000_000_000, "279037"),
        (20_000_000_000, "353130"),
    ];

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(i64::try_from(seconds * 1_000_000).unwrap())
    }

    #[test]
    fn the_vectors_of_the_rfc_hold() {
        let secret = b"12345678901234567890";
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
        for (seconds, code) in VECTORS {
            assert_eq!(code_of(&key, seconds / STEP_S), code);
            assert_eq!(step_of(&base32::encode(secret), code, at(seconds)), Some(seconds / STEP_S));
        }
    }

    #[test]
    fn a_code_is_taken_one_step_early_and_one_late_and_no_further() {
        let secret = base32::encode(b"12345678901234567890");
        let step = 1_111_111_111 / STEP_S;
        for (off, taken) in [(-2_i64, false), (-1, true), (0, true), (1, true), (2, false)] {
            let now = at((step * STEP_S).checked_add_signed(off * 30).unwrap());
            assert_eq!(step_of(&secret, "050471", now), taken.then_some(step), "{off}");
        }
    }

    #[test]
    fn what_is_no_code_is_none() {
        let secret = base32::encode(b"12345678901234567890");
        for bad in ["", "5", "0050471", " 050471", "05047", "O50471", "٠٥٠٤٧١"] {
            assert_eq!(step_of(&secret, bad, at(1_111_111_111)), None, "{bad}");
        }
        assert_eq!(step_of("not base32!", "050471", at(1_111_111_111)), None);
    }

    #[test]
    fn a_secret_that_somebody_brings_has_at_least_128_bits() {
        for (bytes, is_one) in [(15, false), (16, true), (20, true), (64, true), (65, false)] {
            assert_eq!(is_totp_secret(&base32::encode(&vec![7; bytes])), is_one, "{bytes}");
        }
        assert!(!is_totp_secret("not base32!"));
    }

    #[test]
    fn a_secret_has_160_bits_and_its_uri_is_one() {
        let secret = new_secret().unwrap();
        assert_eq!(base32::decode(&secret).unwrap().len(), 20);
        assert_ne!(secret, new_secret().unwrap());
        assert!(uri(&secret, "ada+x@example.org").starts_with("otpauth://totp/Kisum:ada%2Bx%40example.org?secret="));
    }
}
