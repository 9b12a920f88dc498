//! What a caller got wrong that the parser of arguments could not see: exit code 2.

use std::error::Error;

/// A line that says what to write instead.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(String);

impl Usage {
    /// Says it.
    pub fn new(line: impl Into<String>) -> Self {
        Self(line.into())
    }
}

/// 2 when it is one.
pub fn exit_code(cause: &(dyn Error + 'static)) -> Option<u8> {
    cause.downcast_ref::<Usage>().map(|_| 2)
}
