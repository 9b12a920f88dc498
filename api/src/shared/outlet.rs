//! The way of log lines to standard output.
//!
//! It owns order and gathering: a line is written for every request, and one write for each costs a request more than
//! the line itself. It refuses to lose what matters: warnings and errors are written before whoever logs goes on, and
//! so is everything that was logged before them. A process that is killed loses the milliseconds of other lines that
//! were gathered. Whoever reads the lines and stops reading loses some once it is waited for no longer, and each is
//! counted.

use std::{
    io::{self, ErrorKind, Write},
    sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::Duration,
};

/// How long lines gather.
const GATHER: Duration = Duration::from_millis(2);
/// Bytes that gather at most; beyond them whoever logs waits for the write, as for a terminal that is slow.
const GATHERED_MAX: usize = 1 << 20;
/// Between two attempts at an output that takes nothing at the moment, which only one that does not block says.
const PAUSE: Duration = Duration::from_millis(1);
/// Attempts at it until what is left of the lines is lost: a second's worth.
const ATTEMPTS_MAX: u32 = 1_000;

/// Lines on their way out.
#[derive(Default)]
struct Outlet {
    gathered: Mutex<Vec<u8>>,
    some: Condvar,
    /// Held from the taking of lines until they are written, so that they leave in order.
    writing: Mutex<Written>,
}

/// How the output was left.
#[derive(Default)]
struct Written {
    /// In the middle of a line.
    is_torn: bool,
    /// It took nothing for so long that it is not waited for again before it takes something.
    is_stuck: bool,
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
        let mut written = lock(&self.writing);
        let lines = std::mem::take(&mut *lock(&self.gathered));
        let lost = written.write(&mut io::stdout().lock(), &lines);
        if lost > 0 {
            metrics::counter!("kisum_log_lines_lost_total").increment(lost);
        }
    }
}

impl Written {
    /// Writes lines; says how many of them did not get out whole.
    fn write(&mut self, out: &mut impl Write, lines: &[u8]) -> u64 {
        let mut waits = if self.is_stuck { 0 } else { ATTEMPTS_MAX };
        if self.is_torn && put_out(out, b"\n", &mut waits).is_empty() {
            self.is_torn = false;
        }
        let left = if self.is_torn { lines } else { put_out(out, lines, &mut waits) };
        let done = lines.len().saturating_sub(left.len());
        if done > 0 {
            self.is_torn = lines.get(done.saturating_sub(1)) != Some(&b'\n');
        }
        self.is_stuck = !left.is_empty() && waits == 0;
        // There is nowhere left to report that the log cannot be written, but to count it.
        left.iter().filter(|byte| **byte == b'\n').count().try_into().unwrap_or(u64::MAX)
    }
}

/// Writes bytes from where the output stopped taking them, as long as `waits` last; what is left did not get out.
fn put_out<'a>(out: &mut impl Write, mut bytes: &'a [u8], waits: &mut u32) -> &'a [u8] {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return bytes,
            Ok(taken) => bytes = bytes.get(taken..).unwrap_or_default(),
            Err(error) if again(&error, waits) => {}
            Err(_) => return bytes,
        }
    }
    // What the output keeps back after a partial write; what it cannot give on now goes with the next lines.
    while let Err(error) = out.flush() {
        if !again(&error, waits) {
            break;
        }
    }
    bytes
}

/// Whether it is worth another attempt, which is waited for.
fn again(error: &io::Error, waits: &mut u32) -> bool {
    match error.kind() {
        ErrorKind::Interrupted => true,
        ErrorKind::WouldBlock if *waits > 0 => {
            *waits -= 1;
            thread::sleep(PAUSE);
            true
        }
        _ => false,
    }
}

/// A thread that panicked while it held lines left them whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{ATTEMPTS_MAX, Written};
    use std::io::{self, ErrorKind, Write};

    /// Takes so many bytes at a time, and in between so often nothing.
    struct Narrow {
        taken: Vec<u8>,
        at_once: usize,
        refusals: u32,
        left: u32,
        is_closed: bool,
    }

    impl Narrow {
        fn new(at_once: usize, refusals: u32) -> Self {
            Self { taken: Vec::new(), at_once, refusals, left: refusals, is_closed: false }
        }

        fn text(&self) -> &str {
            std::str::from_utf8(&self.taken).unwrap()
        }
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.is_closed {
                return Err(ErrorKind::BrokenPipe.into());
            }
            if self.left > 0 {
                self.left -= 1;
                return Err(ErrorKind::WouldBlock.into());
            }
            self.left = self.refusals;
            let taken = bytes.len().min(self.at_once);
            self.taken.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_output_that_takes_a_part_and_then_nothing_for_a_while_gets_every_line_once() {
        let (mut out, mut written) = (Narrow::new(3, 2), Written::default());
        assert_eq!(written.write(&mut out, b"first\nsecond\n"), 0);
        assert_eq!(written.write(&mut out, b"third\n"), 0);
        assert_eq!(out.text(), "first\nsecond\nthird\n");
    }

    #[test]
    fn what_is_lost_is_counted_and_the_next_line_stands_alone() {
        let (mut out, mut written) = (Narrow::new(8, 0), Written::default());
        assert_eq!(written.write(&mut out, b"first\n"), 0);
        (out.at_once, out.refusals) = (3, ATTEMPTS_MAX + 1);
        assert_eq!(written.write(&mut out, b"second\nthird\n"), 2, "it took \"sec\" and then nothing for a second");
        // Nobody waits for it again: one attempt each.
        out.left = 2;
        assert_eq!(written.write(&mut out, b"fourth\n"), 1);
        assert_eq!(written.write(&mut out, b"fifth\n"), 1);
        (out.at_once, out.refusals, out.left) = (100, 0, 0);
        assert_eq!(written.write(&mut out, b"sixth\n"), 0);
        assert_eq!(out.text(), "first\nsec\nsixth\n");
        out.is_closed = true;
        assert_eq!(written.write(&mut out, b"a\nb\n"), 2);
    }
}
