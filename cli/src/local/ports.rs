//! Free loopback ports for a stack, remembered between runs and reused when they are still free.

use super::{Failure, layout};
use crate::ambient;
use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddrV4, TcpListener},
    path::Path,
};

/// Below the range that operating systems draw the ports of outgoing connections from (Linux: 32768–60999, others:
/// 49152–65535), so that a client's connection never takes a server's port while the server restarts.
const LOWEST: u16 = 20_000;
/// How many ports from [`LOWEST`] on may be drawn.
const SPAN: u16 = 12_000;
/// How many draws are made before giving up.
const DRAWS_MAX: u32 = 1_000;

/// The ports of a stack, by name. A port is held until its server is about to start, so that two stacks that start
/// at the same time do not choose the same one.
#[derive(Debug)]
pub struct Ports {
    chosen: BTreeMap<String, u16>,
    held: BTreeMap<String, TcpListener>,
}

impl Ports {
    /// Chooses a free port for every name; what `remembered` says is tried first, then, if given, `preferred` and
    /// its successors, then any.
    ///
    /// # Errors
    /// When no free port is found.
    pub fn choose(names: &[&str], remembered: &Path, preferred: Option<u16>) -> Result<Self, Failure> {
        let earlier: BTreeMap<String, u16> =
            fs::read(remembered).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let mut ports = Self { chosen: BTreeMap::new(), held: BTreeMap::new() };
        for (index, name) in (0u16..).zip(names) {
            let friendly = preferred.and_then(|first| first.checked_add(index));
            let first_choices = [earlier.get(*name).copied(), friendly];
            let listener = first_choices.into_iter().flatten().find_map(hold).map_or_else(any, Ok)?;
            let port = listener.local_addr().map_err(|error| Failure::io("reading a port", &error))?.port();
            ports.chosen.insert((*name).to_owned(), port);
            ports.held.insert((*name).to_owned(), listener);
        }
        Ok(ports)
    }

    /// Remembers the ports for the next run.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn remember(&self, path: &Path) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(&self.chosen).unwrap_or_default();
        layout::write_private(path, &text).map_err(|error| Failure::io(format!("writing {}", path.display()), &error))
    }

    /// The port of that name; 0 for a name that was not asked for.
    pub fn get(&self, name: &str) -> u16 {
        self.chosen.get(name).copied().unwrap_or(0)
    }

    /// The loopback address with the port of that name.
    pub fn address(&self, name: &str) -> String {
        format!("127.0.0.1:{}", self.get(name))
    }

    /// Lets go of a port, because its server starts now.
    pub fn release(&mut self, name: &str) {
        self.held.remove(name);
    }
}

fn hold(port: u16) -> Option<TcpListener> {
    TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).ok()
}

fn any() -> Result<TcpListener, Failure> {
    for _ in 0..DRAWS_MAX {
        let drawn = ambient::random().map(u16::from_le_bytes).unwrap_or_default();
        if let Some(listener) = hold(LOWEST + drawn % SPAN) {
            return Ok(listener);
        }
    }
    Err(Failure::new(
        format!("no free port on 127.0.0.1 between {LOWEST} and {}", LOWEST + SPAN),
        "stop programs that listen there and try again",
    ))
}

#[cfg(test)]
mod tests {
    use super::Ports;

    #[test]
    fn a_remembered_port_is_reused_and_one_in_use_is_replaced() {
        let folder = std::env::temp_dir().join(format!("kisum-ports-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("ports.json");
        let first = Ports::choose(&["a", "b"], &file, None).unwrap();
        first.remember(&file).unwrap();
        let (a, b) = (first.get("a"), first.get("b"));
        let while_held = Ports::choose(&["a", "b"], &file, None).unwrap();
        assert_ne!(while_held.get("a"), a);
        drop((first, while_held));
        let again = Ports::choose(&["a", "b"], &file, None).unwrap();
        assert_eq!((again.get("a"), again.get("b")), (a, b));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
