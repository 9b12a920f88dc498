//! One `up` at a time for a folder: a lock that the operating system drops with its holder, however that one dies.

use super::{Failure, layout::Layout, leftovers};
use std::{
    fs::{self, File, TryLockError},
    io::Write as _,
};

/// Held as long as it lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock and writes who holds it into the file.
    ///
    /// # Errors
    /// When another process holds it.
    pub fn take(layout: &Layout) -> Result<Self, Failure> {
        let path = layout.lock();
        let failed = |error: std::io::Error| Failure::io(format!("locking {}", path.display()), &error);
        let mut file = File::options().create(true).write(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(&path).unwrap_or_default();
                let holder = holder.split_whitespace().next().unwrap_or("unknown").to_owned();
                return Err(Failure::new(
                    format!("`kisum up` already runs in {} (process {holder})", layout.root().display()),
                    "use that one, or stop it with `./dev down`",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).and_then(|()| write!(file, "{}", leftovers::own_note())).map_err(failed)?;
        Ok(Self { _file: file })
    }
}
