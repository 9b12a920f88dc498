//! A mail server in the test's own process (RFC 5321): it takes what it is sent and keeps it, or is closed, refuses, hangs up
//! or says nothing, as a test tells it.
//!
//! It lives on threads of its own, so that it outlives the runtime of one test.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// The longest wait for anything on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(10);

/// What it does with a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Takes it.
    Takes,
    /// Has no such recipient, and never will.
    Refuses,
    /// Refuses the recipient for its policy's sake.
    RefusesToRelay,
    /// Refuses the recipient for now.
    RefusesForNow,
    /// Takes a connection, and says nothing when the recipient is named.
    Hangs,
    /// Takes it and hangs up before it says so.
    TakesAndHangsUp,
    /// Says nothing at all.
    Silent,
}

/// A mail that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The address that it was handed over for.
    pub to: String,
    /// As it came, with its headers.
    pub text: String,
}

impl Letter {
    /// A header's value.
    pub fn header(&self, name: &str) -> &str {
        let line = self.text.lines().take_while(|line| !line.is_empty());
        line.filter_map(|line| line.split_once(": ")).find(|(found, _)| *found == name).map_or("", |(_, value)| value)
    }

    /// The token of its link.
    pub fn token(&self) -> String {
        let token = self.text.split_once("#token=").map(|(_, rest)| rest.split_whitespace().next().unwrap_or_default());
        token.unwrap_or_else(|| panic!("no link in {self:?}")).to_owned()
    }
}

struct Shared {
    manner: Manner,
    /// What it does with mails to addresses that begin so.
    toward: Vec<(String, Manner)>,
    /// Recipients that were named.
    named: Vec<String>,
    taken: Vec<Letter>,
    /// Connections that were made.
    calls: usize,
}

/// A mail server.
#[derive(Clone)]
pub struct PostOffice {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

impl PostOffice {
    /// One that takes mail.
    pub fn open() -> Self {
        let office = Self::closed();
        office.opens();
        office
    }

    /// One whose door is shut: nobody listens at its address until it opens.
    pub fn closed() -> Self {
        // The port stays free for us but in the unlikely case that somebody draws it meanwhile; then opening fails.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let shared =
            Shared { manner: Manner::Takes, toward: Vec::new(), named: Vec::new(), taken: Vec::new(), calls: 0 };
        Self { address: address.unwrap_or_else(|error| panic!("{error}")), shared: Arc::new(Mutex::new(shared)) }
    }

    /// Listens from now on.
    pub fn opens(&self) {
        let listener = TcpListener::bind(self.address).unwrap_or_else(|error| panic!("{}: {error}", self.address));
        let office = self.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let office = office.clone();
                office.shared().calls += 1;
                thread::spawn(move || office.serve(&stream));
            }
        });
    }

    /// Its address, for `SMTP_URL`.
    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// Treats mails so from now on.
    pub fn behaves(&self, manner: Manner) {
        self.shared().manner = manner;
    }

    /// Treats mails to addresses that begin so in this manner, whatever it does with others.
    pub fn behaves_toward(&self, beginning: &str, manner: Manner) {
        self.shared().toward.push((beginning.to_owned(), manner));
    }

    /// How often a recipient was named.
    pub fn named(&self, to: &str) -> usize {
        self.shared().named.iter().filter(|named| *named == to).count()
    }

    /// What it does with a recipient.
    fn toward(&self, to: &str) -> Manner {
        let mut shared = self.shared();
        shared.named.push(to.to_owned());
        let special = shared.toward.iter().find(|(beginning, _)| to.starts_with(beginning));
        special.map_or(shared.manner, |(_, manner)| *manner)
    }

    /// How often somebody came.
    pub fn calls(&self) -> usize {
        self.shared().calls
    }

    /// What was taken for an address.
    pub fn letters(&self, to: &str) -> Vec<Letter> {
        self.shared().taken.iter().filter(|letter| letter.to == to).cloned().collect()
    }

    /// Waits until that many mails have come for an address.
    pub async fn until(&self, to: &str, count: usize) -> Vec<Letter> {
        let waiting = async {
            while self.letters(to).len() < count {
                tokio::time::sleep(PAUSE).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        let letters = self.letters(to);
        assert!(waited.is_ok(), "{count} mails for {to} did not come, but {letters:#?}");
        letters
    }

    /// Waits for a mail with that subject.
    pub async fn subject(&self, to: &str, subject: &str) -> Letter {
        let waiting = async {
            loop {
                let found = self.letters(to).into_iter().rev().find(|letter| letter.header("Subject") == subject);
                match found {
                    Some(letter) => return letter,
                    None => tokio::time::sleep(PAUSE).await,
                }
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        waited.unwrap_or_else(|_| panic!("'{subject}' for {to} did not come, but {:#?}", self.letters(to)))
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: &TcpStream) {
        let (mut reader, mut writer) = (BufReader::new(stream), stream);
        if self.shared().manner == Manner::Silent {
            let _until_the_other_side_gives_up = reader.read(&mut [0]);
            return;
        }
        let mut to = String::new();
        let mut say = |text: &str| writer.write_all(format!("{text}\r\n").as_bytes()).is_ok();
        if !say("220 post") {
            return;
        }
        while let Some(line) = next_line(&mut reader) {
            let manner = self.shared().manner;
            let verb = line.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
            let goes_on = match verb.as_str() {
                "RCPT" => {
                    to = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                    match self.toward(&to) {
                        Manner::Refuses => say(&format!("550 5.1.1 no such address here: <{to}>")),
                        Manner::RefusesToRelay => say("550 5.7.1 relaying denied"),
                        Manner::RefusesForNow => say("451 4.3.0 later, perhaps"),
                        Manner::Hangs => {
                            let _until_the_other_side_gives_up = next_line(&mut reader);
                            return;
                        }
                        Manner::Takes | Manner::TakesAndHangsUp | Manner::Silent => say("250 yes"),
                    }
                }
                "DATA" => {
                    let text = say("354 go on").then(|| body(&mut reader)).flatten();
                    let Some(text) = text else { return };
                    self.shared().taken.push(Letter { to: to.clone(), text });
                    if manner == Manner::TakesAndHangsUp {
                        return;
                    }
                    say("250 taken")
                }
                "QUIT" => {
                    say("221 bye");
                    return;
                }
                _ => say("250 yes"),
            };
            if !goes_on {
                return;
            }
        }
    }
}

fn next_line(reader: &mut BufReader<&TcpStream>) -> Option<String> {
    let mut line = String::new();
    let read = reader.read_line(&mut line).ok()?;
    (read > 0).then(|| line.trim_end().to_owned())
}

fn body(reader: &mut BufReader<&TcpStream>) -> Option<String> {
    let mut text = String::new();
    loop {
        let line = next_line(reader)?;
        if line == "." {
            return Some(text);
        }
        text.push_str(line.strip_prefix('.').unwrap_or(&line));
        text.push('\n');
    }
}
