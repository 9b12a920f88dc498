//! What a comparison came to: rows that were not what the log says, counted by how, the first of them named.

use kisum_events::Cursor;

/// Keys that are kept of each table's differing rows: enough to see what went wrong, and bounded.
const KEYS_MAX: usize = 20;

/// A projection beside the fold of its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// They were compared up to here.
    pub through: Cursor,
    /// Every table of the projection.
    pub tables: Vec<TableDifferences>,
}

impl Compared {
    /// How many rows were not what the log says.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(TableDifferences::rows).sum()
    }
}

/// How a row differs from what the log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// It is not there; a rebuild inserts it.
    Missing,
    /// It says something else; a rebuild changes it.
    Wrong,
    /// It should not be there; a rebuild deletes it.
    Surplus,
}

/// What differed in one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDifferences {
    /// Which.
    pub table: &'static str,
    /// Rows that were not there.
    pub missing: u64,
    /// Rows that said something else.
    pub wrong: u64,
    /// Rows that should not have been there.
    pub surplus: u64,
    /// The primary keys, as JSON objects, of the first 20.
    pub first: Vec<(String, Difference)>,
    /// Whether there may be more than were counted: what is only told is counted up to 100,000 rows.
    pub is_partial: bool,
}

impl TableDifferences {
    /// Nothing found yet.
    pub(super) const fn of(table: &'static str) -> Self {
        Self { table, missing: 0, wrong: 0, surplus: 0, first: Vec::new(), is_partial: false }
    }

    pub(super) fn add(&mut self, differences: Vec<(String, Difference)>) {
        for (_, difference) in &differences {
            let count = match difference {
                Difference::Missing => &mut self.missing,
                Difference::Wrong => &mut self.wrong,
                Difference::Surplus => &mut self.surplus,
            };
            *count = count.saturating_add(1);
        }
        let room = KEYS_MAX.saturating_sub(self.first.len());
        self.first.extend(differences.into_iter().take(room));
    }

    /// How many rows were not what the log says.
    pub const fn rows(&self) -> u64 {
        self.missing.saturating_add(self.wrong).saturating_add(self.surplus)
    }
}
