//! One listening socket: accepts connections, speaks HTTP/1.1 on them, and ends them in order.
//!
//! It owns what happens before there is a request: connection limits, time-outs of heads and answers, sizes. It refuses to know
//! what answers.

mod patience;

use self::patience::Patient;
use axum::{Router, extract::ConnectInfo};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};
use tower::ServiceExt as _;

/// Connections held at once; the next waits in the kernel's queue.
const CONNECTIONS_MAX: usize = 4_096;
/// How long a client may take to send a request's headers, and how long an idle connection is kept.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a client may take nothing of an answer before it is given up.
const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's head at most; over it the server answers 431 itself. The edge's own limit is lower, so that a
/// merely large head gets a problem.
const HEAD_LEN_MAX: usize = 64 * 1024;
/// Headers at most, by the same rule.
const HEADERS_MAX: usize = 256;
/// How long connections in use may take to finish once the process is told to end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);
/// Pause after a failed accept: the usual cause, too few file descriptors, does not pass at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until told to end, then lets what is in work finish.
pub(super) async fn accept(listener: TcpListener, router: Router, mut shutdown: watch::Receiver<bool>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    loop {
        let next = async {
            let permit = Arc::clone(&connections).acquire_owned().await;
            (permit, listener.accept().await)
        };
        tokio::select! {
            () = told_to_end(&mut shutdown) => break,
            accepted = next => match accepted {
                (Ok(permit), Ok((stream, peer))) => connect(&graceful, &router, stream, peer, permit),
                (_, Err(error)) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                (Err(_), Ok(_)) => break,
            },
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("connections were still in use when the process ended");
    }
}

/// Resolves once the process is told to end, or nobody is left who could tell it.
async fn told_to_end(shutdown: &mut watch::Receiver<bool>) {
    // The guard that a watch hands out is not Send; it is dropped here.
    let _ = shutdown.wait_for(|end| *end).await;
}

fn connect(
    graceful: &GracefulShutdown,
    router: &Router,
    stream: TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
) {
    // Answers are small and complete; waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    let service = router.clone().map_request(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.map(axum::body::Body::new)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .max_buf_size(HEAD_LEN_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(Patient::new(stream, WRITE_STALL_TIMEOUT)), TowerToHyperService::new(service));
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended early");
        }
        drop(permit);
    });
}

#[cfg(test)]
mod tests;
