//! `kisum subscribers`: who replays a log through a durable consumer, and the right to fetch from it.
//!
//! It works as the NATS administrator. At a local platform it also puts the subscriber's account in force; elsewhere
//! the server's configuration is the operator's, and it prints what belongs there.

use crate::{
    ambient,
    local::{
        keys,
        subscribers::{LocalNats, account, ack_subject, address, fetch_subject},
    },
    usage::Usage,
};
use anyhow::Result;
use kisum_api::shared::{bus, config::Secret};
use kisum_log::{ProvisionError, StreamsError, Subscriber, SubscriberSubjects, Subscribers};
use serde_json::{Value, json};
use std::{error::Error, path::PathBuf, process::ExitCode};

/// The variable with the NATS administrator's URL.
const NATS_VARIABLE: &str = "NATS_ADMIN_URL";
/// Longest name: it is a part of subjects and of a file's name.
const NAME_MAX: usize = 32;

/// What `kisum subscribers` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// The NATS administrator's URL; without it, the variable `NATS_ADMIN_URL`.
    #[arg(long, global = true, hide_env_values = true)]
    nats_url: Option<String>,
    /// The folder of the local platform, whose server is told by itself.
    #[arg(long, global = true, default_value = ".kisum")]
    dir: PathBuf,
    /// Print JSON, one object a line.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Give a service a durable consumer on the current epoch's stream, and the right to fetch from it and no other.
    /// Said again, it changes nothing; after a new epoch, it adds the consumer on the new stream.
    Add {
        /// The service: lower-case letters, digits and hyphens.
        #[arg(value_parser = name)]
        name: String,
        /// `kisum.{auth|core}.v1.{access|info}.{company|*}.{type|>}`, of one log.
        #[arg(long, required = true, num_args = 1.., value_delimiter = ',')]
        subjects: Vec<String>,
        /// Elsewhere than at a local platform: the public key (U…) of a key that the service has made for itself.
        #[arg(long, value_parser = nkey)]
        nkey: Option<String>,
    },
    /// Who has a consumer, on which stream, and how far it is. Exit code 1 when somebody's epoch is over and nobody
    /// has given them a consumer of the new one.
    List,
    /// Take a service's consumers and its right away. Its place is lost.
    Remove {
        /// The service.
        #[arg(value_parser = name)]
        name: String,
    },
}

fn name(text: &str) -> Result<String, String> {
    let is_fine = (1..=NAME_MAX).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let wanted = || format!("a name has 1 to {NAME_MAX} lower-case letters, digits and hyphens, a letter first");
    if is_fine { Ok(text.to_owned()) } else { Err(wanted()) }
}

fn nkey(text: &str) -> Result<String, String> {
    if keys::is_nats_user(text) { Ok(text.to_owned()) } else { Err("this is no public key of a NATS user".to_owned()) }
}

/// NATS cannot be reached as its administrator: exit code 3.
#[derive(Debug, thiserror::Error)]
#[error("NATS cannot be reached as its administrator")]
struct Unreachable(#[source] Box<dyn Error + Send + Sync>);

/// 3 when NATS cannot be reached, 1 when it refuses.
pub fn exit_code(cause: &(dyn Error + 'static)) -> Option<u8> {
    let unreachable = cause.downcast_ref::<Unreachable>().map(|_| 3);
    let streams = || cause.downcast_ref::<StreamsError>().map(|_| 3);
    let provision = || match cause.downcast_ref::<ProvisionError>()? {
        ProvisionError::Streams(_) => Some(3),
        _ => Some(1),
    };
    unreachable.or_else(provision).or_else(streams)
}

/// Runs the command.
///
/// # Errors
/// Subjects that are none, a name that is taken by something else, NATS that cannot be reached.
pub async fn run(args: Args) -> Result<ExitCode> {
    // What is wrong with the words is said before anybody is asked.
    let wanted = match &args.command {
        Command::Add { subjects, .. } => {
            Some(SubscriberSubjects::parse(subjects).map_err(|error| Usage::new(error.to_string()))?)
        }
        Command::List | Command::Remove { .. } => None,
    };
    let url = args.nats_url.or_else(|| ambient::variable(NATS_VARIABLE));
    let url = url.ok_or_else(|| Usage::new(format!("{NATS_VARIABLE} is not set")))?;
    let nats = bus::connect_once(&Secret::new(url.clone()), "admin").await.map_err(Unreachable)?;
    let subscribers = Subscribers::new(nats);
    let local = LocalNats::find(&args.dir, &url);
    match (args.command, wanted) {
        (Command::Add { name, nkey, .. }, Some(subjects)) => {
            let (consumer, is_new) = subscribers.provision(&name, &subjects).await?;
            let right = match &local {
                Some(local) => Right::in_force(local, &name, nkey).await?,
                None => Right::to_be_given(nkey)?,
            };
            right.print(&consumer, is_new, address(&url), args.json);
            Ok(ExitCode::SUCCESS)
        }
        (Command::Remove { name }, _) => {
            // The right first: nobody is left with one to a consumer that somebody else makes under that name.
            let had_right = match &local {
                Some(local) => local.dismiss(&name).await?,
                None => false,
            };
            removed(&name, &subscribers.remove(&name).await?, had_right, local.is_some(), args.json);
            Ok(ExitCode::SUCCESS)
        }
        (Command::List | Command::Add { .. }, _) => Ok(list(&subscribers.list().await?, args.json)),
    }
}

/// How the subscriber proves who it is.
struct Right {
    public: String,
    /// The seed, or the file that holds it; nothing when the service keeps its own.
    seed: Option<Seed>,
    is_in_force: bool,
}

enum Seed {
    File(PathBuf),
    /// Printed once: it is stored nowhere.
    Text(String),
}

impl Right {
    async fn in_force(local: &LocalNats, name: &str, nkey: Option<String>) -> Result<Self> {
        if nkey.is_some() {
            return Err(Usage::new("a local platform makes the key itself: leave --nkey out").into());
        }
        let (key, path) = local.key(name)?;
        local.admit(name, &key).await?;
        Ok(Self { public: key.public, seed: Some(Seed::File(path)), is_in_force: true })
    }

    fn to_be_given(nkey: Option<String>) -> Result<Self> {
        Ok(match nkey {
            Some(public) => Self { public, seed: None, is_in_force: false },
            None => {
                let key = keys::nats_user()?;
                Self { public: key.public, seed: Some(Seed::Text(key.seed)), is_in_force: false }
            }
        })
    }

    fn print(&self, consumer: &Subscriber, is_new: bool, address: &str, json: bool) {
        let Subscriber { name, stream, subjects, .. } = consumer;
        let block = account(name, &[&self.public]);
        if json {
            let mut object = described(consumer);
            let more = json!({
                "isNew": is_new, "natsUrl": format!("nats://{address}"), "nkey": self.public,
                "inboxPrefix": format!("_INBOX.{name}"), "fetch": fetch_subject(stream, name),
                "ack": ack_subject(stream, name), "isInForce": self.is_in_force, "account": block,
            });
            extend(&mut object, more);
            match &self.seed {
                Some(Seed::File(path)) => extend(&mut object, json!({ "seedFile": path })),
                Some(Seed::Text(seed)) => extend(&mut object, json!({ "seed": seed })),
                None => {}
            }
            println!("{object}");
            return;
        }
        let verb = if is_new { "gets" } else { "has" };
        println!("{name} {verb} {} on {stream}, from the first event on", subjects.join(" and "));
        println!("  address   nats://{address}, inbox prefix _INBOX.{name}");
        println!("  fetch     {}", fetch_subject(stream, name));
        match &self.seed {
            Some(Seed::File(path)) => println!("  key       {}; in force", path.display()),
            Some(Seed::Text(seed)) => println!("  key       {seed}\n            shown this once and stored nowhere"),
            None => println!("  key       {}", self.public),
        }
        if !self.is_in_force {
            println!(
                "\nAdd this to subscribers.conf beside nats.conf on every server. On nats-server 2.9 reload twice: once \
                 with `users: []`, once as it stands.\n\n{block}"
            );
        }
    }
}

fn described(consumer: &Subscriber) -> Value {
    let Subscriber { name, log, stream, epoch, is_retired, subjects, acknowledged, pending, unacknowledged } = consumer;
    json!({
        "name": name, "log": log, "stream": stream, "epoch": epoch, "isRetired": is_retired, "subjects": subjects,
        "acknowledged": acknowledged, "pending": pending, "unacknowledged": unacknowledged,
    })
}

fn extend(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}

fn list(found: &[Subscriber], json: bool) -> ExitCode {
    let is_left_behind = |one: &Subscriber| one.is_retired && !follows(found, one);
    for one in found {
        if json {
            let mut object = described(one);
            extend(&mut object, json!({ "isLeftBehind": is_left_behind(one) }));
            println!("{object}");
            continue;
        }
        let Subscriber { name, stream, epoch, subjects, acknowledged, pending, unacknowledged, .. } = one;
        let standing = match (one.is_retired, is_left_behind(one)) {
            (false, _) => format!("{pending} to come, {unacknowledged} in work"),
            (true, false) => format!("epoch {epoch} is over; it has a consumer of the new one"),
            (true, true) => format!("epoch {epoch} is over: run `kisum subscribers add {name}` again"),
        };
        println!("{name:<20} {stream:<8} up to {acknowledged:<10} {standing:<32} {}", subjects.join(" "));
    }
    if found.is_empty() && !json {
        println!("nobody subscribes");
    }
    if found.iter().any(is_left_behind) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Whether the same subscriber has a consumer of a later epoch.
fn follows(found: &[Subscriber], one: &Subscriber) -> bool {
    found.iter().any(|other| other.name == one.name && other.log == one.log && other.epoch > one.epoch)
}

fn removed(name: &str, consumers: &[Subscriber], had_right: bool, is_local: bool, json: bool) {
    let streams: Vec<&str> = consumers.iter().map(|consumer| consumer.stream.as_str()).collect();
    if json {
        println!("{}", json!({ "name": name, "removedFrom": streams, "isRightRemoved": had_right }));
        return;
    }
    match streams.as_slice() {
        [] => println!("{name} had no consumer"),
        streams => println!("{name} has no consumer any more on {}", streams.join(" and ")),
    }
    if !is_local {
        println!("Remove its account, SUBSCRIBER-{name}, from subscribers.conf, and reload.");
    }
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn a_name_is_one_token_of_a_subject_and_one_part_of_a_path() {
        for good in ["billing", "a", "billing-2"] {
            assert!(name(good).is_ok(), "{good}");
        }
        for bad in ["", "2billing", "-x", "Billing", "bil.ling", "b*", "b>", "../x", "b c", &"x".repeat(33)] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }
}
