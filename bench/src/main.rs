//! Load generators and their reports: `./dev bench [name]`. Every figure stands beside a reference of the same run.

mod access;
mod ambient;
mod auth;
mod companies;
mod guard;
mod load;
mod log;
mod platform;
mod report;
mod workers;

use clap::{Parser, Subcommand};

/// Measures the platform on this machine.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// `/auth/me/access` from memory, Redis and states beside a bare route; commands; a projection's lag; memory.
    Access(access::Options),
    /// Sign-ins beside raw hashes, other routes during a login flood, refreshes beside raw signatures, many sessions.
    Auth(auth::Options),
    /// Commands, lists and access in a company of fifty thousand members and five hundred roles beside a small one's, and a
    /// role that all of them hold being changed.
    Companies(companies::Options),
    /// A decision beside those of other engines, a guarded request beside a bare one, and how soon a revocation is
    /// honoured.
    Guard(guard::Options),
    /// Appending beside plain inserts, following beside COPY, the relay, and how soon a follower sees a commit.
    Log(log::Options),
    /// One process of writers, as `log` starts them.
    #[command(hide = true)]
    LogWriters(log::Writers),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().bench {
        Bench::Access(options) => access::run(options).await,
        Bench::Auth(options) => auth::run(options).await,
        Bench::Companies(options) => companies::run(options).await,
        Bench::Guard(options) => guard::run(options).await,
        Bench::Log(options) => log::run(options).await,
        Bench::LogWriters(options) => log::write(options).await,
    }
}
