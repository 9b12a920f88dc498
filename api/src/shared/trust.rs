//! Which services may call this one: the trust file, watched while the process runs.
//!
//! It owns the reading and rereading of `SERVICE_TRUST`. It refuses to check a token itself: `kisum-guard` does.

use super::{config::Environment, problem::Chain};
use kisum_guard::{ServiceTrust, TrustError};
use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// How often the file is looked at.
const RELOAD_EVERY: Duration = Duration::from_secs(1);

/// Why there is no trust to start with.
#[derive(Debug, thiserror::Error)]
pub enum TrustFileError {
    /// The file cannot be read.
    #[error("the trust file {} cannot be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file does not say what it should.
    #[error("the trust file {} is not usable", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: TrustError,
    },
}

/// Reads the file and keeps what it says in force, until the runtime ends. A file that becomes unusable changes
/// nothing and is reported.
///
/// # Errors
/// [`TrustFileError`] when the file is unusable from the start.
pub async fn watch_trust(
    environment: &Environment,
    service: &str,
    path: &Path,
) -> Result<ServiceTrust, TrustFileError> {
    let (json, mark) = read(path).await?;
    let content = |source| TrustFileError::Content { path: path.to_owned(), source };
    let trust = ServiceTrust::from_json(environment.name(), service, &json).map_err(content)?;
    tokio::spawn(reload(trust.clone(), path.to_owned(), mark));
    Ok(trust)
}

/// Time of change and length: what says that a file is another one. The time alone misses a second change within one
/// tick of the file system's clock.
pub(crate) type Mark = Option<(SystemTime, u64)>;

/// The mark of a file; nothing when it is not there.
pub(crate) async fn mark(path: &Path) -> Mark {
    let meta = tokio::fs::metadata(path).await.ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

async fn reload(trust: ServiceTrust, path: PathBuf, mut last: Mark) {
    loop {
        tokio::time::sleep(RELOAD_EVERY).await;
        let current = mark(&path).await;
        if current == last {
            continue;
        }
        last = current;
        match reread(&trust, &path).await {
            Ok(()) => tracing::info!(event = "trust.reloaded", path = %path.display(), "the trust file was read again"),
            Err(error) => {
                metrics::counter!("kisum_trust_reload_failures_total").increment(1);
                tracing::error!(event = "trust.unusable", error = %Chain(&error), "the trust file is unusable; the former rules stay in force");
            }
        }
    }
}

async fn reread(trust: &ServiceTrust, path: &Path) -> Result<(), TrustFileError> {
    let (json, _) = read(path).await?;
    trust.replace(&json).map_err(|source| TrustFileError::Content { path: path.to_owned(), source })
}

async fn read(path: &Path) -> Result<(String, Mark), TrustFileError> {
    let failed = |source| TrustFileError::Read { path: path.to_owned(), source };
    // The mark first: a change behind it is seen at the next look.
    let mark = mark(path).await;
    let json = tokio::fs::read_to_string(path).await.map_err(failed)?;
    Ok((json, mark))
}

#[cfg(test)]
mod tests;
