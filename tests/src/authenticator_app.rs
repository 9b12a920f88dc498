//! An app that shows codes by the clock, as people have on their phones.

use aws_lc_rs::hmac;
use kisum::ambient;
use std::time::Duration;

const STEP_S: i64 = 30;
const PAUSE: Duration = Duration::from_millis(100);

/// An app, with the last step whose code it showed to a server.
pub struct App {
    key: hmac::Key,
    shown: i64,
}

impl App {
    /// An app that was given a secret in base32.
    pub fn new(secret: &str) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &from_base32(secret)), shown: 0 }
    }

    /// A code that was not shown before and that a server takes now. Servers take one step ahead, so only from the
    /// third code within a minute on this waits.
    pub async fn code(&mut self) -> String {
        let wanted = (self.shown + 1).max(present());
        while wanted > present() + 1 {
            tokio::time::sleep(PAUSE).await;
        }
        self.shown = wanted;
        self.code_of(wanted)
    }

    /// A code of long ago.
    pub fn old_code(&self) -> String {
        self.code_of(present() - 20)
    }

    fn code_of(&self, step: i64) -> String {
        let tag = hmac::sign(&self.key, &step.to_be_bytes());
        let bytes = tag.as_ref();
        let offset = usize::from(bytes.last().copied().unwrap_or_default() & 0x0f);
        let number = bytes.iter().skip(offset).take(4).fold(0_u32, |number, byte| (number << 8) | u32::from(*byte));
        format!("{:06}", (number & 0x7fff_ffff) % 1_000_000)
    }
}

fn present() -> i64 {
    ambient::now().seconds() / STEP_S
}

fn from_base32(text: &str) -> Vec<u8> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => letter - b'A',
        b'2'..=b'7' => letter - b'2' + 26,
        other => panic!("{other} is no letter of base32"),
    };
    let bits: String = text.bytes().map(|letter| format!("{:05b}", value(letter))).collect();
    let whole = bits.len() / 8 * 8;
    (0..whole).step_by(8).filter_map(|at| u8::from_str_radix(bits.get(at..at + 8)?, 2).ok()).collect()
}
