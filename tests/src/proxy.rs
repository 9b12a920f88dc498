//! A TCP proxy between a client and a server, for what networks do: connections that are cut, held up, delayed, or
//! that lose an answer.
//!
//! It knows no protocol. What it does to bytes is set for both ways apart and can change at any time.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

const CHUNK_BYTES: usize = 16 << 10;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// What happens to bytes on a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// They pass.
    Flows,
    /// They pass later.
    Delayed(Duration),
    /// They wait until this changes.
    Held,
    /// They vanish, and nobody is told.
    Vanishes,
}

#[derive(Clone, Copy, Debug)]
struct Rules {
    /// Whether new connections are taken; else they are closed at once.
    open: bool,
    up: Traffic,
    down: Traffic,
    /// Connections of an earlier number are cut.
    generation: u64,
    /// Connections up to this number carry nothing any more, and are not closed.
    stranded: u64,
}

#[derive(Debug)]
struct Shared {
    rules: watch::Sender<Rules>,
    /// Bytes up that may still pass before every connection is cut.
    fuse: AtomicU64,
    /// Bytes that clients have sent.
    sent_up: AtomicU64,
    /// Connections so far; each has its number from 1.
    connections: AtomicU64,
    /// The end of the next answer that is to be lost.
    lose: Mutex<Option<&'static [u8]>>,
    /// Answers lost so far.
    lost: AtomicU64,
}

/// A running proxy; dropping it cuts everything.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

impl Proxy {
    /// Listens on a free loopback port, and connects whoever comes to `target`, as `host:port`.
    pub async fn start(target: &str) -> Self {
        let target: SocketAddr = target.parse().unwrap_or_else(|error| panic!("{target}: {error}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap_or_else(|error| panic!("{error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("{error}"));
        let rules = Rules { open: true, up: Traffic::Flows, down: Traffic::Flows, generation: 0, stranded: 0 };
        let shared = Arc::new(Shared {
            rules: watch::channel(rules).0,
            fuse: AtomicU64::new(u64::MAX),
            sent_up: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            lose: Mutex::default(),
            lost: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(accept(listener, target, shared.clone()));
        Self { address, shared, accepting }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// A URL that leads to `target`, leading here instead.
    pub fn instead_of(&self, target: &str, url: &str) -> String {
        assert!(url.contains(target), "the URL does not lead to {target}");
        url.replacen(target, &self.address.to_string(), 1)
    }

    /// Says what happens to bytes on a way from now on.
    pub fn set(&self, way: Way, traffic: Traffic) {
        self.shared.rules.send_modify(|rules| match way {
            Way::Up => rules.up = traffic,
            Way::Down => rules.down = traffic,
        });
    }

    /// Cuts every connection; new ones are taken.
    pub fn cut(&self) {
        self.shared.cut();
    }

    /// Leaves the connections so far open and lets nothing through them ever again; new ones work. As a network does
    /// that has forgotten them.
    pub fn strand(&self) {
        let connections = self.shared.connections.load(Ordering::Relaxed);
        self.shared.rules.send_modify(|rules| rules.stranded = connections);
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// How many bytes clients have sent, carried on or not.
    pub fn sent_up(&self) -> u64 {
        self.shared.sent_up.load(Ordering::Relaxed)
    }

    /// Cuts every connection and takes no new ones until [`Proxy::open`].
    pub fn close(&self) {
        self.shared.rules.send_modify(|rules| rules.open = false);
        self.cut();
    }

    /// Takes connections again.
    pub fn open(&self) {
        self.shared.rules.send_modify(|rules| rules.open = true);
    }

    /// Cuts every connection once so many more bytes went up, whatever they belong to.
    pub fn cut_after_bytes_up(&self, bytes: u64) {
        self.shared.fuse.store(bytes, Ordering::Relaxed);
    }

    /// Keeps the next answer from its client until it ends with `end`, then cuts that connection.
    pub fn lose_next_answer(&self, end: &'static [u8]) {
        *self.shared.lose.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
    }

    /// How many answers were lost.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn cut(&self) {
        self.rules.send_modify(|rules| rules.generation += 1);
    }

    fn rule(&self, way: Way, connection: u64) -> Traffic {
        let rules = self.rules.borrow();
        match way {
            _ if connection <= rules.stranded => Traffic::Vanishes,
            Way::Up => rules.up,
            Way::Down => rules.down,
        }
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, shared: Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { return };
        if shared.rules.borrow().open {
            tokio::spawn(carry(client, target, shared.clone()));
        }
    }
}

async fn carry(client: TcpStream, target: SocketAddr, shared: Arc<Shared>) {
    let mut rules = shared.rules.subscribe();
    let born = rules.borrow().generation;
    let number = shared.connections.fetch_add(1, Ordering::Relaxed) + 1;
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    tokio::select! {
        () = pump(client_reads, server_writes, (Way::Up, number), &shared) => {}
        () = pump(server_reads, client_writes, (Way::Down, number), &shared) => {}
        _ = rules.wait_for(|rules| rules.generation != born) => {}
    }
}

/// Carries bytes one way until a side closes or the connection is to be cut.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    (way, connection): (Way, u64),
    shared: &Shared,
) {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut losing: Option<(&'static [u8], Vec<u8>)> = None;
    let mut rules = shared.rules.subscribe();
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
        let mut bytes = buffer.get(..count).unwrap_or_default();
        if way == Way::Up {
            shared.sent_up.fetch_add(u64::try_from(count).unwrap_or(0), Ordering::Relaxed);
        }
        if way == Way::Down && losing.is_none() {
            let end = shared.lose.lock().unwrap_or_else(PoisonError::into_inner).take();
            losing = end.map(|end| (end, Vec::new()));
        }
        if let Some((end, seen)) = &mut losing {
            seen.extend_from_slice(bytes);
            if seen.ends_with(end) {
                shared.lost.fetch_add(1, Ordering::Relaxed);
                return;
            }
            continue;
        }
        match shared.rule(way, connection) {
            Traffic::Flows => {}
            Traffic::Delayed(by) => tokio::time::sleep(by).await,
            Traffic::Vanishes => continue,
            Traffic::Held => {
                let held = |rules: &Rules| if way == Way::Up { rules.up } else { rules.down } == Traffic::Held;
                let _ = rules.wait_for(|rules| !held(rules)).await;
            }
        }
        if way == Way::Up && shared.fuse.load(Ordering::Relaxed) != u64::MAX {
            let left = shared.fuse.load(Ordering::Relaxed);
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            if count > left {
                bytes = bytes.get(..usize::try_from(left).unwrap_or(0)).unwrap_or_default();
                let _ = to.write_all(bytes).await;
                shared.fuse.store(u64::MAX, Ordering::Relaxed);
                return shared.cut();
            }
            shared.fuse.store(left - count, Ordering::Relaxed);
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}
