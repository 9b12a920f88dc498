//! The private Redis server: an accelerator that forgets, so it stores nothing on disk.
//!
//! One ACL user a service that may use it (Auth alone), and one for the developer; the default user is off.

use super::{
    Failure,
    child::{NotReady, Plan, Signal, StopBy},
    secrets::hex,
    stack::Ground,
};
use std::{collections::BTreeMap, fs, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time,
};

/// The rights of each user. Auth may touch the keys of the contract alone, and nothing that sees or drops all keys.
const RIGHTS: [(&str, &str); 2] = [
    (
        "auth",
        "resetchannels ~access:* ~session:* ~revoked:session:* ~company-map:* ~ratelimit:* \
         +@read +@write +@connection +@scripting +@transaction -@dangerous -@admin -scan -randomkey",
    ),
    ("admin", "~* &* +@all"),
];
/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// What to run.
///
/// # Errors
/// When the server is not installed or its folder cannot be made.
pub fn plan(ground: &Ground<'_>) -> Result<Plan, Failure> {
    let server = super::account::program("redis-server", "redis-server")?;
    let folder = ground.account.folder(ground.layout.root(), "redis")?;
    let acl = folder.join("users.acl");
    let mut rules = "user default off\n".to_owned();
    for (user, rights) in RIGHTS {
        let password = ground.secrets.redis_password(user)?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, password.as_bytes());
        rules.push_str(&format!("user {user} on #{} {rights}\n", hex(digest.as_ref())));
    }
    fs::write(&acl, rules).map_err(|error| Failure::io(format!("writing {}", acl.display()), &error))?;
    ground.account.adopt(&acl)?;
    let port = ground.ports.get("redis").to_string();
    let acl = acl.display().to_string();
    let options = [
        [server.as_str(), "--port"],
        [&port, "--bind"],
        ["127.0.0.1", "--save"],
        ["", "--appendonly"],
        ["no", "--maxmemory"],
        ["128mb", "--maxmemory-policy"],
        ["allkeys-lru", "--aclfile"],
    ];
    let mut command: Vec<String> = options.as_flattened().iter().map(|&word| word.to_owned()).collect();
    command.push(acl);
    Ok(Plan {
        name: "redis".to_owned(),
        command: ground.account.command(command),
        environment: BTreeMap::new(),
        folder,
        log: ground.layout.log("redis"),
        run: ground.layout.run(),
        stop: StopBy { signal: Signal::Term, patience_secs: 5 },
    })
}

/// Whether the server answers; asking it to authenticate first is an answer.
///
/// # Errors
/// When it does not.
pub async fn ready(address: &str) -> Result<(), NotReady> {
    let answer = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(b"PING\r\n").await.ok()?;
        let mut start = [0; 7];
        stream.read_exact(&mut start).await.ok()?;
        Some(start == *b"-NOAUTH" || start == *b"+PONG\r\n")
    };
    time::timeout(ANSWER_TIMEOUT, answer)
        .await
        .ok()
        .flatten()
        .filter(|&ready| ready)
        .map(|_| ())
        .ok_or(NotReady::Silent)
}
