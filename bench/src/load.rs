//! Load over HTTP/1.1: connections that stay open, each sending the next request when the last one is answered; and the
//! bare server that everything is compared with.
//!
//! It owns bytes and nothing else: requests are made once, and of an answer only status and length are looked at, so
//! that as little as possible of what is measured is this. It knows only what our own servers send: `Content-Length`,
//! no chunks.

use crate::{
    ambient,
    workers::{Measured, workers},
};
use anyhow::{Context as _, bail, ensure};
use axum::{Json, Router, routing::get, serve::ListenerExt as _};
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 1 << 20;
const READ_BYTES: usize = 16 << 10;
const HEAD_END: &[u8] = b"\r\n\r\n";

/// A request as it goes over the wire, without a body.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: bench\r\n");
    for (name, value) in headers {
        // Writing to a text never fails.
        let _ = write!(text, "{name}: {value}\r\n");
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// A `POST` of a JSON body as it goes over the wire.
pub(crate) fn post(path: &str, body: &Value, headers: &[(&str, &str)]) -> Vec<u8> {
    let body = body.to_string();
    let length = body.len().to_string();
    let mut all = vec![("content-type", "application/json"), ("content-length", length.as_str())];
    all.extend(headers);
    [request("POST", path, &all).as_slice(), body.as_bytes()].concat()
}

/// `http://host:port` as an address.
pub(crate) fn address(url: &str) -> anyhow::Result<SocketAddr> {
    let host = url.trim_start_matches("http://").trim_end_matches('/');
    host.parse().with_context(|| format!("{url} is no address"))
}

/// One connection that stays open.
pub(crate) struct Connection {
    stream: TcpStream,
    /// What was read of the answer, and perhaps nothing else: requests are not pipelined.
    read: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::with_capacity(READ_BYTES) })
    }

    /// Sends a request and reads the whole answer; returns its status.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        self.read.clear();
        self.stream.write_all(request).await?;
        let head = loop {
            self.more().await?;
            if let Some(end) = self.read.windows(HEAD_END.len()).position(|bytes| bytes == HEAD_END) {
                break end + HEAD_END.len();
            }
        };
        let (status, body) = read_head(self.read.get(..head).unwrap_or_default())?;
        while self.read.len() < head + body {
            self.more().await?;
        }
        ensure!(self.read.len() == head + body, "more came than was announced");
        Ok(status)
    }

    /// The body of the last answer.
    pub(crate) fn body(&self) -> &[u8] {
        let head = self.read.windows(HEAD_END.len()).position(|bytes| bytes == HEAD_END);
        head.and_then(|end| self.read.get(end + HEAD_END.len()..)).unwrap_or_default()
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        let count = self.stream.read_buf(&mut self.read).await?;
        ensure!(count > 0, "the server closed the connection");
        ensure!(self.read.len() <= ANSWER_BYTES_MAX, "an answer longer than {ANSWER_BYTES_MAX} bytes");
        Ok(())
    }
}

/// Status, and how long the body is.
fn read_head(head: &[u8]) -> anyhow::Result<(u16, usize)> {
    let head = std::str::from_utf8(head).context("a head that is no text")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let status = status.context("a first line without a status")?;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            return Ok((status, value.trim().parse().context("a length that is no number")?));
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            bail!("an answer in chunks");
        }
    }
    // RFC 9110: these have no body.
    if matches!(status, 204 | 304) { Ok((status, 0)) } else { bail!("an answer without a length") }
}

/// Asks over so many connections for so long, each connection one request after the other, beginning at another one.
/// Every answer has to be a success.
pub(crate) async fn run(
    address: SocketAddr,
    requests: &Arc<[Vec<u8>]>,
    connections: usize,
    span: Duration,
) -> anyhow::Result<Measured> {
    workers(connections, |index| {
        let requests = Arc::clone(requests);
        async move {
            let mut connection = Connection::open(address).await?;
            let (mut answers, mut took) = (0, Vec::new());
            let started = ambient::now();
            let mut asked = started;
            for request in requests.iter().cycle().skip(index % requests.len().max(1)) {
                let status = connection.ask(request).await?;
                ensure!((200..300).contains(&status), "{status}: {}", String::from_utf8_lossy(connection.body()));
                let answered = ambient::now();
                took.push(answered.duration_since(asked).as_secs_f64() * 1000.0);
                answers += 1;
                asked = answered;
                if answered.duration_since(started) >= span {
                    break;
                }
            }
            Ok((answers, took))
        }
    })
    .await
}

/// Serves routes on a free loopback port, as our services do but for their layers, until this process ends.
pub(crate) async fn serve(routes: Router) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let listener = listener.tap_io(|stream| {
        // An answer that waits for another packet would be measured.
        let _ = stream.set_nodelay(true);
    });
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(address)
}

/// Where [`bare`] answers.
pub(crate) const BARE: &str = "/bare";

/// What every rate over HTTP is compared with: a route that asks nobody and answers a small JSON document.
pub(crate) fn bare() -> Router {
    Router::new().route(BARE, get(|| async { Json(document()) }))
}

/// About as much as a backend answers for a page with one row.
pub(crate) fn document() -> Value {
    json!({ "success": true, "data": { "items": [{ "id": "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b", "number": "B-1",
        "amountCents": 1250, "currency": "EUR", "createdAt": "2026-01-01T00:00:00Z" }], "nextCursor": null } })
}

#[cfg(test)]
mod tests {
    use super::{BARE, Connection, address, bare, read_head, request, run, serve};
    use std::{sync::Arc, time::Duration};

    #[test]
    fn a_head_says_status_and_length() {
        let head = |text: &str| read_head(text.as_bytes());
        assert_eq!(head("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n").unwrap(), (200, 12));
        assert_eq!(head("HTTP/1.1 204 No Content\r\n\r\n").unwrap(), (204, 0));
        for unreadable in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "no\r\n"]
        {
            assert!(head(unreadable).is_err(), "{unreadable}");
        }
        assert_eq!(address("http://127.0.0.1:80/").unwrap().port(), 80);
    }

    #[tokio::test]
    async fn a_connection_is_used_again_and_a_refusal_stops_the_run() {
        let address = serve(bare()).await.unwrap();
        let mut connection = Connection::open(address).await.unwrap();
        let (good, bad) = (request("GET", BARE, &[("x-org", "acme")]), request("GET", "/nowhere", &[]));
        for _ in 0..3 {
            assert_eq!(connection.ask(&good).await.unwrap(), 200);
            assert!(connection.body().starts_with(b"{"));
            assert_eq!(connection.ask(&bad).await.unwrap(), 404);
        }
        let (rate, took) = run(address, &Arc::from([good.clone()]), 2, Duration::from_millis(10)).await.unwrap();
        assert!(rate > 0.0 && took.len() >= 2);
        assert!(run(address, &Arc::from([good, bad]), 1, Duration::from_millis(10)).await.is_err());
    }
}
