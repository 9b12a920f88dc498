//! Writers that append one event at a time, each to a stream of its own: in this process, or in several.

use super::{
    open,
    subject::{Counted, Happened, filler},
};
use crate::{
    ambient,
    workers::{Measured, workers},
};
use anyhow::Context as _;
use kisum_events::{Actor, Meta, StreamName};
use kisum_log::{Append, EventLog, Loaded};
use serde::{Deserialize, Serialize};
use std::{process::Stdio, time::Duration};
use tokio::{io::AsyncWriteExt as _, process::Command};

pub(super) async fn in_this_process(log: &EventLog, writers: usize, seconds: Duration) -> anyhow::Result<Measured> {
    workers(writers, |_| {
        let log = log.clone();
        async move {
            let meta = Meta::new(Actor::System, ambient::new_request());
            let stream = StreamName::from_stored(format!("bench-{}", ambient::new_uuid()));
            let mut loaded: Loaded<Counted> = Loaded::new_stream(stream);
            let (mut events, mut took) = (0, Vec::new());
            let started = ambient::now();
            while started.elapsed() < seconds {
                let request = ambient::new_request();
                let mut append = Append::new(request, Meta { request_id: request, ..meta.clone() });
                let state = append.write(&loaded, vec![Happened::Happened { filler: filler() }])?;
                let asked = ambient::now();
                let receipt = log.append(append).await?;
                took.push(asked.elapsed().as_secs_f64() * 1000.0);
                events += 1;
                loaded = Loaded { version: loaded.version + 1, position: receipt.last, state, ..loaded };
            }
            Ok((events, took))
        }
    })
    .await
}

/// Options of the hidden command that a process of writers runs. It reads the log's URL from its standard input, and
/// begins at once.
#[derive(clap::Args)]
pub(crate) struct Writers {
    #[arg(long)]
    writers: usize,
    #[arg(long)]
    seconds: u64,
}

/// What such a process says.
#[derive(Serialize, Deserialize)]
struct Written {
    rate: f64,
    took: Vec<f64>,
}

/// Runs writers as a process of their own.
pub(crate) async fn write(options: Writers) -> anyhow::Result<()> {
    let url = std::io::read_to_string(std::io::stdin())?;
    let log = open(url.trim()).await?;
    let (rate, took) = in_this_process(&log, options.writers, Duration::from_secs(options.seconds)).await?;
    println!("{}", serde_json::to_string(&Written { rate, took })?);
    Ok(())
}

/// The same in `count` processes at once.
pub(super) async fn in_processes(
    url: &str,
    count: usize,
    writers: usize,
    seconds: Duration,
) -> anyhow::Result<Measured> {
    let mut children = Vec::new();
    for _ in 0..count {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["log-writers", "--writers", &writers.to_string(), "--seconds", &seconds.as_secs().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        // Not on its command line, where others would see the password.
        let mut stdin = child.stdin.take().context("the child has a standard input")?;
        stdin.write_all(url.as_bytes()).await?;
        drop(stdin);
        children.push(child);
    }
    let (mut rate, mut took) = (0.0, Vec::new());
    for child in children {
        let output = child.wait_with_output().await?;
        anyhow::ensure!(output.status.success(), "a process of writers failed");
        let mut written: Written = serde_json::from_slice(&output.stdout)?;
        rate += written.rate;
        took.append(&mut written.took);
    }
    Ok((rate, took))
}
