//! Password hashes: argon2id on a bounded pool of its own threads.
//!
//! It owns the parameters, the places, the memory to work in, and the dummy hash that makes an unknown address cost what a
//! known one costs. It refuses to know who signs in and what a wrong password means.

use crate::shared::ambient;
use argon2::{
    Algorithm, Argon2, Block, Params, PasswordHash, Version,
    password_hash::phc::{Output, ParamsString, Salt},
};
use std::{
    num::NonZero,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// ASVS 5.0 appendix C: argon2id with at least 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// RFC 9106 §3.1: 16 bytes are recommended.
const SALT_BYTES: usize = 16;

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

/// What a thread works in. It keeps it: 19 MiB that are asked of the system for every hash, page by page, cost a part of
/// the hash's own time.
type Memory = Vec<Block>;
type Job = Box<dyn FnOnce(&mut Memory) + Send>;

/// The hashing pool.
#[derive(Clone)]
pub(super) struct Passwords {
    queue: SyncSender<Job>,
    /// One for each thread and for each job that may wait.
    places: Arc<Semaphore>,
    dummy: Arc<str>,
}

/// A place in the queue: whoever holds one is not refused any more.
pub(super) struct Place(OwnedSemaphorePermit);

impl Passwords {
    /// Starts one thread fewer than there are cores, at least one, and makes the dummy hash.
    pub(super) fn start() -> Result<Self, HashError> {
        let threads = thread::available_parallelism().map_or(1, NonZero::get).saturating_sub(1).max(1);
        let places = Arc::new(Semaphore::new(threads.saturating_add(QUEUE_MAX)));
        // Whoever has a place finds room here.
        let (queue, jobs) = sync_channel::<Job>(threads.saturating_add(QUEUE_MAX));
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..threads {
            let jobs = Arc::clone(&jobs);
            thread::Builder::new()
                .name(format!("hash-{number}"))
                .spawn(move || work(&jobs))
                .map_err(|error| HashError::Failed(error.to_string()))?;
        }
        let dummy = hash_now("a password that nobody has", &mut Memory::new())?.into();
        Ok(Self { queue, places, dummy })
    }

    /// Takes a place, so that whoever will be refused is refused before anything else is done for them.
    ///
    /// # Errors
    /// [`HashError::Overloaded`] at once when as many wait as may wait.
    pub(super) fn enter(&self) -> Result<Place, HashError> {
        Arc::clone(&self.places).try_acquire_owned().map(Place).map_err(|_| HashError::Overloaded)
    }

    /// Hashes a password into a PHC string with a salt of its own.
    pub(super) async fn hash(&self, password: String) -> Result<String, HashError> {
        self.run(self.enter()?, move |memory| hash_now(&password, memory)).await?
    }

    /// Compares a password with a stored PHC string. Without one, it is compared with the dummy, so that both take
    /// the same path and the same time (ASVS 6.3.8), and the verdict is [`Verdict::Wrong`] whatever comes out.
    pub(super) async fn verify(
        &self,
        place: Place,
        password: String,
        stored: Option<String>,
    ) -> Result<Verdict, HashError> {
        let known = stored.is_some();
        let phc = stored.unwrap_or_else(|| self.dummy.to_string());
        let verdict = self.run(place, move |memory| verify_now(&password, &phc, memory)).await??;
        Ok(if known { verdict } else { Verdict::Wrong })
    }

    async fn run<T: Send + 'static>(
        &self,
        place: Place,
        job: impl FnOnce(&mut Memory) -> T + Send + 'static,
    ) -> Result<T, HashError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |memory| {
            let Place(_held) = place;
            // Whoever asked may have gone: then the work would be for nobody.
            if !reply.is_closed() {
                let _gone = reply.send(job(memory));
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
    let mut memory = Memory::new();
    loop {
        // The lock is held only while waiting for a job, never while doing one.
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            // A job that panics must not take the thread with it: there may be only one. What it leaves in the memory
            // is overwritten by the next.
            Ok(job) => {
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(&mut memory))).is_err() {
                    tracing::error!("a password could not be hashed: the hashing panicked");
                }
            }
            Err(_) => return,
        }
    }
}

fn hash_now(password: &str, memory: &mut Memory) -> Result<String, HashError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(failed)?;
    let salt = Salt::new(&ambient::random::<SALT_BYTES>().map_err(failed)?).map_err(failed)?;
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params).map_err(failed)?,
        salt: Some(salt),
        hash: Some(output(Argon2::new(Algorithm::Argon2id, Version::V0x13, params), password, &salt, memory)?),
    };
    Ok(hash.to_string())
}

fn verify_now(password: &str, phc: &str, memory: &mut Memory) -> Result<Verdict, HashError> {
    let stored = PasswordHash::new(phc).map_err(failed)?;
    let (Some(salt), Some(expected)) = (stored.salt, stored.hash) else {
        return Err(HashError::Failed("the stored hash has no salt or no output".to_owned()));
    };
    // The stored parameters decide, so that an old hash still opens.
    let algorithm = Algorithm::try_from(stored.algorithm.as_str()).map_err(failed)?;
    let version = stored.version.map_or(Ok(Version::default()), Version::try_from).map_err(failed)?;
    let params = Params::try_from(&stored).map_err(failed)?;
    // `Output` compares in constant time.
    if output(Argon2::new(algorithm, version, params), password, &salt, memory)? != expected {
        return Ok(Verdict::Wrong);
    }
    let weaker = |name: &str, today: u32| stored.params.get_decimal(name).is_none_or(|stored| stored < today);
    Ok(Verdict::Right { outdated: weaker("m", MEMORY_KIB) || weaker("t", PASSES) })
}

fn output(argon2: Argon2<'_>, password: &str, salt: &Salt, memory: &mut Memory) -> Result<Output, HashError> {
    let blocks = argon2.params().block_count();
    if memory.len() < blocks {
        memory.resize(blocks, Block::default());
    }
    let length = argon2.params().output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
    let mut hash = [0; Output::MAX_LENGTH];
    let hash = hash.get_mut(..length).ok_or_else(|| HashError::Failed("an output of such a length".to_owned()))?;
    argon2.hash_password_into_with_memory(password.as_bytes(), salt, hash, memory).map_err(failed)?;
    Output::new(hash).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> HashError {
    HashError::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::{HashError, Memory, Passwords, QUEUE_MAX, Verdict, verify_now};
    use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};

    /// security 1
    #[tokio::test]
    async fn a_hash_says_its_parameters_and_opens_for_its_password_alone() {
        let passwords = Passwords::start().unwrap();
        let phc = passwords.hash("correct horse battery".to_owned()).await.unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        let verify = async |password: &str| {
            passwords.verify(passwords.enter().unwrap(), password.to_owned(), Some(phc.clone())).await.unwrap()
        };
        assert_eq!(verify("correct horse battery").await, Verdict::Right { outdated: false });
        assert_eq!(verify("wrong").await, Verdict::Wrong);
        assert_eq!(verify("correct horse battery").await, Verdict::Right { outdated: false });
    }

    /// security 5
    #[tokio::test]
    async fn nobody_signs_in_with_the_password_of_the_dummy() {
        let passwords = Passwords::start().unwrap();
        let verdict = passwords.verify(passwords.enter().unwrap(), "a password that nobody has".to_owned(), None).await;
        assert_eq!(verdict.unwrap(), Verdict::Wrong);
    }

    /// security 1
    #[test]
    fn a_hash_with_weaker_parameters_opens_and_is_outdated() {
        let weak = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(1024, 1, 1, None).unwrap());
        let phc = weak.hash_password(b"correct horse battery").unwrap().to_string();
        // In memory that a larger hash has been made in, and in none yet.
        for mut memory in [Memory::new(), vec![argon2::Block::default(); 4096]] {
            let verdict = verify_now("correct horse battery", &phc, &mut memory).unwrap();
            assert_eq!(verdict, Verdict::Right { outdated: true });
            assert_eq!(verify_now("correct horse", &phc, &mut memory).unwrap(), Verdict::Wrong);
        }
    }

    /// security 2
    #[tokio::test]
    async fn a_full_queue_refuses_at_once_and_a_place_is_free_again_when_its_hash_is_made() {
        let passwords = Passwords::start().unwrap();
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).saturating_sub(1).max(1);
        let mut places: Vec<_> = (0..threads + QUEUE_MAX).map(|_| passwords.enter().unwrap()).collect();
        assert!(matches!(passwords.enter(), Err(HashError::Overloaded)));
        assert!(matches!(passwords.hash("one too many".to_owned()).await, Err(HashError::Overloaded)));
        let verdict = passwords.verify(places.remove(0), "somebody's password".to_owned(), None).await;
        assert_eq!(verdict.unwrap(), Verdict::Wrong);
        let place = tokio::time::timeout(std::time::Duration::from_secs(60), async {
            // The thread gives the place back just behind its answer.
            loop {
                match passwords.enter() {
                    Ok(place) => return place,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        });
        assert!(place.await.is_ok());
        drop(places);
        assert!(passwords.hash("room for everybody".to_owned()).await.is_ok());
    }
}
