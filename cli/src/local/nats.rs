//! The private NATS server, with the users and permissions of the repository's `nats.conf`.

use super::{
    Failure,
    child::{NotReady, Plan, Signal, StopBy},
    stack::Ground,
    subscribers,
};
use std::{collections::BTreeMap, fs, time::Duration};
use tokio::{io::AsyncReadExt as _, net::TcpStream, time};

/// The configuration that production starts from, too; ports, folders and passwords come from the environment.
const CONFIGURATION: &str = include_str!("../../../nats.conf");
/// The users of that file.
pub const USERS: [&str; 9] =
    ["auth", "core", "basic", "finance", "relay-auth", "relay-auth-head", "relay-core", "relay-core-head", "admin"];
/// How long the greeting may take.
const GREETING_TIMEOUT: Duration = Duration::from_millis(500);

/// What to run.
///
/// # Errors
/// When the server is not installed or its folder cannot be made.
pub fn plan(ground: &Ground<'_>) -> Result<Plan, Failure> {
    let server = super::account::program("nats-server", "nats-server")?;
    let folder = ground.account.folder(ground.layout.root(), "nats")?;
    let configuration = folder.join("nats.conf");
    fs::write(&configuration, CONFIGURATION)
        .map_err(|error| Failure::io(format!("writing {}", configuration.display()), &error))?;
    ground.account.adopt(&configuration)?;
    subscribers::write_all(&folder)?;
    ground.account.adopt(&folder.join(subscribers::FILE))?;
    let mut environment = BTreeMap::from([
        ("KISUM_NATS_LISTEN".to_owned(), quoted(&ground.ports.address("nats"))),
        ("KISUM_NATS_STORE".to_owned(), quoted(&folder.join("jetstream").display().to_string())),
    ]);
    for user in USERS {
        let variable = format!("KISUM_NATS_{}", user.replace('-', "_").to_uppercase());
        environment.insert(variable, quoted(&ground.secrets.nats_password(user)?));
    }
    let command = vec![server, "--config".to_owned(), configuration.display().to_string()];
    Ok(Plan {
        name: "nats".to_owned(),
        command: ground.account.command(command),
        environment,
        folder,
        log: ground.layout.log("nats"),
        run: ground.layout.run(),
        stop: StopBy { signal: Signal::Term, patience_secs: 10 },
    })
}

/// Whether the server greets.
///
/// # Errors
/// When it does not.
pub async fn ready(address: &str) -> Result<(), NotReady> {
    let greeting = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let mut start = [0; 4];
        stream.read_exact(&mut start).await.ok()?;
        Some(start == *b"INFO")
    };
    time::timeout(GREETING_TIMEOUT, greeting)
        .await
        .ok()
        .flatten()
        .filter(|&ready| ready)
        .map(|_| ())
        .ok_or(NotReady::Silent)
}

/// nats-server parses a variable's value as configuration: quotes keep it a string whatever it holds.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}
