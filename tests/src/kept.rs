//! Platforms that the tests of a module share, without outliving them: a platform at rest still asks its databases for
//! news all the time, and a handful of them leaves nothing for the tests that run.

use std::{
    any::Any,
    sync::{Arc, Mutex as Registry, PoisonError},
};
use tokio::sync::Mutex;

/// How many that no test holds go on running, besides the one just started: tests of two modules may alternate.
const IDLE_MAX: usize = 1;

/// Those that were started, the latest last.
static STARTED: Registry<Vec<&'static dyn GivesWay>> = Registry::new(Vec::new());

trait GivesWay: Sync {
    /// Lets go of a value that no test holds. It ends where it is dropped.
    fn give_way(&self) -> Option<Box<dyn Any + Send>>;
    /// Whether it is this place.
    fn is_at(&self, place: usize) -> bool;
}

/// Something costly that tests share: made for the first that wants it, and again for whoever wants it after it had to
/// give way to others.
pub struct Kept<T>(Mutex<Option<Arc<T>>>);

impl<T: Send + Sync + 'static> Default for Kept<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Send + Sync + 'static> Kept<T> {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self(Mutex::const_new(None))
    }

    /// It, made with `start` where it is not there. Hold it as long as the test uses it.
    pub async fn get(&'static self, start: impl AsyncFnOnce() -> T) -> Arc<T> {
        let mut kept = self.0.lock().await;
        if let Some(there) = &*kept {
            return Arc::clone(there);
        }
        // Room first, so that what starts does not wait for what idles.
        make_room(self);
        let started = Arc::new(start().await);
        *kept = Some(Arc::clone(&started));
        started
    }
}

fn make_room(newest: &'static dyn GivesWay) {
    let place = std::ptr::from_ref(newest).addr();
    let given_up: Vec<_> = {
        let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
        started.retain(|other| !other.is_at(place));
        let may_stay = started.len().saturating_sub(IDLE_MAX);
        let given_up = started.iter().take(may_stay).filter_map(|other| other.give_way()).collect();
        started.push(newest);
        given_up
    };
    drop(given_up);
}

impl<T: Send + Sync + 'static> GivesWay for Kept<T> {
    fn give_way(&self) -> Option<Box<dyn Any + Send>> {
        // Whoever gets one does so under this lock: one holder in here is nobody else, and stays so.
        let mut kept = self.0.try_lock().ok()?;
        kept.take_if(|there| Arc::strong_count(there) == 1).map(|there| Box::new(there) as Box<dyn Any + Send>)
    }

    fn is_at(&self, place: usize) -> bool {
        std::ptr::from_ref(self).addr() == place
    }
}
