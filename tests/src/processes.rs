//! Processes that a test runs beside a stack: writers, and relays of its own. Each dies with the test.

use crate::{counted::new_uuid, writer};
use kisum::local::{
    Part, Stack,
    child::{Child, Plan, Signal, StopBy},
};
use std::{collections::BTreeMap, fs, os::unix::process::ExitStatusExt as _, path::PathBuf, time::Duration};

/// The longest wait for anything on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(2);

/// A running process and what it prints.
#[derive(Debug)]
pub struct Process {
    child: Child,
    output: PathBuf,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By SIGKILL.
    Killed,
    /// By itself, with this code.
    With(i32),
}

impl Process {
    /// Starts a program with these variables and no others.
    pub fn start(stack: &Stack, name: &str, command: Vec<String>, environment: BTreeMap<String, String>) -> Self {
        let name = format!("{name}-{}", new_uuid().simple());
        let output = stack.layout().log(&name);
        let child = Child::start(Plan {
            name,
            command,
            environment,
            folder: stack.layout().root().to_owned(),
            log: output.clone(),
            run: stack.layout().run(),
            // It may be frozen when the test dies, and then only this ends it.
            stop: StopBy { signal: Signal::Kill, patience_secs: 1 },
        });
        Self { child: child.unwrap_or_else(|failure| panic!("{failure}")), output }
    }

    /// The relay of the auth log, on any port, with other variables than a stack's where `changed` says so.
    pub fn relay(stack: &Stack, changed: &[(&str, &str)]) -> Self {
        Self::service(stack, Part::RelayAuth, changed)
    }

    /// One more process of a service of a stack, on any ports, with other variables where `changed` says so.
    pub fn service(stack: &Stack, part: Part, changed: &[(&str, &str)]) -> Self {
        let mut environment = stack.environment(part).unwrap_or_else(|failure| panic!("{failure}"));
        for listener in ["LISTEN_ADDR", "OPS_LISTEN_ADDR"] {
            environment.entry(listener.to_owned()).and_modify(|address| "127.0.0.1:0".clone_into(address));
        }
        environment.extend(changed.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let binary = kisum::local::stack::binary_beside_this().unwrap_or_else(|failure| panic!("{failure}"));
        let mut command = vec![binary.display().to_string()];
        command.extend(part.serve_arguments().iter().map(|&word| word.to_owned()));
        Self::start(stack, part.name(), command, environment)
    }

    /// A `kisum-writer`, with `failpoints` armed unless they are empty.
    pub fn writer(stack: &Stack, binary: &str, url: &str, task: &writer::Task, failpoints: &str) -> Self {
        let mut command = vec![binary.to_owned()];
        command.extend(task.arguments());
        let environment = BTreeMap::from([
            (writer::URL_VARIABLE.to_owned(), url.to_owned()),
            ("FAILPOINTS".to_owned(), failpoints.to_owned()),
        ]);
        Self::start(stack, "writer", command, environment)
    }

    /// Every whole line it has printed so far.
    pub fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.output).unwrap_or_default();
        text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect()
    }

    /// Waits until the printed lines are as wanted.
    pub async fn until(&self, what: &str, holds: impl Fn(&[String]) -> bool) {
        let waiting = async {
            while !holds(&self.lines()) {
                tokio::time::sleep(PAUSE).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(waited.is_ok(), "{what} did not come about; it said {:?}", self.lines());
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.child.signal(signal);
    }

    /// Waits until it has ended by itself, or was killed, and returns all that it printed.
    pub async fn ended(mut self) -> (Ended, Vec<String>) {
        let status = tokio::time::timeout(PATIENCE, self.child.ended()).await;
        let status = status.unwrap_or_else(|_| panic!("it did not end; it said {:?}", self.lines()));
        let status = status.unwrap_or_else(|| panic!("it ended without a status"));
        let ended = if status.signal() == Some(9) { Ended::Killed } else { Ended::With(status.code().unwrap_or(-1)) };
        let lines = self.lines();
        self.child.kill().await;
        (ended, lines)
    }

    /// Asks it to stop, which it does without complaint: it has not halted.
    pub async fn stopped_in_order(self) {
        self.signal(Signal::Continue);
        self.signal(Signal::Term);
        let (ended, lines) = self.ended().await;
        assert_eq!(ended, Ended::With(0), "{:?}", lines.last());
    }

    /// Kills it.
    pub async fn kill(self) {
        self.child.kill().await;
    }
}
