//! `kisum`: one binary for every service and every operator's command. It parses, runs, and turns failures into exit
//! codes: 0 fine, 1 something is wrong, 2 usage, 3 a dependency is unreachable, 78 the environment is not usable.

use clap::{Parser, Subcommand};
use kisum::{
    keys,
    local::{failure::with_causes, up},
    log, migrate, platform, projections, seed, serve, service_token, smoke_command, staff, subscribers, usage,
};
use std::process::ExitCode;

/// The Kisum access platform.
#[derive(Debug, Parser)]
#[command(name = "kisum", version, propagate_version = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one service, configured by its environment, until SIGTERM or Ctrl-C.
    Serve(serve::Args),
    /// Run everything on this machine, with private servers under `.kisum/`.
    Up(up::Args),
    /// Bring a database to the newest migration, as its owner.
    Migrate(migrate::Args),
    /// Look at a log, follow it, verify it.
    Log(log::Args),
    /// Look at read models, compare them with their logs, repair them.
    Projections(projections::Args),
    /// Make the demo, and synthetic companies, through the running services.
    Seed(seed::Args),
    /// Check that the running platform keeps its promises.
    Smoke(smoke_command::Args),
    /// The platform's staff: the first owner.
    Staff(staff::Args),
    /// Durable consumers of services that need replay: who has one, and the right to fetch from it.
    Subscribers(subscribers::Args),
    /// The keys that sign access tokens, and those that wrap persons' keys.
    Keys(keys::Args),
    /// Print a service token for one request, for a person at a local platform.
    ServiceToken(service_token::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    #[cfg(feature = "failpoints")]
    kisum_log::fail_points::arm();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("kisum: no threads can be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli.command)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("kisum: {}", with_causes(error.as_ref()));
            ExitCode::from(exit_code(&error))
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(args) => serve::run(args).await,
        Command::Up(args) => up::run(args).await,
        Command::Migrate(args) => migrate::run(args).await,
        Command::Log(args) => log::run(args).await,
        Command::Projections(args) => projections::run(args).await,
        Command::Seed(args) => seed::run(args).await,
        Command::Smoke(args) => smoke_command::run(args).await,
        Command::Staff(args) => staff::run(args).await,
        Command::Subscribers(args) => subscribers::run(args).await,
        Command::Keys(args) => keys::run(args).await,
        Command::ServiceToken(args) => service_token::run(&args),
    }
}

/// The code that a failure asks for; 1 where it asks for none.
fn exit_code(error: &anyhow::Error) -> u8 {
    let asked = |cause| {
        let of_database =
            || migrate::exit_code(cause).or_else(|| log::exit_code(cause)).or_else(|| usage::exit_code(cause));
        let of_others = || {
            projections::exit_code(cause).or_else(|| subscribers::exit_code(cause)).or_else(|| keys::exit_code(cause))
        };
        serve::exit_code(cause).or_else(of_database).or_else(of_others).or_else(|| platform::exit_code(cause))
    };
    error.chain().find_map(asked).unwrap_or(1)
}
