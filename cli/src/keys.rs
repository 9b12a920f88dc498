//! `kisum keys`: the keys that sign access tokens, from making one to taking it away, and the keys that wrap persons'
//! keys.
//!
//! The log's keyring says which key signs; the private halves stand in a list that every Auth reads (`JWT_KEYRING_FILE`).
//! It owns the words and the order of the steps; the rules are `kisum_domains::keyring`'s.

mod generate;
mod list;
mod remove;
mod rewrap;
mod rotate;

use crate::{ambient, local::databases::Database, log::connect, usage::Usage};
use anyhow::Result;
use kisum_api::shared::signing_key::{KeyringFileError, SigningKey, read_keyring};
use kisum_domains::{Keyring, keyring::KeyringError};
use kisum_events::{Actor, KeyId, KeyringEvent, Log, Meta, RequestId, StreamName};
use kisum_log::{Append, AppendError, EventLog, Loaded, SealError, Sealer};
use std::{error::Error, path::PathBuf, process::ExitCode, time::Duration};

/// The variable with the list of private keys.
const KEYRING_VARIABLE: &str = "JWT_KEYRING_FILE";
/// How often a decision is made anew because somebody else was faster.
const ATTEMPTS_MAX: u32 = 8;
/// What Auth assumes where its environment does not say: seconds that a token lives, and that others keep the key set.
const USUAL_S: u64 = 300;

/// What `kisum keys` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// The auth database's URL; without it, the variable `AUTH_DB_URL`. For `rewrap` the owner's
    /// (`AUTH_DB_OWNER_URL`, `CORE_DB_OWNER_URL`).
    #[arg(long, global = true, hide_env_values = true)]
    url: Option<String>,
    /// The list of private keys; without it, the variable `JWT_KEYRING_FILE`.
    #[arg(long, global = true)]
    keyring_file: Option<PathBuf>,
    /// Print JSON, one object a line.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a private key, in a file of its own that only its owner may read, and add it to the list.
    Generate(generate::Args),
    /// Every key: what it does, until when, and whether its private half is in the list. Exit code 1 when the key that
    /// signs is not, or none signs.
    List,
    /// Publish the last key of the list, and let it sign as soon as nobody can hold a key set without it. Said again, it
    /// goes on where it stands.
    Rotate(rotate::Args),
    /// See to it that a key that was published and never signed never will.
    Retire {
        /// Which.
        kid: KeyId,
    },
    /// Take a key away for ever: one whose last token has expired, or with `--emergency` any, and its tokens with it.
    Remove(remove::Args),
    /// Wrap persons' keys by the first of `DATA_ENCRYPTION_KEYS`, so that the others can be given up. Goes on where an
    /// earlier run ended.
    Rewrap(rewrap::Args),
}

/// What went wrong that has an exit code of its own.
#[derive(Debug, thiserror::Error)]
enum KeysError {
    /// Nothing can be read or written.
    #[error("the auth log cannot be reached: {0}")]
    Unreachable(String),
    /// Somebody else changed the keyring meanwhile.
    #[error("the keyring has changed since it was shown, and nothing was done: look again")]
    Changed,
    /// Others keep changing the keyring.
    #[error("the keyring keeps changing; try again")]
    Contended,
}

/// 3 when the database cannot be reached, 2 when the list of private keys is none, 1 when a rule says no.
pub fn exit_code(cause: &(dyn Error + 'static)) -> Option<u8> {
    let ours = cause.downcast_ref::<KeysError>().map(|error| match error {
        KeysError::Unreachable(_) => 3,
        KeysError::Changed | KeysError::Contended => 1,
    });
    let rule = || cause.downcast_ref::<KeyringError>().map(|_| 1);
    let file = || cause.downcast_ref::<KeyringFileError>().map(|_| 2);
    let seal = || match cause.downcast_ref::<SealError>()? {
        SealError::Keys(_) => Some(2),
        SealError::UnknownWrappingKey(_) | SealError::Cipher | SealError::Shape(_) => Some(1),
        SealError::Database(_) => None,
    };
    ours.or_else(rule).or_else(file).or_else(seal).or_else(|| remove::exit_code(cause))
}

/// Runs the command.
///
/// # Errors
/// A rule that says no, a list that is none, a database that cannot be reached.
pub async fn run(args: Args) -> Result<ExitCode> {
    let file = args.keyring_file.or_else(|| ambient::variable(KEYRING_VARIABLE).map(PathBuf::from));
    match args.command {
        Command::Generate(generate) => generate::run(generate, file, args.json),
        Command::List => list::run(&Ring::open(args.url).await?, file, args.json).await,
        Command::Rotate(rotate) => rotate::run(&Ring::open(args.url).await?, &rotate, private(file)?, args.json).await,
        Command::Retire { kid } => remove::retire(&Ring::open(args.url).await?, &kid, args.json).await,
        Command::Remove(remove) => remove::run(&Ring::open(args.url).await?, &remove, args.json).await,
        Command::Rewrap(rewrap) => rewrap::run(&rewrap, args.url, args.json).await,
    }
}

/// The list's keys.
fn private(file: Option<PathBuf>) -> Result<Vec<SigningKey>> {
    let file =
        file.ok_or_else(|| Usage::new(format!("{KEYRING_VARIABLE} is not set, and --keyring-file not given")))?;
    Ok(read_keyring(&file)?)
}

/// The log's keyring, to be read and changed with the run-time role's rights.
struct Ring {
    log: EventLog,
    /// How long a token lives, as Auth is told.
    tokens_live: Duration,
    /// How long others keep the key set, as Auth is told.
    cached: Duration,
}

impl Ring {
    async fn open(url: Option<String>) -> Result<Self> {
        let (tokens_live, cached) = (seconds("ACCESS_TOKEN_TTL")?, seconds("JWKS_MAX_AGE")?);
        let variable = Database::Auth.url_variable();
        let url = url.or_else(|| ambient::variable(variable));
        let url = url.ok_or_else(|| Usage::new(format!("{variable} is not set")))?;
        let pool = connect(Log::Auth, Some(url.clone()), variable, "kisum-keys").await?;
        // The keyring has nothing sealed, so that this needs no key to open anything with.
        let log = EventLog::open(Log::Auth, &url, pool, Sealer::without_keys()).await?;
        Ok(Self { log, tokens_live, cached })
    }

    async fn load(&self) -> Result<Loaded<Keyring>> {
        Ok(self.log.load(&StreamName::keyring()).await?)
    }

    /// Decides on the newest state until nobody else was faster, and says what came of it.
    async fn change(
        &self,
        decide: impl Fn(&Keyring) -> Result<Vec<KeyringEvent>, KeyringError>,
    ) -> Result<(Keyring, Vec<KeyringEvent>)> {
        for _ in 0..ATTEMPTS_MAX {
            let loaded = self.load().await?;
            let events = decide(&loaded.state)?;
            match self.write(&loaded, &events).await {
                Ok(state) => return Ok((state, events)),
                Err(error) if matches!(error.downcast_ref(), Some(KeysError::Changed)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(KeysError::Contended.into())
    }

    /// Writes what was decided on exactly this state.
    async fn write(&self, loaded: &Loaded<Keyring>, events: &[KeyringEvent]) -> Result<Keyring> {
        if events.is_empty() {
            return Ok(loaded.state.clone());
        }
        let request = RequestId::new(ambient::new_id());
        let mut append = Append::new(request, Meta::new(Actor::System, request));
        let state = append.write(loaded, events.to_vec())?;
        match self.log.append(append).await {
            Ok(_) => Ok(state),
            Err(AppendError::Version { .. }) => Err(KeysError::Changed.into()),
            Err(AppendError::Unavailable(why)) => Err(KeysError::Unreachable(why).into()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A span that Auth's environment may say.
fn seconds(name: &str) -> Result<Duration> {
    let Some(text) = ambient::variable(name) else { return Ok(Duration::from_secs(USUAL_S)) };
    let seconds = text.parse().map_err(|_| Usage::new(format!("{name} is no number of seconds")))?;
    Ok(Duration::from_secs(seconds))
}
