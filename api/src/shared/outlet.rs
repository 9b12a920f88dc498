//! The way of log lines to standard output.
//!
//! It owns order and gathering: a line is written for every request, and one write for each costs a request more than
//! the line itself. It refuses to lose what matters: warnings and errors are written before whoever logs goes on, and
//! so is everything that was logged before them. A process that is killed loses the milliseconds of other lines that
//! were gathered.

use std::{
    io::Write as _,
    sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::Duration,
};

/// How long lines gather.
const GATHER: Duration = Duration::from_millis(2);
/// Bytes that gather at most; beyond them whoever logs waits for the write, as for a terminal that is slow.
const GATHERED_MAX: usize = 1 << 20;

/// Lines on their way out.
#[derive(Default)]
struct Outlet {
    gathered: Mutex<Vec<u8>>,
    some: Condvar,
    /// Held from the taking of lines until they are written, so that they leave in order.
    writing: Mutex<()>,
}

/// Hands over a line, end of line included; returns once it is written where it is urgent.
pub(super) fn put(line: &[u8], is_urgent: bool) {
    let outlet = outlet();
    let mut gathered = lock(&outlet.gathered);
    let was_empty = gathered.is_empty();
    gathered.extend_from_slice(line);
    let is_full = gathered.len() > GATHERED_MAX;
    drop(gathered);
    if is_urgent || is_full {
        outlet.write();
    } else if was_empty {
        outlet.some.notify_one();
    }
}

/// Writes what has gathered.
pub(super) fn flush() {
    outlet().write();
}

fn outlet() -> &'static Outlet {
    static OUTLET: OnceLock<Outlet> = OnceLock::new();
    static WRITER: OnceLock<()> = OnceLock::new();
    let outlet = OUTLET.get_or_init(Outlet::default);
    WRITER.get_or_init(|| {
        // Without a thread every line that is not urgent waits for one that is, or for the buffer to fill.
        let spawned = thread::Builder::new().name("log-lines".to_owned()).spawn(move || outlet.write_for_ever());
        if spawned.is_err() {
            let _ = std::io::stderr().write_all(b"log lines are written late: no thread for them\n");
        }
    });
    outlet
}

impl Outlet {
    fn write_for_ever(&self) {
        loop {
            let gathered = lock(&self.gathered);
            let some = self.some.wait_while(gathered, |gathered| gathered.is_empty());
            drop(some);
            thread::sleep(GATHER);
            self.write();
        }
    }

    fn write(&self) {
        let _in_order = lock(&self.writing);
        let lines = std::mem::take(&mut *lock(&self.gathered));
        // There is nowhere left to report that the log cannot be written.
        let _ = std::io::stdout().lock().write_all(&lines);
    }
}

/// A thread that panicked while it held lines left them whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
