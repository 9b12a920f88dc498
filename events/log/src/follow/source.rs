//! The owner's log route, as a follower in another database reads it: the truth behind the bus.

use kisum_events::{Envelope, Position};
use serde::Deserialize;
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// One page of a log: `data` of `GET /internal/v1/log`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogPage {
    /// The log's epoch now.
    pub epoch: u32,
    /// Where the log ended when the page was read, if the owner says.
    #[serde(default)]
    pub position: Option<Position>,
    /// Events in order of position, without holes.
    pub events: Vec<Envelope>,
}

/// Why a page could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No owner of the log answered, or it answered that it cannot.
    #[error("the log's owner did not answer: {0}")]
    Unavailable(String),
    /// What came back is not a page of the log.
    #[error("the log's owner answered something else: {0}")]
    Malformed(String),
}

/// A request under way.
type Fetching = Pin<Box<dyn Future<Output = Result<LogPage, SourceError>> + Send>>;

type Fetch = dyn Fn(&str, Position, u32) -> Fetching + Send + Sync;

/// Where to read a log that lives in another database: several equal owners and a way to ask one of them.
#[derive(Clone)]
pub struct LogSource {
    urls: Arc<[String]>,
    fetch: Arc<Fetch>,
    /// The owner that answered last; asked first.
    preferred: Arc<AtomicUsize>,
}

impl LogSource {
    /// A source over the base URLs of the log's owners. `fetch(base, after, limit)` asks one of them for
    /// `GET {base}/internal/v1/log?after={after}&limit={limit}`, signs it and bounds its time.
    pub fn new<F, A>(urls: Vec<String>, fetch: F) -> Self
    where
        F: Fn(&str, Position, u32) -> A + Send + Sync + 'static,
        A: Future<Output = Result<LogPage, SourceError>> + Send + 'static,
    {
        let fetch = move |url: &str, after, limit| -> Fetching { Box::pin(fetch(url, after, limit)) };
        Self { urls: urls.into(), fetch: Arc::new(fetch), preferred: Arc::default() }
    }

    /// Events behind `after`, at most `limit`, from the first owner that answers.
    ///
    /// # Errors
    /// What the last one said, when none could.
    pub async fn page(&self, after: Position, limit: u32) -> Result<LogPage, SourceError> {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut failure = SourceError::Unavailable("no address is configured".to_owned());
        for step in 0..self.urls.len() {
            let index = first.wrapping_add(step) % self.urls.len();
            let Some(url) = self.urls.get(index) else { continue };
            match (self.fetch)(url, after, limit).await {
                Ok(page) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return Ok(page);
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

impl std::fmt::Debug for LogSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogSource").field("urls", &self.urls).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Arc, LogPage, LogSource, SourceError};
    use std::sync::Mutex;

    #[tokio::test]
    async fn the_next_owner_is_asked_and_then_preferred() {
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let record = Arc::clone(&asked);
        let source = LogSource::new(vec!["dead".to_owned(), "alive".to_owned()], move |url, _, _| {
            if let Ok(mut asked) = record.lock() {
                asked.push(url.to_owned());
            }
            let answer = if url == "alive" {
                Ok(LogPage { epoch: 1, position: None, events: Vec::new() })
            } else {
                Err(SourceError::Unavailable("refused".to_owned()))
            };
            async move { answer }
        });
        for _ in 0..2 {
            assert!(source.page(0, 10).await.is_ok());
        }
        assert_eq!(asked.lock().map(|asked| asked.clone()).unwrap_or_default(), ["dead", "alive", "alive"]);
    }

    #[tokio::test]
    async fn without_an_address_nobody_answers() {
        let source = LogSource::new(Vec::new(), |_, _, _| async {
            Ok(LogPage { epoch: 1, position: None, events: Vec::new() })
        });
        assert!(matches!(source.page(0, 10).await, Err(SourceError::Unavailable(_))));
    }
}
