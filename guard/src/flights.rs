//! Single flight: who asks what is being asked already waits for that answer.
//!
//! It owns how many ask and wait at once. It refuses to join a question to an older one: the key holds everything
//! that an answer depends on.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::{Semaphore, watch};

/// Questions under way at once in this process (`consistency.md`, herds).
const FLIGHTS_MAX: usize = 64;
/// Questions under way or waiting for their turn.
const QUESTIONS_MAX: usize = 1024;
/// Callers that wait for one answer.
const WAITERS_MAX: usize = 256;
/// How long a caller waits.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Too many ask, or it took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shed;

type Landed<T> = watch::Receiver<Option<T>>;
type Landing<T> = Arc<watch::Sender<Option<T>>>;

#[derive(Debug)]
pub(crate) struct Flights<K, T> {
    under_way: Mutex<HashMap<K, Landing<T>>>,
    slots: Semaphore,
}

impl<K: Clone + Eq + Hash + Send + 'static, T: Clone + Send + Sync + 'static> Flights<K, T> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { under_way: Mutex::default(), slots: Semaphore::new(FLIGHTS_MAX) })
    }

    /// The answer to `key`: that of the flight under way, or of one that starts now. A flight goes on when its
    /// callers go away.
    pub(crate) async fn ask<F>(self: &Arc<Self>, key: K, question: impl FnOnce() -> F) -> Result<T, Shed>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut landed = self.board(key, question)?;
        let answer = tokio::time::timeout(WAIT_MAX, landed.wait_for(Option::is_some)).await;
        // The landing is gone without an answer only if the question panicked.
        answer.ok().and_then(Result::ok).and_then(|answer| answer.clone()).ok_or(Shed)
    }

    fn board<F>(self: &Arc<Self>, key: K, question: impl FnOnce() -> F) -> Result<Landed<T>, Shed>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(landing) = under_way.get(&key) {
            return if landing.receiver_count() < WAITERS_MAX { Ok(landing.subscribe()) } else { Err(Shed) };
        }
        if under_way.len() >= QUESTIONS_MAX {
            return Err(Shed);
        }
        let (landing, landed) = watch::channel(None);
        let landing = Arc::new(landing);
        under_way.insert(key.clone(), Arc::clone(&landing));
        let takeoff = Takeoff { flights: Arc::clone(self), key };
        let flights = Arc::clone(self);
        let question = question();
        tokio::spawn(async move {
            let slot = tokio::time::timeout(WAIT_MAX, flights.slots.acquire()).await;
            if let Ok(Ok(_slot)) = slot {
                let answer = question.await;
                drop(takeoff);
                landing.send_replace(Some(answer));
            }
        });
        Ok(landed)
    }
}

/// Takes the flight off the list when it ends, however it ends.
struct Takeoff<K: Eq + Hash, T> {
    flights: Arc<Flights<K, T>>,
    key: K,
}

impl<K: Eq + Hash, T> Drop for Takeoff<K, T> {
    fn drop(&mut self) {
        self.flights.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::{Flights, QUESTIONS_MAX, Shed, WAITERS_MAX};
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn a_thousand_callers_cause_one_question() {
        let flights: Arc<Flights<u8, usize>> = Flights::new();
        let (asked, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let question = |asked: Arc<AtomicUsize>, gate: Arc<Semaphore>| async move {
            drop(gate.acquire().await);
            asked.fetch_add(1, Ordering::SeqCst) + 41
        };
        let landed: Vec<_> = (0..WAITERS_MAX)
            .map(|_| flights.board(7, || question(Arc::clone(&asked), Arc::clone(&gate))).unwrap())
            .collect();
        assert!(flights.board(7, || question(Arc::clone(&asked), Arc::clone(&gate))).is_err());
        gate.add_permits(1);
        for mut landed in landed {
            assert_eq!(*landed.wait_for(Option::is_some).await.unwrap(), Some(41));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        // The flight has landed: the next caller asks anew.
        gate.add_permits(1);
        assert_eq!(flights.ask(7, || question(Arc::clone(&asked), Arc::clone(&gate))).await, Ok(42));
    }

    #[tokio::test]
    async fn a_question_that_panics_leaves_nobody_waiting_and_nothing_behind() {
        let flights: Arc<Flights<u8, usize>> = Flights::new();
        assert_eq!(flights.ask(7, || async { panic!("as if by a defect") }).await, Err(Shed));
        assert_eq!(flights.ask(7, || async { 1 }).await, Ok(1));
    }

    #[tokio::test]
    async fn too_many_questions_are_shed_at_once() {
        let flights: Arc<Flights<usize, usize>> = Flights::new();
        let landed: Vec<_> = (0..QUESTIONS_MAX).map(|n| flights.board(n, std::future::pending)).collect();
        assert!(landed.iter().all(Result::is_ok));
        assert!(flights.board(QUESTIONS_MAX, std::future::pending).is_err());
    }
}
