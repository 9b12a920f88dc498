//! Processes that an earlier run left behind: who they are, and how they are stopped.
//!
//! A process id alone proves nothing, since ids are reused; a note therefore holds the id and when the process began.

use super::{Failure, child::Signal};
use crate::ambient::Stopwatch;
use std::{fs, path::Path, time::Duration};

/// How long a leftover may take to stop before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(15);
/// How often it is looked at meanwhile.
const PAUSE: Duration = Duration::from_millis(50);

/// Notes a process under a name.
///
/// # Errors
/// When the folder cannot be written.
pub fn note(run: &Path, name: &str, pid: u32) -> Result<(), Failure> {
    let path = run.join(format!("{name}.pid"));
    fs::write(&path, identity(pid)).map_err(|error| Failure::io(format!("writing {}", path.display()), &error))
}

/// The note of this very process, for the lock.
pub fn own_note() -> String {
    identity(std::process::id())
}

/// One whole line, as shells read it.
fn identity(pid: u32) -> String {
    format!("{pid} {}\n", began(pid).unwrap_or_default())
}

/// Removes the note: the process has ended.
pub fn forget(run: &Path, name: &str) {
    let _ = fs::remove_file(run.join(format!("{name}.pid")));
}

/// The process noted under a name, if it is still that very process.
pub fn noted(run: &Path, name: &str) -> Option<u32> {
    let text = fs::read_to_string(run.join(format!("{name}.pid"))).ok()?;
    let (pid, noted) = text.trim().split_once(' ')?;
    let pid = pid.parse().ok()?;
    (began(pid)? == noted.trim()).then_some(pid)
}

/// Stops every noted process that still runs, services before servers, and removes the notes.
///
/// # Errors
/// When one of them survives even SIGKILL.
pub async fn stop(run: &Path) -> Result<Vec<String>, Failure> {
    let mut names: Vec<String> = fs::read_dir(run)
        .map_err(|error| Failure::io(format!("reading {}", run.display()), &error))?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".pid").map(str::to_owned))
        .collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.parse::<super::Part>().ok()));
    let mut stopped = Vec::new();
    for name in names {
        if let Some(pid) = noted(run, &name) {
            stop_one(run, &name, pid).await?;
            stopped.push(name.clone());
        }
        forget(run, &name);
    }
    Ok(stopped)
}

/// Asks, waits, kills. SIGINT is what every part understands as an orderly stop (PostgreSQL: fast shutdown).
async fn stop_one(run: &Path, name: &str, pid: u32) -> Result<(), Failure> {
    send(pid, Signal::Continue);
    send(pid, Signal::Int);
    let started = Stopwatch::start();
    let mut killed = false;
    while noted(run, name) == Some(pid) {
        if started.elapsed() > STOP_PATIENCE && !killed {
            send(pid, Signal::Kill);
            killed = true;
        }
        if started.elapsed() > STOP_PATIENCE * 2 {
            return Err(Failure::new(
                format!("{name} (process {pid}) of an earlier run does not end"),
                format!("end it with `kill -9 {pid}` and try again"),
            ));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Sends a signal; a process that is gone is no error.
pub fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal.number());
    }
}

/// When a process began, as the operating system writes it; none if it has ended (a zombie has).
fn began(pid: u32) -> Option<String> {
    if cfg!(target_os = "linux") {
        // proc(5): after the command in parentheses come the state and, 19 fields on, the start in clock ticks.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        if matches!(fields.next()?, "Z" | "X") {
            return None;
        }
        return fields.nth(18).map(str::to_owned);
    }
    let output = std::process::Command::new("ps").args(["-o", "lstart=", "-p", &pid.to_string()]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.split_whitespace().collect::<Vec<_>>().join("-");
    (!text.is_empty()).then_some(text)
}

/// The command line of a process; none if it has ended or hides it.
pub fn command_line(pid: u32) -> Option<String> {
    if cfg!(target_os = "linux") {
        let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let text = String::from_utf8_lossy(&bytes).replace('\0', " ");
        return (!text.trim().is_empty()).then_some(text);
    }
    let output = std::process::Command::new("ps").args(["-o", "command=", "-p", &pid.to_string()]).output().ok()?;
    String::from_utf8(output.stdout).ok().filter(|text| !text.trim().is_empty())
}
