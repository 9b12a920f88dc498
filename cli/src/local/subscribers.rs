//! Subscribers' accounts on the private NATS server: the file that `nats.conf` includes, and putting it in force.
//!
//! One file a subscriber, and one file made of all of them, so that adding one never rewrites another. What an account
//! may do is said here once, for the private server and for those of production, which an operator configures.

use super::{Failure, child::Signal, keys, layout, layout::Layout, leftovers, secrets::Secrets};
use kisum_api::shared::bus;
use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

/// What `nats.conf` includes, beside it.
pub const FILE: &str = "subscribers.conf";
/// The folder with one file a subscriber.
const FOLDER: &str = "subscribers";
/// How long the server may take to read its configuration again.
const RELOAD_MAX: Duration = Duration::from_secs(30);
/// After this it is asked again: a signal that arrives while the server reads may say nothing new to it.
const ASK_AGAIN: u32 = 40;
const PAUSE: Duration = Duration::from_millis(50);

/// The account of a subscriber, for `nats.conf`'s `accounts`. `users` are the public keys that may enter it.
///
/// INVARIANT: an account of its own, without JetStream. A fetch names the subject that the answer goes to, and the
/// server publishes there without asking whether the requester may: inside the account of the logs, a fetch with a
/// log's subject as its reply would put a message into the log's stream. Here it reaches nobody.
pub fn account(name: &str, users: &[&str]) -> String {
    let user = |public: &&str| {
        format!(
            r#"    {{
      nkey: "{public}"
      permissions: {{
        publish: ["{fetch}", "{ack}"]
        subscribe: ["_INBOX.{name}.>"]
      }}
    }}
"#,
            fetch = fetch_subject("*", name),
            ack = ack_subject("*", name),
        )
    };
    let users: String = users.iter().map(user).collect();
    format!(
        r#"SUBSCRIBER-{name} {{
  imports: [
    {{ service: {{ account: KISUM, subject: "{fetch}" }} }}
    {{ service: {{ account: KISUM, subject: "{ack}" }} }}
  ]
  users: [
{users}  ]
}}
"#,
        fetch = fetch_subject("*", name),
        ack = ack_subject("*", name),
    )
}

/// Where a subscriber asks for its next events.
pub fn fetch_subject(stream: &str, name: &str) -> String {
    format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}")
}

/// Where it acknowledges them; each event says its own.
pub fn ack_subject(stream: &str, name: &str) -> String {
    format!("$JS.ACK.{stream}.{name}.>")
}

/// Writes the included file from those of all subscribers.
///
/// # Errors
/// When the folder cannot be read or written.
pub fn write_all(nats: &Path) -> Result<(), Failure> {
    let folder = nats.join(FOLDER);
    let failed = |error: std::io::Error| Failure::io(format!("writing {}", nats.join(FILE).display()), &error);
    let mut files: Vec<PathBuf> = match fs::read_dir(&folder) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(failed(error)),
    };
    files.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    files.sort();
    let mut text = "# Made by `kisum subscribers`.\n".to_owned();
    for file in files {
        text.push_str(&fs::read_to_string(file).map_err(failed)?);
    }
    // Not private, whatever the umask: it holds public keys, and the server may run under another account.
    let unfinished = nats.join(format!("{FILE}.new"));
    fs::write(&unfinished, text)
        .and_then(|()| fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o644)))
        .and_then(|()| fs::rename(&unfinished, nats.join(FILE)))
        .map_err(failed)
}

/// The private NATS server of a stack that runs.
#[derive(Debug)]
pub struct LocalNats {
    layout: Layout,
    address: String,
}

impl LocalNats {
    /// The server of the stack in `folder`, if `url` is its address.
    pub fn find(folder: &Path, url: &str) -> Option<Self> {
        let layout = Layout::at(folder);
        let ports: serde_json::Value = serde_json::from_slice(&fs::read(layout.ports()).ok()?).ok()?;
        let address = format!("127.0.0.1:{}", ports.get("nats")?.as_u64()?);
        let is_here = super::subscribers::address(url) == address && layout.nats().join(FILE).is_file();
        is_here.then_some(Self { layout, address })
    }

    /// The subscriber's key; made when there is none.
    ///
    /// # Errors
    /// When it cannot be read or made.
    pub fn key(&self, name: &str) -> Result<(keys::NatsUser, PathBuf), Failure> {
        let secrets = Secrets::in_folder(&self.layout.secrets());
        let path = secrets.subscriber_seed_path(name);
        let key = keys::nats_user_of(&secrets.subscriber_seed(name)?);
        let advice = || format!("remove {} and run this again", path.display());
        Ok((key.map_err(|error| Failure::new(error.to_string(), advice()))?, path))
    }

    /// Gives the subscriber its account, and returns once it is in force.
    ///
    /// # Errors
    /// When a file cannot be written, or the server does not take it.
    pub async fn admit(&self, name: &str, key: &keys::NatsUser) -> Result<(), Failure> {
        let _lock = self.lock()?;
        let block = account(name, &[&key.public]);
        if fs::read_to_string(self.file(name)).is_ok_and(|now| now == block) && self.enters(&key.seed, name).await {
            return Ok(());
        }
        // A reload that adds an account leaves its imports without an end: nats-server 2.9 ties them to the account of
        // the logs when it reads them once more. So the account is first entered by a key that is thrown away.
        let herald = keys::nats_user().map_err(|error| Failure::new(format!("making a key: {error}"), "try again"))?;
        for (public, seed) in [(&herald.public, &herald.seed), (&key.public, &key.seed)] {
            self.put(name, Some(&account(name, &[public])))?;
            self.in_force(async || self.enters(seed, name).await).await?;
        }
        Ok(())
    }

    /// Takes the account away, and returns once nobody enters it any more.
    ///
    /// # Errors
    /// When a file cannot be removed, or the server does not take it.
    pub async fn dismiss(&self, name: &str) -> Result<bool, Failure> {
        let _lock = self.lock()?;
        if !self.file(name).exists() {
            return Ok(false);
        }
        let (key, path) = self.key(name)?;
        self.put(name, None)?;
        self.in_force(async || !self.enters(&key.seed, name).await).await?;
        fs::remove_file(&path).map_err(|error| Failure::io(format!("removing {}", path.display()), &error))?;
        Ok(true)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.layout.nats().join(FOLDER).join(format!("{name}.conf"))
    }

    /// Two commands at once must not make the included file of two different sets.
    fn lock(&self) -> Result<File, Failure> {
        let path = self.layout.run().join("subscribers.lock");
        let failed = |error: std::io::Error| Failure::io(format!("locking {}", path.display()), &error);
        let file = File::options().create(true).write(true).truncate(false).open(&path).map_err(failed)?;
        file.lock().map_err(failed)?;
        Ok(file)
    }

    fn put(&self, name: &str, block: Option<&str>) -> Result<(), Failure> {
        let file = self.file(name);
        let failed = |error: std::io::Error| Failure::io(format!("writing {}", file.display()), &error);
        fs::create_dir_all(self.layout.nats().join(FOLDER)).map_err(failed)?;
        match block {
            Some(text) => layout::write_private(&file, text.as_bytes()).map_err(failed)?,
            None => fs::remove_file(&file).map_err(failed)?,
        }
        write_all(&self.layout.nats())
    }

    /// Has the server read its configuration until it is as wanted.
    async fn in_force(&self, holds: impl AsyncFn() -> bool) -> Result<(), Failure> {
        let reload = async {
            for round in 0u32.. {
                if round % ASK_AGAIN == 0
                    && let Some(pid) = leftovers::noted(&self.layout.run(), "nats")
                {
                    leftovers::send(pid, Signal::Hangup);
                }
                if holds().await {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(RELOAD_MAX, reload).await.map_err(|_| {
            let log = self.layout.log("nats");
            Failure::new("nats-server did not take its new configuration", format!("see {}", log.display()))
        })
    }

    async fn enters(&self, seed: &str, name: &str) -> bool {
        bus::connect_with_nkey(&format!("nats://{}", self.address), seed, name).await.is_ok()
    }
}

/// Host and port of a NATS URL, without credentials.
pub fn address(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.rsplit_once('@').map_or(rest, |(_, address)| address).trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::{account, address};

    #[test]
    fn an_address_has_no_credentials() {
        assert_eq!(address("nats://admin:k@y@127.0.0.1:4222/"), "127.0.0.1:4222");
        assert_eq!(address("127.0.0.1:4222"), "127.0.0.1:4222");
    }

    #[test]
    fn an_account_may_fetch_and_acknowledge_by_its_name_alone() {
        let text = account("billing", &["UABC"]);
        let named = text.matches("billing").count();
        assert_eq!(text.matches("$JS.API.CONSUMER.MSG.NEXT.*.billing\"").count(), 2);
        assert_eq!(text.matches("$JS.ACK.*.billing.>\"").count(), 2);
        assert_eq!(named, 6, "{text}");
        assert!(!text.contains("jetstream"));
    }
}
