//! The private PostgreSQL server: its binaries, its data folder, its settings.
//!
//! A data folder is made under a temporary name and renamed when it is complete, so an interrupted `initdb` leaves
//! nothing that looks usable. What the databases hold is not known here: see `databases`.

use super::{
    Failure,
    child::{self, NotReady, Plan, Signal, StopBy},
    leftovers,
    stack::Ground,
};
use sqlx::{ConnectOptions as _, Connection as _, postgres::PgConnectOptions};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// The role that owns the cluster.
pub const SUPERUSER: &str = "postgres";
/// Where Debian and Homebrew put server binaries, one folder a version.
const VERSION_FOLDERS: [(&str, &str); 4] = [
    ("/usr/lib/postgresql", ""),
    ("/opt/homebrew/opt", "postgresql@"),
    ("/usr/local/opt", "postgresql@"),
    ("/usr/pgsql", ""),
];
/// `max_connections` of the private server: what all services of a stack need, and as much again for people and tests.
pub const CONNECTIONS_MAX: u32 = 200;
/// The oldest release this project is tested with.
const OLDEST_VERSION: u32 = 14;
/// POSIX leaves 103 bytes for a socket's path on macOS, 107 on Linux; `/.s.PGSQL.65535` takes 15 of them.
const SOCKET_FOLDER_BYTES_MAX: usize = 88;
/// SQLSTATE `invalid_password`.
const WRONG_PASSWORD: &str = "28P01";
const REFUSED: &str = "it refuses our password: data and secrets do not belong together, and `./dev reset` drops both";
/// How long a connection for a check may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Makes the data folder if it is missing, deals with what a crash left behind, and says what to run.
///
/// # Errors
/// When PostgreSQL is not installed, the data is of another version, or somebody else runs a server on it.
pub async fn plan(ground: &Ground<'_>) -> Result<Plan, Failure> {
    let home = ground.account.folder(ground.layout.root(), "postgres")?;
    let data = home.join("data");
    let binaries = binaries(&data)?;
    remove_half_made(&home);
    if data.is_dir() {
        clear_stale_lock(ground, &data)?;
    } else {
        make_data(ground, &binaries, &home, &data).await?;
    }
    let mut command = vec![binaries.join("postgres").display().to_string()];
    command.extend(["-D".to_owned(), data.display().to_string()]);
    for (name, value) in settings(ground, &home) {
        command.extend(["-c".to_owned(), format!("{name}={value}")]);
    }
    Ok(Plan {
        name: "postgres".to_owned(),
        command: ground.account.command(command),
        environment: BTreeMap::new(),
        folder: home,
        log: ground.layout.log("postgres"),
        run: ground.layout.run(),
        stop: if ground.durable {
            StopBy { signal: Signal::Int, patience_secs: 30 }
        } else {
            StopBy { signal: Signal::Quit, patience_secs: 5 }
        },
    })
}

/// How the superuser connects to a database of this server.
pub fn superuser(ground: &Ground<'_>, database: &str) -> Result<PgConnectOptions, Failure> {
    Ok(PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(ground.ports.get("postgres"))
        .username(SUPERUSER)
        .password(&ground.secrets.database_password(SUPERUSER)?)
        .database(database)
        .application_name("kisum-local")
        .disable_statement_logging())
}

/// Whether the server takes connections and knows our password.
///
/// # Errors
/// When it does not; a refused password will stay refused.
pub async fn ready(options: &PgConnectOptions) -> Result<(), NotReady> {
    match tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await {
        Ok(Ok(connection)) => {
            let _ = connection.close().await;
            Ok(())
        }
        Ok(Err(sqlx::Error::Database(error))) if error.code().as_deref() == Some(WRONG_PASSWORD) => {
            Err(NotReady::Never(REFUSED.to_owned()))
        }
        Ok(Err(_)) | Err(_) => Err(NotReady::Silent),
    }
}

fn settings(ground: &Ground<'_>, home: &Path) -> Vec<(&'static str, String)> {
    let socket = home.display().to_string();
    let socket = if socket.len() <= SOCKET_FOLDER_BYTES_MAX { socket } else { String::new() };
    let durable = if ground.durable { "on" } else { "off" };
    vec![
        ("listen_addresses", "127.0.0.1".to_owned()),
        ("port", ground.ports.get("postgres").to_string()),
        ("unix_socket_directories", socket),
        ("unix_socket_permissions", "0700".to_owned()),
        ("cluster_name", "kisum".to_owned()),
        ("max_connections", CONNECTIONS_MAX.to_string()),
        ("shared_buffers", if ground.durable { "128MB" } else { "32MB" }.to_owned()),
        ("fsync", durable.to_owned()),
        ("full_page_writes", durable.to_owned()),
        ("synchronous_commit", durable.to_owned()),
        ("timezone", "UTC".to_owned()),
        ("log_timezone", "UTC".to_owned()),
        ("log_line_prefix", "%m [%p] %q%u@%d ".to_owned()),
    ]
}

/// The binaries that fit the data folder: its own version, or the newest when there is no data yet.
fn binaries(data: &Path) -> Result<PathBuf, Failure> {
    let made_by = fs::read_to_string(data.join("PG_VERSION")).ok().and_then(|text| text.trim().parse::<u32>().ok());
    let mut found = installed();
    found.retain(|(version, _)| *version >= OLDEST_VERSION && made_by.is_none_or(|wanted| wanted == *version));
    found.sort();
    let newest = found.pop().map(|(_, folder)| folder);
    newest.ok_or_else(|| match made_by {
        Some(version) => Failure::new(
            format!("the data was made by PostgreSQL {version}, which is not installed"),
            "install that version, or run `./dev reset` to start afresh",
        ),
        None => Failure::new(
            format!("no PostgreSQL server of version {OLDEST_VERSION} or later is installed"),
            "run `./dev up`, or install `postgresql`",
        ),
    })
}

fn installed() -> Vec<(u32, PathBuf)> {
    let mut found = Vec::new();
    for (folder, prefix) in VERSION_FOLDERS {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let version = name.to_str().and_then(|name| name.strip_prefix(prefix)).and_then(|text| text.parse().ok());
            let binaries = entry.path().join("bin");
            if let Some(version) = version
                && binaries.join("initdb").is_file()
            {
                found.push((version, binaries));
            }
        }
    }
    found
}

/// What interrupted runs of `initdb` left. Nobody else uses these names: the stack's lock is held.
fn remove_half_made(home: &Path) {
    let _ = fs::remove_dir_all(home.join("data.new"));
    let _ = fs::remove_file(home.join("password"));
}

async fn make_data(ground: &Ground<'_>, binaries: &Path, home: &Path, data: &Path) -> Result<(), Failure> {
    let unfinished = home.join("data.new");
    let password = home.join("password");
    super::layout::write_private(&password, ground.secrets.database_password(SUPERUSER)?.as_bytes())
        .map_err(|error| Failure::io(format!("writing {}", password.display()), &error))?;
    ground.account.adopt(&password)?;
    let mut command = vec![binaries.join("initdb").display().to_string()];
    command.extend([
        format!("--pgdata={}", unfinished.display()),
        format!("--pwfile={}", password.display()),
        format!("--username={SUPERUSER}"),
        "--auth=scram-sha-256".to_owned(),
        "--encoding=UTF8".to_owned(),
        "--no-locale".to_owned(),
    ]);
    if !ground.durable {
        command.push("--no-sync".to_owned());
    }
    let made = child::run_to_end(Plan {
        name: "initdb".to_owned(),
        command: ground.account.command(command),
        environment: BTreeMap::new(),
        folder: home.to_owned(),
        log: ground.layout.log("initdb"),
        run: ground.layout.run(),
        stop: StopBy { signal: Signal::Term, patience_secs: 5 },
    });
    made.await?;
    let _ = fs::remove_file(password);
    fs::rename(&unfinished, data).map_err(|error| Failure::io(format!("making {}", data.display()), &error))
}

/// A server that died leaves `postmaster.pid`; the operating system may have given its process id to somebody else,
/// and then PostgreSQL would refuse to start. Our own earlier servers were stopped before (see `leftovers`), so a
/// server that still runs on this folder was started by somebody else.
fn clear_stale_lock(ground: &Ground<'_>, data: &Path) -> Result<(), Failure> {
    let lock = data.join("postmaster.pid");
    let Some(pid) = fs::read_to_string(&lock).ok().and_then(|text| text.lines().next()?.trim().parse::<u32>().ok())
    else {
        return Ok(());
    };
    // With no such process the lock stays: PostgreSQL clears it, and reads from it whether backends still linger.
    let Some(command) = leftovers::command_line(pid) else { return Ok(()) };
    if command.contains("postgres") && command.contains(&data.display().to_string()) {
        return Err(Failure::new(
            format!("a PostgreSQL server that `kisum up` did not start (process {pid}) uses {}", data.display()),
            format!("stop it with `kill -INT {pid}` and try again"),
        ));
    }
    tracing::debug!(pid, log = %ground.layout.log("postgres").display(), "removing the lock of a server that died");
    fs::remove_file(&lock).map_err(|error| Failure::io(format!("removing {}", lock.display()), &error))
}
