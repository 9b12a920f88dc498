//! Events of attempts to sign in to an account: stream `signin-{userId}-{day}`, so that no stream grows for ever.

use crate::{Sealed, Timestamp, UserId, event::events};
use serde::{Deserialize, Serialize};

/// Why nobody was signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SigninFailure {
    /// The password was wrong.
    Credentials,
    /// They were who they are, and are suspended.
    Suspended,
    /// The password was right and the second factor wrong.
    SecondFactor,
}

events! {
    /// What happens to an account that somebody tries to sign in to.
    SigninEvent {
        /// Attempts from one network failed, within a minute.
        Failed = "signin.failed" None ["net"] {
            /// Whose account.
            user_id: UserId,
            /// Why.
            reason: SigninFailure,
            /// How often.
            count: u32,
            /// The first time.
            from: Timestamp,
            /// The last time.
            until: Timestamp,
            /// From which network.
            #[serde(default)] net: Sealed<String>,
        },
    }
}
