//! Which events are shown, and how one looks.

use anyhow::Result;
use kisum_events::{Actor, CompanyId, Envelope, Log, Position, UserId};
use kisum_log::{read, read_head};
use kisum_projectors::{EventKey, EventSearch};
use sqlx::PgPool;
use std::process::ExitCode;

/// Events read at once while looking for those that are wanted.
const CHUNK: i64 = 1000;

/// What `kisum log show` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The first position.
    #[arg(default_value_t = 1)]
    position: Position,
    /// How many at most.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    limit: u64,
    /// Of this person: their account, their sessions, their memberships, and whatever else names them.
    #[arg(long)]
    person: Option<UserId>,
    #[command(flatten)]
    filter: Filter,
}

impl Args {
    /// What to look up in the index: what finds least.
    fn key(&self) -> Option<EventKey> {
        let actor = || self.filter.actor.clone().map(EventKey::Actor);
        let company = || self.filter.company.map(EventKey::Company);
        self.person.map(EventKey::Person).or_else(actor).or_else(company)
    }
}

/// Which events; without any of these, all.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Filter {
    /// Of this company.
    #[arg(long)]
    company: Option<CompanyId>,
    /// By this actor: `user:{uuid}`, `service:{name}` or `system`.
    #[arg(long)]
    actor: Option<Actor>,
    /// Of this stream, such as `membership-…`, or of this kind of stream, such as `membership`.
    #[arg(long)]
    stream: Option<String>,
    /// Of this type, such as `membership.module_granted`.
    #[arg(long = "type")]
    event_type: Option<String>,
}

impl Filter {
    /// Whether an event is wanted.
    pub(super) fn takes(&self, event: &Envelope) -> bool {
        self.company.is_none_or(|company| event.company_id == Some(company))
            && self.actor.as_ref().is_none_or(|actor| event.meta.actor == *actor)
            && self.stream.as_ref().is_none_or(|name| event.stream.as_str() == name || event.stream.kind() == name)
            && self.event_type.as_ref().is_none_or(|wanted| event.event_type == *wanted)
    }
}

/// Shows what is asked for, in order of position.
pub(super) async fn run(
    pool: &PgPool,
    log: Log,
    wanted: &Args,
    print: impl Fn(&Envelope) -> Result<()>,
) -> Result<ExitCode> {
    let mut conn = pool.acquire().await?;
    let head = read_head(&mut conn).await?;
    let position = wanted.position;
    anyhow::ensure!(
        position <= head.position.max(1),
        "position {position} is beyond the head of the {log} log, {}",
        head.position
    );
    let mut after = position.saturating_sub(1);
    let mut search = wanted.key().map(|key| EventSearch::new(log, key, after));
    let mut left = usize::try_from(wanted.limit)?;
    while left > 0 {
        let events = match &mut search {
            Some(search) => search.next(&mut conn).await?,
            None => {
                let events = read(&mut conn, log, after, CHUNK, None).await?;
                after = events.last().map_or(after, |last| last.position);
                (!events.is_empty()).then_some(events)
            }
        };
        let Some(events) = events else { break };
        for event in events.iter().filter(|event| wanted.filter.takes(event)).take(left) {
            print(event)?;
            left = left.saturating_sub(1);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One event: a line for people, an object for programs.
pub(super) fn print(event: &Envelope, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(event)?);
    } else {
        println!(
            "{:>8}  {}  {:<7}  {}  {}@{}  {}  {}",
            event.position,
            event.recorded_at,
            event.effect.name(),
            event.event_type,
            event.stream,
            event.version,
            event.meta.actor,
            event.data.get()
        );
    }
    Ok(())
}
