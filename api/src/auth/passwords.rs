//! Password hashes: argon2id on a bounded pool of its own threads.
//!
//! It owns the parameters, the queue and the dummy hash that makes an unknown address cost what a known one costs.
//! It refuses to know who signs in and what a wrong password means.

use argon2::{Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version};
use std::{
    num::NonZero,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
};
use tokio::sync::oneshot;

/// ASVS 5.0 appendix C: argon2id with at least 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Jobs that wait for a thread. At some 20 ms each the last one still answers before a client gives up; whoever
/// comes after is told to come back.
const QUEUE_MAX: usize = 64;

/// How much lower than the rest of the process the hashing threads run: a login flood must not slow other routes
/// (security.md, 2).
const NICENESS: i32 = 10;

/// Why a password was not hashed or checked.
#[derive(Debug, thiserror::Error)]
pub(super) enum HashError {
    /// As many wait as may wait.
    #[error("the password queue is full")]
    Overloaded,
    /// The hashing itself failed.
    #[error("a password could not be hashed: {0}")]
    Failed(String),
}

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not this password, or there was none to compare with.
    Wrong,
    /// This password; `outdated` when its stored parameters are weaker than today's.
    Right {
        /// Whether it should be hashed anew.
        outdated: bool,
    },
}

type Job = Box<dyn FnOnce() + Send>;

/// The hashing pool.
#[derive(Clone)]
pub(super) struct Passwords {
    queue: SyncSender<Job>,
    dummy: Arc<str>,
}

impl Passwords {
    /// Starts one thread fewer than there are cores, at least one, and makes the dummy hash.
    pub(super) fn start() -> Result<Self, HashError> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let (queue, jobs) = sync_channel::<Job>(QUEUE_MAX);
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..cores.saturating_sub(1).max(1) {
            let jobs = Arc::clone(&jobs);
            thread::Builder::new()
                .name(format!("hash-{number}"))
                .spawn(move || work(&jobs))
                .map_err(|error| HashError::Failed(error.to_string()))?;
        }
        let dummy = hash_now("a password that nobody has")?.into();
        Ok(Self { queue, dummy })
    }

    /// Hashes a password into a PHC string with a salt of its own.
    pub(super) async fn hash(&self, password: String) -> Result<String, HashError> {
        self.run(move || hash_now(&password)).await?
    }

    /// Compares a password with a stored PHC string. Without one, it is compared with the dummy, so that both take
    /// the same path and the same time (ASVS 6.3.8), and the verdict is [`Verdict::Wrong`] whatever comes out.
    pub(super) async fn verify(&self, password: String, stored: Option<String>) -> Result<Verdict, HashError> {
        let known = stored.is_some();
        let phc = stored.unwrap_or_else(|| self.dummy.to_string());
        let verdict = self.run(move || verify_now(&password, &phc)).await??;
        Ok(if known { verdict } else { Verdict::Wrong })
    }

    async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, HashError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move || {
            // Whoever asked may have gone: then the work would be for nobody.
            if !reply.is_closed() {
                let _gone = reply.send(job());
            }
        });
        match self.queue.try_send(job) {
            Ok(()) => answer.await.map_err(|_| HashError::Failed("the hashing thread is gone".to_owned())),
            Err(TrySendError::Full(_)) => Err(HashError::Overloaded),
            Err(TrySendError::Disconnected(_)) => Err(HashError::Failed("the hashing pool is gone".to_owned())),
        }
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    // Linux counts niceness by thread; where it counts by process, or the call is refused, nothing is lost but
    // the priority.
    if cfg!(target_os = "linux") {
        let _refused = rustix::process::nice(NICENESS);
    }
    loop {
        // The lock is held only while waiting for a job, never while doing one.
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            // A job that panics must not take the thread with it: there may be only one.
            Ok(job) => {
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
                    tracing::error!("a password could not be hashed: the hashing panicked");
                }
            }
            Err(_) => return,
        }
    }
}

fn hasher() -> Result<Argon2<'static>, HashError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(failed)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash_now(password: &str) -> Result<String, HashError> {
    Ok(hasher()?.hash_password(password.as_bytes()).map_err(failed)?.to_string())
}

fn verify_now(password: &str, phc: &str) -> Result<Verdict, HashError> {
    let stored = PasswordHash::new(phc).map_err(failed)?;
    // The stored parameters decide, so that an old hash still opens.
    if hasher()?.verify_password(password.as_bytes(), &stored).is_err() {
        return Ok(Verdict::Wrong);
    }
    let weaker = |name: &str, today: u32| stored.params.get_decimal(name).is_none_or(|stored| stored < today);
    Ok(Verdict::Right { outdated: weaker("m", MEMORY_KIB) || weaker("t", PASSES) })
}

fn failed(error: impl std::fmt::Display) -> HashError {
    HashError::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::{HashError, Passwords, QUEUE_MAX, Verdict, verify_now};
    use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
    use std::sync::{Arc, Barrier};

    /// security 1
    #[tokio::test]
    async fn a_hash_says_its_parameters_and_opens_for_its_password_alone() {
        let passwords = Passwords::start().unwrap();
        let phc = passwords.hash("correct horse battery".to_owned()).await.unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        let verdict = passwords.verify("correct horse battery".to_owned(), Some(phc.clone())).await.unwrap();
        assert_eq!(verdict, Verdict::Right { outdated: false });
        assert_eq!(passwords.verify("wrong".to_owned(), Some(phc)).await.unwrap(), Verdict::Wrong);
    }

    /// security 5
    #[tokio::test]
    async fn nobody_signs_in_with_the_password_of_the_dummy() {
        let passwords = Passwords::start().unwrap();
        let verdict = passwords.verify("a password that nobody has".to_owned(), None).await.unwrap();
        assert_eq!(verdict, Verdict::Wrong);
    }

    /// security 1
    #[test]
    fn a_hash_with_weaker_parameters_opens_and_is_outdated() {
        let weak = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(1024, 1, 1, None).unwrap());
        let phc = weak.hash_password(b"correct horse battery").unwrap().to_string();
        assert_eq!(verify_now("correct horse battery", &phc).unwrap(), Verdict::Right { outdated: true });
    }

    /// security 2
    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let passwords = Passwords::start().unwrap();
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).saturating_sub(1).max(1);
        let mut waiting = Vec::new();
        // Every thread is held, then the queue is filled to its brim.
        for _ in 0..threads {
            let gate = Arc::new(Barrier::new(2));
            let held = Arc::clone(&gate);
            passwords
                .queue
                .send(Box::new(move || {
                    held.wait();
                    held.wait();
                }))
                .unwrap();
            gate.wait();
            waiting.push(gate);
        }
        for _ in 0..QUEUE_MAX {
            passwords.queue.try_send(Box::new(|| ())).unwrap_or_else(|_| panic!("the queue has room"));
        }
        let refused = passwords.hash("one too many".to_owned()).await;
        assert!(matches!(refused, Err(HashError::Overloaded)));
        for held in waiting {
            held.wait();
        }
    }
}
