//! Recovery codes: for whoever has lost every factor.
//!
//! It owns their form. Only hashes are kept: a code has 80 random bits, which nobody finds by trying.

use super::{base32, challenges::sha256_hex};
use crate::shared::ambient::{self, RandomError};
use kisum_domains::user::RECOVERY_CODES;

/// Random bytes of a code.
const CODE_BYTES: usize = 10;
/// Characters between two hyphens.
const GROUP: usize = 4;

/// Fresh codes, shown once.
pub(super) struct RecoveryCodes(Vec<String>);

impl RecoveryCodes {
    /// Draws them.
    pub(super) fn draw() -> Result<Self, RandomError> {
        let codes = (0..RECOVERY_CODES).map(|_| ambient::random::<CODE_BYTES>().map(|bytes| shown(&bytes)));
        codes.collect::<Result<_, _>>().map(Self)
    }

    /// What is kept of them.
    pub(super) fn hashes(&self) -> Vec<String> {
        self.0.iter().map(|code| hash(code)).collect()
    }

    /// The codes themselves, for their owner.
    pub(super) fn reveal(self) -> Vec<String> {
        self.0
    }
}

fn shown(bytes: &[u8]) -> String {
    let text = base32::encode(bytes).to_lowercase();
    let letters: Vec<char> = text.chars().collect();
    letters.chunks(GROUP).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join("-")
}

/// What is kept of a code, however it was typed: case, hyphens and blanks do not count.
pub(super) fn hash(code: &str) -> String {
    let plain: String = code.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    sha256_hex(&plain)
}

#[cfg(test)]
mod tests {
    use super::{RecoveryCodes, hash};
    use std::collections::BTreeSet;

    #[test]
    fn ten_codes_of_eighty_bits_are_drawn_and_each_is_another() {
        let codes = RecoveryCodes::draw().unwrap();
        let hashes: BTreeSet<_> = codes.hashes().into_iter().collect();
        assert_eq!(hashes.len(), 10);
        for code in codes.reveal() {
            assert_eq!((code.len(), code.replace('-', "").len()), (19, 16), "{code}");
            assert!(hashes.contains(&hash(&code.to_uppercase().replace('-', " "))));
        }
    }
}
