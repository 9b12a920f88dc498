//! Supervised children: each dies when this process dies, whatever kills it, and says why when it dies by itself.
//!
//! A child runs on a leash (`leash.sh`): it ends when a pipe closes whose writing end only this process holds. That
//! works for kill -9 too, on every Unix, and does not depend on which thread spawned the child, as Linux's
//! parent-death signal does. A child sits in a process group of its own, so Ctrl-C reaches only this process, which
//! then stops its children in order.

use super::{Failure, leftovers};
use crate::ambient::Stopwatch;
use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{io::AsyncWriteExt as _, process::ChildStdin, time};

/// A log that has grown past this is set aside as `<name>.log.1` when its process starts again.
const LOG_BYTES_MAX: u64 = 16 << 20;
/// How much of a log's end is searched for the last words of a process.
const LOG_TAIL_BYTES: u64 = 8 << 10;
/// How many of the last lines a failure quotes.
const LOG_TAIL_LINES: usize = 3;
/// The pause between two looks at a starting process grows between these.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(250);
/// How long a process may take to vanish after SIGKILL.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// How a process is asked to stop, and how long it may take before it is killed.
#[derive(Clone, Copy, Debug)]
pub struct StopBy {
    /// The signal that asks.
    pub signal: Signal,
    /// Whole seconds until SIGKILL follows.
    pub patience_secs: u16,
}

/// The signals this module sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, an orderly stop.
    Term,
    /// SIGINT, PostgreSQL's fast shutdown.
    Int,
    /// SIGHUP: nats-server reads its configuration again.
    Hangup,
    /// SIGQUIT, PostgreSQL's immediate shutdown, which leaves recovery to the next start.
    Quit,
    /// SIGKILL.
    Kill,
    /// SIGSTOP: the process freezes.
    Stop,
    /// SIGCONT: it goes on.
    Continue,
}

impl Signal {
    const fn name(self) -> &'static str {
        match self {
            Self::Term => "TERM",
            Self::Int => "INT",
            Self::Hangup => "HUP",
            Self::Quit => "QUIT",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Continue => "CONT",
        }
    }

    pub(super) const fn number(self) -> rustix::process::Signal {
        match self {
            Self::Term => rustix::process::Signal::TERM,
            Self::Int => rustix::process::Signal::INT,
            Self::Hangup => rustix::process::Signal::HUP,
            Self::Quit => rustix::process::Signal::QUIT,
            Self::Kill => rustix::process::Signal::KILL,
            Self::Stop => rustix::process::Signal::STOP,
            Self::Continue => rustix::process::Signal::CONT,
        }
    }
}

/// What to run.
#[derive(Debug)]
pub struct Plan {
    /// Names the log file, the pid file, and the process in messages.
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Its whole environment; nothing else is inherited but what [`inherited`] lists.
    pub environment: BTreeMap<String, String>,
    /// Its working directory.
    pub folder: PathBuf,
    /// Where its output is appended.
    pub log: PathBuf,
    /// Where process ids are noted.
    pub run: PathBuf,
    /// How it is stopped, by this process or, once that is dead, by the leash.
    pub stop: StopBy,
}

/// Why a child that runs is not ready.
#[derive(Debug)]
pub enum NotReady {
    /// It does not answer; its log may say why.
    Silent,
    /// It answers what it still waits for.
    Says(String),
    /// It answers that waiting is in vain.
    Never(String),
}

/// The variables that a child takes over from this process: where programs are, how time and text are written, and
/// what a developer sets to see more.
pub fn inherited() -> BTreeMap<String, String> {
    const NAMES: [&str; 10] = [
        "PATH",
        "HOME",
        "TMPDIR",
        "TZ",
        "LANG",
        "RUST_LOG",
        "RUST_BACKTRACE",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    ];
    let mut variables = crate::ambient::variables();
    variables.retain(|name, _| NAMES.contains(&name.as_str()));
    variables
}

/// A running child. Dropping it stops it: the leash's pipe closes.
#[derive(Debug)]
pub struct Child {
    plan: Plan,
    pid: u32,
    process: tokio::process::Child,
    leash: ChildStdin,
}

impl Child {
    /// Starts the process. It may not be ready yet, and it may be about to die: see [`Child::exited`].
    ///
    /// # Errors
    /// When the log cannot be opened or the shell cannot be run; a missing program shows as an early exit.
    pub fn start(plan: Plan) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::io(format!("starting {}", plan.name), &error);
        set_aside_long_log(&plan.log);
        let log = fs::OpenOptions::new().create(true).append(true).open(&plan.log).map_err(failed)?;
        let mut command = tokio::process::Command::new("/bin/sh");
        command
            .arg(plan.run.join("leash.sh"))
            .args([plan.stop.signal.name(), &plan.stop.patience_secs.to_string()])
            .args(&plan.command)
            .env_clear()
            .envs(inherited())
            .envs(&plan.environment)
            .current_dir(&plan.folder)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            .process_group(0);
        let mut process = command.spawn().map_err(failed)?;
        let (Some(pid), Some(leash)) = (process.id(), process.stdin.take()) else {
            return Err(Failure::new(format!("{} ended while it was started", plan.name), "try again"));
        };
        leftovers::note(&plan.run, &plan.name, pid)?;
        Ok(Self { plan, pid, process, leash })
    }

    /// The process id, of the program itself.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Its name in log files and messages.
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// The exit status, if it has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().ok().flatten()
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self) -> Option<ExitStatus> {
        self.process.wait().await.ok()
    }

    /// Sends a signal; a process that has ended already is no error.
    pub fn signal(&self, signal: Signal) {
        if self.process.id().is_some() {
            leftovers::send(self.pid, signal);
        }
    }

    /// Stops it in order: asks, waits, kills. Returns when it is gone.
    pub async fn stop(mut self) {
        self.signal(Signal::Continue);
        self.signal(self.plan.stop.signal);
        let patience = Duration::from_secs(self.plan.stop.patience_secs.into());
        if time::timeout(patience, self.process.wait()).await.is_err() {
            self.signal(Signal::Kill);
            let _ = time::timeout(KILL_PATIENCE, self.process.wait()).await;
        }
        self.release().await;
    }

    /// Kills it at once, as a crash would. Returns when it is gone.
    pub async fn kill(mut self) {
        self.signal(Signal::Kill);
        let _ = time::timeout(KILL_PATIENCE, self.process.wait()).await;
        self.release().await;
    }

    /// One line about a death nobody asked for: how it ended, and its last words.
    pub fn obituary(&self, status: Option<ExitStatus>) -> Failure {
        let how = status.map_or_else(|| "without a status".to_owned(), |status| status.to_string());
        Failure::new(
            format!("{} stopped by itself ({how}): {}", self.plan.name, last_words(&self.plan.log)),
            format!("see {} and start again with `./dev up`", self.plan.log.display()),
        )
    }

    /// Waits until `ready` finds nothing wrong any more, the child dies, waiting is in vain, or the time is over.
    ///
    /// # Errors
    /// One line with what was wrong last, or the child's last words.
    pub async fn wait_until<F>(&mut self, limit: Duration, mut ready: impl FnMut() -> F) -> Result<(), Failure>
    where
        F: Future<Output = Result<(), NotReady>>,
    {
        let started = Stopwatch::start();
        let mut pause = PAUSE_MIN;
        loop {
            if let Some(status) = self.exited() {
                return Err(self.obituary(Some(status)));
            }
            let (wrong, in_vain) = match ready().await {
                Ok(()) => return Ok(()),
                Err(NotReady::Silent) => (None, false),
                Err(NotReady::Says(wrong)) => (Some(wrong), false),
                Err(NotReady::Never(wrong)) => (Some(wrong), true),
            };
            if in_vain || started.elapsed() > limit {
                let wrong = wrong.unwrap_or_else(|| last_words(&self.plan.log));
                return Err(Failure::new(
                    format!("{} is not ready after {} s: {wrong}", self.plan.name, started.elapsed().as_secs()),
                    format!("see {}", self.plan.log.display()),
                ));
            }
            time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Tells the leash that the process has ended, so that it does not signal a reused process id.
    async fn release(mut self) {
        let _ = self.leash.write_all(b"ended\n").await;
        leftovers::forget(&self.plan.run, &self.plan.name);
    }
}

/// Runs a command to its end on a leash, so that it too dies with this process.
///
/// # Errors
/// One line with its last words when it fails.
pub async fn run_to_end(plan: Plan) -> Result<(), Failure> {
    let mut child = Child::start(plan)?;
    let status = child.ended().await;
    if status.is_some_and(|status| status.success()) {
        child.release().await;
        return Ok(());
    }
    let failure = Failure::new(
        format!("{} failed: {}", child.plan.name, last_words(&child.plan.log)),
        format!("see {}", child.plan.log.display()),
    );
    child.release().await;
    Err(failure)
}

/// Removes a temporary stack's folders when this process dies, however it dies.
#[derive(Debug)]
pub struct Janitor {
    leash: ChildStdin,
    _process: tokio::process::Child,
}

impl Janitor {
    /// Watches from now on.
    ///
    /// # Errors
    /// When the shell cannot be run.
    pub fn watch(run: &Path, folders: &[PathBuf]) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::io("starting the clean-up of a temporary stack", &error);
        let mut process = tokio::process::Command::new("/bin/sh")
            .arg(run.join("janitor.sh"))
            .arg(run)
            .args(folders)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let leash = process
            .stdin
            .take()
            .ok_or_else(|| Failure::new("the clean-up of a temporary stack has no pipe", "try again"))?;
        Ok(Self { leash, _process: process })
    }

    /// The folders were removed in order; nothing is left to do.
    pub async fn dismiss(mut self) {
        let _ = self.leash.write_all(b"done\n").await;
    }
}

/// The last lines of a log, joined.
pub fn last_words(log: &Path) -> String {
    let mut text = Vec::new();
    let read = fs::File::open(log).and_then(|mut file| {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
        file.read_to_end(&mut text)
    });
    if read.is_err() || text.is_empty() {
        return "it said nothing".to_owned();
    }
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let tail = lines.len().saturating_sub(LOG_TAIL_LINES);
    lines.get(tail..).unwrap_or_default().join(" | ")
}

fn set_aside_long_log(log: &Path) {
    if fs::metadata(log).is_ok_and(|file| file.len() > LOG_BYTES_MAX) {
        let mut older = log.as_os_str().to_owned();
        older.push(".1");
        // A log that cannot be renamed grows further; that is no reason not to start.
        let _ = fs::rename(log, older);
    }
}
