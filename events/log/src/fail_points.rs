//! Named points where a test can kill this process, as by `kill -9`: `append.before_call`, `append.call_sent` (on its way
//! to the server, the answer unread), `append.answer_read` (the caller not told), `relay.published` (the
//! acknowledgement unread).
//!
//! They exist under the feature `failpoints` alone, which only the tests ask for; without it nothing of them is compiled
//! in. `FAILPOINTS` arms them with the syntax of the crate `fail`: `append.call_sent=7*off->return` kills at the eighth
//! time.

/// Reads `FAILPOINTS`. What it arms stays armed until the process ends.
#[cfg(feature = "failpoints")]
pub fn arm() {
    // The scenario disarms when it is dropped, and nobody here ever wants that.
    std::mem::forget(fail::FailScenario::setup());
}

/// Dies here if the point is armed and its time has come. Crates above this one name points of their own.
#[cfg(feature = "failpoints")]
pub fn point(name: &'static str) {
    if reached(name) {
        die();
    }
}

/// Outside test builds there is none.
#[cfg(not(feature = "failpoints"))]
pub(crate) const fn point(_name: &'static str) {}

/// Runs a call; if the point is armed and its time has come, lets it be sent and dies before it is answered.
pub(crate) async fn point_when_sent<T>(name: &'static str, call: impl Future<Output = T>) -> T {
    #[cfg(feature = "failpoints")]
    if reached(name) {
        // Its first poll writes to the socket and then waits for the server.
        let _unanswered = tokio::time::timeout(std::time::Duration::ZERO, call).await;
        die();
    }
    #[cfg(not(feature = "failpoints"))]
    let _ = name;
    call.await
}

/// As [`point`], after what was published has left this process.
pub(crate) async fn point_once_flushed(name: &'static str, nats: &async_nats::Client) {
    #[cfg(feature = "failpoints")]
    if reached(name) {
        let _ = nats.flush().await;
        die();
    }
    #[cfg(not(feature = "failpoints"))]
    let _ = (name, nats);
}

#[cfg(feature = "failpoints")]
fn reached(name: &'static str) -> bool {
    fail::eval(name, |_| ()).is_some()
}

#[cfg(feature = "failpoints")]
fn die() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    loop {
        std::thread::park();
    }
}
