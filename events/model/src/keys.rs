//! Keys of the catalog and slugs: short checked texts.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A text that is not of the form its key asks for; carries that form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not of the form {form}")]
pub struct InvalidKey {
    text: String,
    form: &'static str,
}

fn word(text: &str, len_max: usize) -> bool {
    !text.is_empty()
        && text.len() <= len_max
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
}

macro_rules! key {
    ($(#[$doc:meta])* $name:ident, $form:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The key as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidKey;
            fn from_str(text: &str) -> Result<Self, InvalidKey> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidKey { text: text.chars().take(80).collect(), form: $form })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidKey;
            fn try_from(text: String) -> Result<Self, InvalidKey> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(key: $name) -> Self {
                key.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

key!(
    /// A module that a company can own, such as `finance`.
    ModuleKey, "[a-z0-9][a-z0-9-]{0,62}", |text| word(text, 63)
);
key!(
    /// A package that a company can subscribe to, such as `basic`.
    PackageKey, "[a-z0-9][a-z0-9-]{0,62}", |text| word(text, 63)
);
key!(
    /// An add-on that a company can attach, such as `market`.
    AddonKey, "[a-z0-9][a-z0-9-]{0,62}", |text| word(text, 63)
);
key!(
    /// A signing key's name, the `kid` of what it signs. Never used for another key.
    KeyId, "[A-Za-z0-9._-]{1,64}", |text| {
        (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    }
);
key!(
    /// A company's readable name in `x-org`. Contract: `[a-z0-9-]{2,63}`; and no UUID, which `x-org` would take for
    /// the id of another company.
    Slug, "[a-z0-9-]{2,63} and no UUID", |text| {
        (2..=63).contains(&text.len())
            && (text.len() != 36 || uuid::Uuid::parse_str(text).is_err())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    }
);
key!(
    /// A permission, `<module>.<resource>.<action>`, such as `finance.bills.read`.
    PermissionKey, "<module>.<resource>.<action>", |text| {
        let mut parts = text.split('.');
        let three = [parts.next(), parts.next(), parts.next()];
        parts.next().is_none() && three.iter().all(|part| part.is_some_and(|part| word(part, 63)))
    }
);

impl PermissionKey {
    /// The module that the permission belongs to: without that module the permission is worth nothing.
    pub fn module(&self) -> ModuleKey {
        ModuleKey(self.0.split('.').next().unwrap_or_default().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::{PermissionKey, Slug};

    #[test]
    fn a_permission_names_its_module() {
        let key: PermissionKey = "market.study-notes.read".parse().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(key.module().as_str(), "market");
    }

    #[test]
    fn a_permission_has_exactly_three_words() {
        for bad in ["", "finance", "finance.bills", "finance.bills.read.all", "Finance.bills.read", "finance..read"] {
            assert!(bad.parse::<PermissionKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_slug_is_two_to_sixty_three_plain_characters() {
        assert!("acme-live".parse::<Slug>().is_ok());
        let uuid = "0198c5a2-7b1e-7000-8000-000000000001";
        for bad in ["a", "Acme", "acme live", "acmé", &"a".repeat(64), uuid] {
            assert!(bad.parse::<Slug>().is_err(), "{bad}");
        }
    }
}
