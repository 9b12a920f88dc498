//! A subscriber: prints what a company owns whenever that changes, live, and after a restart goes on where it was.
//!
//! ```sh
//! kisum subscribers add billing --subjects "kisum.core.v1.access.$COMPANY.entitlement.changed"
//! NATS_NKEY=file:.kisum/secrets/subscriber-billing.nk cargo run -p kisum-log --example entitlements -- billing
//! ```
//!
//! Its place is kept by its durable consumer: an event that was not acknowledged is given out again. It may fetch from
//! that consumer and acknowledge to it, and nothing else, so it speaks the two subjects themselves.
#![expect(clippy::disallowed_methods, reason = "an example has no module of its own for the environment")]

use async_nats::{Client, ConnectOptions, Message, StatusCode};
use futures_util::StreamExt as _;
use kisum_events::{AnyEvent, Envelope, ModuleEntitlement, SubscriptionEvent, header};
use std::{env, error::Error, time::Duration};

type Failed = Box<dyn Error + Send + Sync>;

/// How long the server holds a request open while there is nothing new.
const WAIT: Duration = Duration::from_secs(2);
/// How much later its answer may arrive.
const GRACE: Duration = Duration::from_secs(1);

/// What a request came to.
enum Fetched {
    Event(Box<Message>),
    /// There is nothing new.
    Nothing,
    /// Nobody answers: there is no such consumer, or no way to the server.
    Silence,
}

/// What was printed last.
struct Last {
    epoch: u32,
    version: Option<u64>,
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let name = env::args().nth(1).ok_or("usage: entitlements <subscriber>, with NATS_URL and NATS_NKEY set")?;
    let nats = connect(&name).await?;
    let mut last = Last { epoch: 1, version: None };
    // An end is looked at without waiting, so that nobody waits at the end of an epoch that is over.
    let mut wait = None;
    loop {
        let found = fetch(&nats, &name, last.epoch, wait).await?;
        if let Fetched::Event(event) = found {
            take(&nats, &mut last, &event).await?;
            continue;
        }
        // A stream carries one epoch, so the end of one may mean that there is another.
        let next = fetch(&nats, &name, last.epoch + 1, None).await?;
        if matches!(next, Fetched::Silence) {
            wait = Some(WAIT);
            continue;
        }
        last = Last { epoch: last.epoch + 1, version: None };
        println!("epoch {}: what was known before counts no more", last.epoch);
        wait = None;
        if let Fetched::Event(event) = next {
            take(&nats, &mut last, &event).await?;
        }
    }
}

async fn connect(name: &str) -> Result<Client, Failed> {
    let seed = env::var("NATS_NKEY").map_err(|_| "NATS_NKEY is not set")?;
    let seed = match seed.strip_prefix("file:") {
        Some(path) => std::fs::read_to_string(path)?.trim().to_owned(),
        None => seed,
    };
    let url = env::var("NATS_URL").map_err(|_| "NATS_URL is not set")?;
    let options = ConnectOptions::with_nkey(seed).name(name).custom_inbox_prefix(format!("_INBOX.{name}"));
    Ok(options.connect(url).await?)
}

/// Asks the consumer on an epoch's stream for one event; without `wait`, for one that is there already.
async fn fetch(nats: &Client, name: &str, epoch: u32, wait: Option<Duration>) -> Result<Fetched, Failed> {
    let request = match wait {
        Some(wait) => format!(r#"{{"batch":1,"expires":{}}}"#, wait.as_nanos()),
        None => r#"{"batch":1,"no_wait":true}"#.to_owned(),
    };
    // An inbox for this request alone: what comes too late must not be taken for the answer to the next.
    let inbox = nats.new_inbox();
    let mut answers = nats.subscribe(inbox.clone()).await?;
    let subject = format!("$JS.API.CONSUMER.MSG.NEXT.CORE_{epoch}.{name}");
    nats.publish_with_reply(subject, inbox, request.into()).await?;
    let Ok(answer) = tokio::time::timeout(wait.unwrap_or_default() + GRACE, answers.next()).await else {
        return Ok(Fetched::Silence);
    };
    let answer = answer.ok_or("the connection is closed for good")?;
    Ok(match answer.status {
        None | Some(StatusCode::OK) => Fetched::Event(Box::new(answer)),
        Some(StatusCode::NO_RESPONDERS) => Fetched::Silence,
        Some(_) => Fetched::Nothing,
    })
}

/// Prints an event, then says that it was dealt with: a crash in between prints it twice, and none is lost.
async fn take(nats: &Client, last: &mut Last, message: &Message) -> Result<(), Failed> {
    let epoch = message.headers.as_ref().and_then(|headers| headers.get(header::EPOCH));
    if epoch.is_none_or(|epoch| epoch.as_str() != last.epoch.to_string()) {
        return Err(format!("the stream of epoch {} holds an event of epoch {epoch:?}", last.epoch).into());
    }
    let envelope: Envelope = serde_json::from_slice(&message.payload)?;
    // An event that this version cannot read stops it: to skip one is to be wrong for ever.
    match envelope.decode()? {
        AnyEvent::Subscription(SubscriptionEvent::EntitlementChanged {
            entitlements,
            entitlement_version: version,
            previous_entitlement_version: previous,
            ..
        }) => {
            // Given out again because the acknowledgement was lost.
            if last.version.is_none_or(|printed| version > printed) {
                if let Some(missed) = last.version.filter(|printed| *printed != previous) {
                    println!("hole: the change before is {previous}, and {missed} was the last one here");
                }
                let owned: Vec<String> = entitlements.iter().map(described).collect();
                let owned = if owned.is_empty() { "nothing".to_owned() } else { owned.join(", ") };
                println!("version {version} after {previous}: {owned}");
                last.version = Some(version);
            }
        }
        _ => println!("{} at {} is not about entitlements", envelope.event_type, envelope.position),
    }
    let acknowledge = message.reply.clone().ok_or("the event says nowhere to acknowledge it")?;
    nats.publish(acknowledge, "+ACK".into()).await?;
    Ok(nats.flush().await?)
}

fn described(one: &ModuleEntitlement) -> String {
    let until = one.until.map_or_else(String::new, |until| format!(" until {until}"));
    format!("{} from {}{until}", one.module, one.from)
}
