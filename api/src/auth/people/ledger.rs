//! The list of erasures outside the database (`ERASURE_LEDGER`): a restored backup brings back keys that were deleted,
//! and this list says which must go again before it serves (`docs/runbooks/erasure.md`).
//!
//! It owns the file: one JSON object a line, forced to disk before anything is erased. It refuses to hold more of a
//! person than their id.

use kisum_events::{Cursor, Timestamp, UserId};
use serde_json::{Value, json};
use std::{io, path::PathBuf, sync::Arc};
use tokio::{io::AsyncWriteExt as _, sync::Mutex};

/// The file, appended to by one request at a time.
#[derive(Clone, Debug)]
pub(in crate::auth) struct ErasureLedger {
    path: Arc<PathBuf>,
    turn: Arc<Mutex<()>>,
}

/// What a line says.
#[derive(Clone, Copy, Debug)]
pub(in crate::auth) enum Entry {
    /// The person is about to be erased. Without a later line it has to be taken for done.
    Erasing,
    /// They were, by the event there.
    Erased(Cursor),
    /// They were not, after all.
    Withdrawn,
}

impl ErasureLedger {
    /// Opens the ledger, and makes the file where there is none.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(in crate::auth) fn open(path: PathBuf) -> io::Result<Self> {
        std::fs::OpenOptions::new().create(true).append(true).open(&path)?.sync_all()?;
        Ok(Self { path: Arc::new(path), turn: Arc::default() })
    }

    /// Those of whom a line says that they were erased. A line that a crash has torn says nothing.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(in crate::auth) fn erased(&self) -> io::Result<Vec<UserId>> {
        let text = std::fs::read_to_string(&*self.path)?;
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let erased = lines.filter(|line| line.get("is").is_some_and(|is| is == "erased"));
        Ok(erased.filter_map(|line| line.get("person")?.as_str()?.parse().ok()).collect())
    }

    /// Adds a line and waits until the disk has it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(in crate::auth) async fn note(&self, person: UserId, entry: Entry, at: Timestamp) -> io::Result<()> {
        let line = match entry {
            Entry::Erasing => json!({ "person": person, "is": "erasing", "at": at }),
            Entry::Erased(Cursor { epoch, position }) => {
                json!({ "person": person, "is": "erased", "epoch": epoch, "position": position, "at": at })
            }
            Entry::Withdrawn => json!({ "person": person, "is": "withdrawn", "at": at }),
        };
        let _turn = self.turn.lock().await;
        let mut file = tokio::fs::OpenOptions::new().create(true).append(true).open(self.path.as_path()).await?;
        // In one write: a line of another process that appends to the same file stands before or behind it.
        file.write_all(format!("{line}\n").as_bytes()).await?;
        file.flush().await?;
        file.sync_all().await
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, ErasureLedger};
    use kisum_events::{Cursor, Timestamp, UserId};
    use serde_json::Value;
    use uuid::Uuid;

    #[tokio::test]
    async fn each_entry_is_one_line_behind_the_others() {
        let path = std::env::temp_dir().join(format!("kisum-ledger-{}", std::process::id()));
        std::fs::write(&path, "").unwrap_or_else(|error| panic!("{error}"));
        let ledger = ErasureLedger::open(path.clone()).unwrap_or_else(|error| panic!("{error}"));
        let person = UserId::new(Uuid::from_u128(7));
        let at = Timestamp::from_micros(1_700_000_000_000_000);
        for entry in [Entry::Erasing, Entry::Erased(Cursor { epoch: 1, position: 9 }), Entry::Withdrawn] {
            ledger.note(person, entry, at).await.unwrap_or_else(|error| panic!("{error}"));
        }
        let again = ErasureLedger::open(path.clone()).unwrap_or_else(|error| panic!("{error}"));
        again.note(person, Entry::Erasing, at).await.unwrap_or_else(|error| panic!("{error}"));
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let erased = again.erased();
        let _removed = std::fs::remove_file(&path);
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap_or_default()).collect();
        let said: Vec<_> = lines.iter().map(|line| line["is"].as_str().unwrap_or_default()).collect();
        assert_eq!(said, ["erasing", "erased", "withdrawn", "erasing"]);
        assert!(lines.iter().all(|line| line["person"] == person.to_string()), "{text}");
        assert_eq!(lines[1]["position"], 9);
        assert_eq!(erased.ok(), Some(vec![person]));
    }
}
