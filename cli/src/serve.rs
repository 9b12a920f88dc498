//! `kisum serve <service>`: one service as a process, with its own configuration, until a signal.
//!
//! What a service does is its own affair (`kisum-api`, `kisum-log`); here stand only the choice and the exit code.

use anyhow::Result;
use kisum_api::shared::{env::Env, server::ServeError, telemetry};
use std::{error::Error, process::ExitCode};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// What `kisum serve` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    service: Service,
}

#[derive(Clone, Copy, Debug, clap::Subcommand)]
enum Service {
    /// Identity, memberships, and the access context.
    Auth,
    /// Catalog, subscriptions, entitlements; internal listener only.
    Core,
    /// The business backend Basic.
    Basic,
    /// The business backend Finance.
    Finance,
    /// The relay of one log: its stream, its heads, its log route. Any number of them may run.
    Relay {
        /// Which log.
        #[arg(long)]
        log: Log,
    },
}

/// A log, as the command line names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Log {
    /// The auth log.
    Auth,
    /// The core log.
    Core,
}

impl From<Log> for kisum_events::Log {
    fn from(log: Log) -> Self {
        match log {
            Log::Auth => Self::Auth,
            Log::Core => Self::Core,
        }
    }
}

/// Runs the service until SIGTERM or SIGINT.
///
/// # Errors
/// What the service could not start without.
pub async fn run(args: Args) -> Result<ExitCode> {
    let env = Env::from_process();
    let shutdown = shutdown_signal()?;
    let served = match args.service {
        Service::Auth => kisum_api::auth::run(env, shutdown).await,
        Service::Core => kisum_api::core::run(env, shutdown).await,
        Service::Basic => kisum_api::basic::run(env, shutdown).await,
        Service::Finance => kisum_api::finance::run(env, shutdown).await,
        Service::Relay { log } => kisum_api::relay::run(env, log.into(), shutdown).await,
    };
    telemetry::flush().await;
    served?;
    Ok(ExitCode::SUCCESS)
}

/// Turns true at the first SIGTERM or SIGINT. A second one ends the process at once.
///
/// # Errors
/// When the operating system lets no handler be set.
pub fn shutdown_signal() -> std::io::Result<watch::Receiver<bool>> {
    let (say, hear) = watch::channel(false);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        let _ = say.send(true);
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        // 128 + SIGINT, as a shell reports it. Children are on leashes and end with this process.
        std::process::exit(130);
    });
    Ok(hear)
}

/// The exit code that a service's failure asks for.
pub fn exit_code(cause: &(dyn Error + 'static)) -> Option<u8> {
    cause.downcast_ref::<ServeError>().map(ServeError::exit_code)
}
