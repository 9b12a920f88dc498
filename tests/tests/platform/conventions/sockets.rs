//! Limits through real sockets, on every listener (`security.md` 25): whoever sends too slowly, too much or for ever, or
//! takes nothing of an answer, is told so or given up, and nobody else notices.

use super::{Everywhere, table::LISTENERS, table::Listener, table::Sender};
use futures_util::future::join_all;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// Beyond every limit of a listener by far: these tests wait for what happens, and this says that it never will.
const NEVER: Duration = Duration::from_secs(120);

/// A connection to a listener.
async fn connect(everywhere: &Everywhere, listener: &Listener) -> TcpStream {
    let base = everywhere.base(listener);
    TcpStream::connect(base.trim_start_matches("http://")).await.unwrap_or_else(|error| panic!("{base}: {error}"))
}

async fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap_or_else(|error| panic!("{error}"));
}

/// Everything that comes until the server ends the connection. One that is reset has ended as well.
async fn until_closed(stream: &mut TcpStream, what: &str) -> String {
    let mut bytes = Vec::new();
    let read = timeout(NEVER, async {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            bytes.extend_from_slice(&buffer[..count]);
        }
    });
    assert!(read.await.is_ok(), "{what} holds a connection for ever");
    String::from_utf8_lossy(&bytes).to_lowercase()
}

/// Whether the listener answers others.
async fn is_well(everywhere: &Everywhere, listener: &Listener) -> bool {
    everywhere.get(listener, "/health").await.status().as_u16() == 200
}

async fn on_every_listener<F: Future<Output = ()>>(
    everywhere: &Everywhere,
    check: impl Fn(&'static Listener, String) -> F,
) {
    join_all(LISTENERS.iter().map(|listener| check(listener, listener.url.to_owned()))).await;
    for listener in &LISTENERS {
        assert!(is_well(everywhere, listener).await, "{}", listener.url);
    }
}

/// The head of a command that reads its body, by somebody who may send it; none where a listener has no such command.
async fn command(everywhere: &Everywhere, listener: &Listener, person: &str) -> Option<String> {
    let wanted = |(_, method, path): &(Sender, &str, &str)| {
        (*method == "POST" && !path.contains('{') && !path.contains("log")) || path.ends_with("/subscription")
    };
    let (sender, method, path) = listener.operations().find(|it| it.1 != "DELETE" && wanted(it))?;
    let path = super::filled(path);
    let token = match sender {
        Sender::Anybody | Sender::Either | Sender::RefreshToken => String::new(),
        Sender::Person => person.to_owned(),
        Sender::Service => everywhere.service_token(listener, method, &path),
    };
    Some(format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nx-org: acme-live\r\n\
         content-type: application/json\r\n"
    ))
}

/// security 25
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let everywhere = &Everywhere::start().await;
    on_every_listener(everywhere, async |listener, url| {
        let mut silent = connect(everywhere, listener).await;
        let mut slow = connect(everywhere, listener).await;
        send(&mut slow, "GET /health HTTP/1.1\r\nhost: x\r\nx-slow: ").await;
        let mut idle = connect(everywhere, listener).await;
        send(&mut idle, "GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let what = [format!("{url}: silence"), format!("{url}: half a head"), format!("{url}: an idle connection")];
        let (silent, slow, idle) = tokio::join!(
            until_closed(&mut silent, &what[0]),
            until_closed(&mut slow, &what[1]),
            until_closed(&mut idle, &what[2])
        );
        assert!(!silent.contains(" 200 ") && !slow.contains(" 200 "), "{url}: {silent} {slow}");
        assert!(idle.starts_with("http/1.1 200 "), "{url}: {idle}");
    })
    .await;
}

/// security 25
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_or_does_not_end_is_refused() {
    let everywhere = &Everywhere::start().await;
    let person = &everywhere.demo.sign_in("superadmin@acme-live.example").await.access;
    on_every_listener(everywhere, async |listener, url| {
        // Where nobody reads a body, none is waited for.
        let mut unread = connect(everywhere, listener).await;
        send(&mut unread, "POST /health HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{").await;
        let said = until_closed(&mut unread, &format!("{url}: a body that nobody reads")).await;
        assert!(said.starts_with("http/1.1 405 ") && said.contains("connection: close"), "{url}: {said}");

        let Some(head) = command(everywhere, listener, person).await else { return };
        let mut slow = connect(everywhere, listener).await;
        send(&mut slow, &format!("{head}content-length: 1000\r\n\r\n{{")).await;
        let said = until_closed(&mut slow, &format!("{url}: a body that does not come")).await;
        assert!(said.starts_with("http/1.1 408 ") && said.contains("request_timeout"), "{url}: {said}");

        let Some(head) = command(everywhere, listener, person).await else { return };
        let mut endless = connect(everywhere, listener).await;
        send(&mut endless, &format!("{head}transfer-encoding: chunked\r\n\r\n")).await;
        let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
        let (mut reader, mut writer) = endless.split();
        // It goes on until the server ends the connection, as it must before it has read all this.
        let sending = async {
            for _ in 0..10_000 {
                if writer.write_all(chunk.as_bytes()).await.is_err() {
                    return;
                }
            }
            panic!("{url} reads a body without end");
        };
        let mut answer = [0; 4096];
        let answering = async { reader.read(&mut answer).await };
        let (_, count) = timeout(NEVER, async { tokio::join!(sending, answering) })
            .await
            .unwrap_or_else(|_| panic!("{url}: a body without end holds a connection for ever"));
        // A reset may overtake the answer.
        if let Ok(count @ 1..) = count {
            let said = String::from_utf8_lossy(&answer[..count]);
            assert!(said.starts_with("HTTP/1.1 413 "), "{url}: {said}");
        }
    })
    .await;
}

/// security 25
#[tokio::test(flavor = "multi_thread")]
async fn too_many_headers_are_refused_and_requests_in_a_row_are_answered_in_order() {
    let everywhere = &Everywhere::start().await;
    on_every_listener(everywhere, async |listener, url| {
        for count in [65, 250, 2_000] {
            let headers: String = (0..count).map(|number| format!("x-{number}: 1\r\n")).collect();
            let mut many = connect(everywhere, listener).await;
            // The server may answer and close before all of it is sent.
            let head = format!("GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
            let _ = many.write_all(head.as_bytes()).await;
            let said = until_closed(&mut many, &format!("{url}: {count} headers")).await;
            assert!(said.starts_with("http/1.1 431 "), "{url}: {count} headers: {said}");
        }
        let mut row = String::new();
        for number in 0..40 {
            let last = if number == 39 { "connection: close\r\n" } else { "" };
            row.push_str(&format!("GET /health HTTP/1.1\r\nhost: x\r\nx-request-id: row-{number}-\r\n{last}\r\n"));
        }
        let mut pipelined = connect(everywhere, listener).await;
        send(&mut pipelined, &row).await;
        let said = until_closed(&mut pipelined, &format!("{url}: forty requests in a row")).await;
        let order: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("x-request-id: ")).collect();
        let wanted: Vec<_> = (0..40).map(|number| format!("row-{number}-")).collect();
        assert_eq!(order, wanted, "{url}");
        assert_eq!(said.matches("http/1.1 200 ").count(), 40, "{url}");
    })
    .await;
}

/// security 25
#[tokio::test(flavor = "multi_thread")]
async fn who_says_no_more_or_takes_nothing_is_given_up() {
    let everywhere = &Everywhere::start().await;
    on_every_listener(everywhere, async |listener, url| {
        for request in
            ["GET /health HTTP/1.1\r\nhost: x\r\n\r\n", "POST /health HTTP/1.1\r\ncontent-length: 9\r\n\r\n{"]
        {
            let mut half = connect(everywhere, listener).await;
            send(&mut half, request).await;
            half.shutdown().await.unwrap_or_else(|error| panic!("{error}"));
            let said = until_closed(&mut half, &format!("{url}: who says no more")).await;
            // Who has hung up may be answered; if so, by what is true.
            assert!(said.is_empty() || !said.starts_with("http/1.1 5"), "{url}: {said}");
        }
        // Nothing is read here, so that what is answered fills the way back, and then nothing more is read there.
        let mut deaf = connect(everywhere, listener).await;
        let request = "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(100);
        let asking = async { while deaf.write_all(request.as_bytes()).await.is_ok() {} };
        assert!(timeout(NEVER, asking).await.is_ok(), "{url}: who takes nothing holds a connection for ever");
    })
    .await;
}
