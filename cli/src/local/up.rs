//! `kisum up`: the whole platform on one machine, from nothing to a table of addresses, until Ctrl-C.

use super::{Failure, Part, Stack, StackOptions, env_file, layout::Layout, leftovers, lock::Lock, progress::Progress};
use crate::{
    ambient::Stopwatch,
    platform::{Addresses, Platform},
    seed, serve, smoke,
};
use anyhow::Result;
use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

/// Ports from here on are tried first, since a person remembers them; others when they are taken.
const FIRST_PORT: u16 = 21_400;
/// PostgreSQL needs this much for a new cluster and its first write-ahead segments.
const FREE_BYTES_MIN: u64 = 512 << 20;
/// How often the children are looked at while the stack serves.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// What `kisum up` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder for data, logs, secrets and `env`.
    #[arg(long, default_value = ".kisum")]
    dir: PathBuf,
}

/// Brings everything up, serves until a signal, and stops everything in order.
///
/// # Errors
/// One line that says what failed and what to do; nothing is left running.
pub async fn run(args: Args) -> Result<ExitCode> {
    let watch = Stopwatch::start();
    let layout = Layout::create(&args.dir)?;
    let _lock = Lock::take(&layout)?;
    let _ = fs::remove_file(layout.ready());
    enough_space(&layout)?;
    let mut signal = serve::shutdown_signal()?;
    let progress = Progress::on_stderr();
    let outcome = tokio::select! {
        outcome = bring_up(&layout, progress) => Some(outcome),
        _ = signal.changed() => None,
    };
    let mut stack = match outcome {
        Some(Ok(stack)) => stack,
        Some(Err(error)) => {
            leftovers::stop(&layout.run()).await?;
            return Err(error);
        }
        // Dropping the half-made stack has let go of its children; wait until they are gone.
        None => {
            leftovers::stop(&layout.run()).await?;
            eprintln!("stopped before everything was up; `./dev up` goes on from here");
            return Ok(ExitCode::SUCCESS);
        }
    };
    print_table(&stack)?;
    fs::write(layout.ready(), leftovers::own_note()).map_err(|error| Failure::io("writing the ready mark", &error))?;
    println!("Up after {:.1} s. Ctrl-C stops everything; the data stays.", watch.elapsed().as_secs_f64());
    let fallen = loop {
        tokio::select! {
            _ = signal.changed() => break None,
            () = tokio::time::sleep(WATCH_INTERVAL) => {
                if let Some((_, failure)) = stack.fallen() {
                    break Some(failure);
                }
            }
        }
    };
    let _ = fs::remove_file(layout.ready());
    let stopped = async {
        stack.stop().await;
        Ok::<(), Failure>(())
    };
    progress.step("stopping", stopped).await?;
    fallen.map_or(Ok(ExitCode::SUCCESS), |failure| Err(failure.into()))
}

async fn bring_up(layout: &Layout, progress: Progress) -> Result<Stack> {
    let binary = std::env::current_exe().map_err(|error| Failure::io("finding this program", &error))?;
    let options =
        StackOptions { first_port: Some(FIRST_PORT), ..StackOptions::durable(layout.root().to_owned(), binary) };
    let mut stack = progress.step("ports, secrets and what an earlier run left", Stack::prepare(options)).await?;
    for server in Part::SERVERS {
        progress.step(&format!("server {server}"), stack.start_part(server)).await?;
    }
    progress.step("databases and migrations", stack.provision()).await?;
    progress.step("services", stack.start_services()).await?;
    env_file::write(&stack.ground())?;
    let addresses = Addresses::from_variables(&stack.variables()?)?;
    progress.step("demo data", seed::demo(&addresses)).await?;
    println!("\nSmoke check");
    let report = smoke::run(&Platform::new(addresses)?, smoke::Output::Lines).await;
    report.failure.map_or(Ok(stack), |failure| {
        Err(Failure::new(format!("the smoke check failed: {failure}"), "see the logs in .kisum/log").into())
    })
}

fn print_table(stack: &Stack) -> Result<(), Failure> {
    let variables = stack.variables()?;
    println!("\nAddresses (for a shell: source {})", stack.layout().env().display());
    for part in Part::SERVICES {
        let (public, ops) = stack.addresses_with(|at| (part.port().map(|_| at.public(part)), at.ops(part)));
        println!("  {:<12} {:<24} internal {ops}", part.name(), public.unwrap_or_default());
    }
    for server in Part::SERVERS {
        println!("  {:<12} {}", server.name(), stack.ground().ports.address(server.name()));
    }
    let password = variables.get("DEMO_PASSWORD").map_or("", String::as_str);
    println!("\nDemo logins (password of all: {password})");
    println!("  superadmin@ admin@ manager@ user@, each under one of");
    for company in crate::demo::companies() {
        let owns: Vec<&str> = company.package.iter().chain(&company.addons).map(String::as_str).collect();
        let owns = if owns.is_empty() { "nothing".to_owned() } else { owns.join(", ") };
        println!("  {:<24} owns {owns}", format!("{}.example", company.slug));
    }
    println!("  agent@agency.example     in acme-live and bright-books");
    let totp = variables.get("DEMO_ADMIN_TOTP_SECRET").map_or("", String::as_str);
    println!("  {:<24} owns the platform (authenticator app: {totp})\n", crate::demo::ADMIN_EMAIL);
    Ok(())
}

fn enough_space(layout: &Layout) -> Result<(), Failure> {
    let Ok(disk) = rustix::fs::statvfs(layout.root()) else { return Ok(()) };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free >= FREE_BYTES_MIN {
        return Ok(());
    }
    Err(Failure::new(
        format!("only {} MB are free where {} lies", free >> 20, layout.root().display()),
        format!("free at least {} MB and try again", FREE_BYTES_MIN >> 20),
    ))
}
