//! A listener on a real socket.

use super::*;
use axum::routing::get;
use std::sync::Arc;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::Notify,
    task::JoinHandle,
};

async fn listen(router: Router) -> (SocketAddr, watch::Sender<bool>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap_or_else(|e| panic!("{e}"));
    let address = listener.local_addr().unwrap_or_else(|e| panic!("{e}"));
    let (stop, shutdown) = watch::channel(false);
    (address, stop, tokio::spawn(accept(listener, router, shutdown)))
}

async fn send(address: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap_or_else(|e| panic!("{e}"));
    stream.write_all(request.as_bytes()).await.unwrap_or_else(|e| panic!("{e}"));
    stream
}

async fn answer(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap_or_else(|e| panic!("{e}"));
    text
}

#[tokio::test]
async fn a_request_in_work_is_answered_before_the_listener_ends() {
    let (started, proceed) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (note, wait) = (Arc::clone(&started), Arc::clone(&proceed));
    let slow = get(move || {
        let (note, wait) = (Arc::clone(&note), Arc::clone(&wait));
        async move {
            note.notify_one();
            wait.notified().await;
            "done"
        }
    });
    let (address, stop, ended) = listen(Router::new().route("/slow", slow)).await;
    let stream = send(address, "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
    started.notified().await;

    stop.send(true).unwrap_or_else(|e| panic!("{e}"));
    proceed.notify_one();
    let text = answer(stream).await;
    assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("done"), "{text}");
    ended.await.unwrap_or_else(|e| panic!("{e}"));
    assert!(TcpStream::connect(address).await.is_err(), "the listener still accepts");
}

#[tokio::test]
async fn a_head_beyond_every_limit_is_a_431() {
    let (address, _stop, _ended) = listen(Router::new()).await;
    let long = "a".repeat(2 * HEAD_LEN_MAX);
    // The server may answer and close before all of it is sent.
    let mut stream = TcpStream::connect(address).await.unwrap_or_else(|e| panic!("{e}"));
    let head = format!("GET / HTTP/1.1\r\nhost: x\r\nx-long: {long}\r\n\r\n");
    let _ = stream.write_all(head.as_bytes()).await;
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(&start, b"HTTP/1.1 431");
}

#[tokio::test]
async fn the_peer_s_address_is_known_to_routes() {
    let who = get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.ip().to_string());
    let (address, _stop, _ended) = listen(Router::new().route("/who", who)).await;
    let text = answer(send(address, "GET /who HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await).await;
    assert!(text.ends_with("127.0.0.1"), "{text}");
}
