//! Which events are shown, and how one looks.

use anyhow::Result;
use kisum_events::{CompanyId, Envelope, Log, Position};
use kisum_log::read;
use sqlx::PgConnection;

/// Events read at once while looking for those that are wanted.
const CHUNK: i64 = 1000;

/// Which events; without any of these, all.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Filter {
    /// Of this company.
    #[arg(long)]
    company: Option<CompanyId>,
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
            && self.stream.as_ref().is_none_or(|name| event.stream.as_str() == name || event.stream.kind() == name)
            && self.event_type.as_ref().is_none_or(|wanted| event.event_type == *wanted)
    }
}

/// Shows up to `limit` events from `first` on.
pub(super) async fn events(
    conn: &mut PgConnection,
    log: Log,
    first: Position,
    limit: i64,
    filter: &Filter,
    print: impl Fn(&Envelope) -> Result<()>,
) -> Result<()> {
    let mut after = first.saturating_sub(1);
    let mut left = limit;
    while left > 0 {
        let events = read(&mut *conn, log, after, CHUNK, None).await?;
        let Some(last) = events.last() else { return Ok(()) };
        after = last.position;
        for event in events.iter().filter(|event| filter.takes(event)) {
            if left == 0 {
                break;
            }
            print(event)?;
            left -= 1;
        }
    }
    Ok(())
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
