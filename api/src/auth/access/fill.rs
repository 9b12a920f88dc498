//! Filling without resurrecting: whether a snapshot is new enough for the guard that asks.
//!
//! Pure. It owns the comparison of places across epochs, which must be right: a projection that lags could otherwise
//! plant a grant that the guard has already dropped.

use super::snapshot::Snapshot;
use kisum_events::{AsOf, Cursor};

/// What a snapshot lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// Events of the auth log: waiting does not help, since this is its own database.
    Auth,
    /// Events of the core log: the projection may catch up, and Core knows them.
    Core,
}

/// What the snapshot lacks to be as new as `applied`.
pub(super) const fn missing(snapshot: &Snapshot, applied: AsOf) -> Option<Missing> {
    if is_behind(snapshot.auth, applied.auth) {
        return Some(Missing::Auth);
    }
    // A projection that has just begun stands for nothing: a table not filled yet would read as "owns nothing".
    if snapshot.core.epoch == 0 || is_behind(snapshot.core, applied.core) {
        return Some(Missing::Core);
    }
    None
}

/// Whether `have` is before `least`. A later epoch is never before an earlier one: the guard that still follows the
/// earlier one sees the epochs differ and starts cold.
pub(super) const fn is_behind(have: Cursor, least: Cursor) -> bool {
    have.epoch < least.epoch || (have.epoch == least.epoch && have.position < least.position)
}

#[cfg(test)]
mod tests {
    use super::{Missing, is_behind, missing};
    use crate::auth::access::snapshot::Snapshot;
    use kisum_events::{AsOf, Cursor};

    const fn at(epoch: u32, position: u64) -> Cursor {
        Cursor { epoch, position }
    }

    fn snapshot(auth: Cursor, core: Cursor) -> Snapshot {
        let (user, session, company, membership) = (None, None, None, None);
        let (related, entitlement, catalog) = (vec![], None, None);
        let is_catalog_known = true;
        Snapshot { auth, core, user, session, company, membership, related, entitlement, is_catalog_known, catalog }
    }

    #[test]
    fn places_compare_by_epoch_first() {
        assert!(is_behind(at(1, 4), at(1, 5)));
        assert!(is_behind(at(1, 9), at(2, 1)));
        assert!(!is_behind(at(1, 5), at(1, 5)));
        assert!(!is_behind(at(2, 1), at(1, 9)));
    }

    #[test]
    fn a_lagging_projection_is_not_asked() {
        let applied = AsOf { auth: at(1, 10), core: at(1, 7) };
        assert_eq!(missing(&snapshot(at(1, 10), at(1, 7)), applied), None);
        assert_eq!(missing(&snapshot(at(1, 9), at(1, 7)), applied), Some(Missing::Auth));
        assert_eq!(missing(&snapshot(at(1, 10), at(1, 6)), applied), Some(Missing::Core));
    }

    #[test]
    fn a_projection_that_has_not_begun_is_never_enough() {
        let cold = AsOf { auth: at(0, 0), core: at(0, 0) };
        assert_eq!(missing(&snapshot(at(1, 10), at(0, 0)), cold), Some(Missing::Core));
    }
}
