//! Named points where a test can kill this process, as by `kill -9` (`kisum_log::fail_points` says how they are armed):
//! `mail.sent` (the mail is out, nobody has noted so).
//!
//! They exist under the feature `failpoints` alone, which only the tests ask for.

/// Dies here if the point is armed and its time has come.
pub(crate) fn point(name: &'static str) {
    #[cfg(feature = "failpoints")]
    kisum_log::fail_points::point(name);
    #[cfg(not(feature = "failpoints"))]
    let _ = name;
}
