//! The relay's lag.

use super::{metrics, sum, until};
use kisum::local::Part;
use kisum_tests::{
    servers,
    streams::{append_many, auth_log, caught_up},
};

async fn lag(stack: &kisum::local::Stack) -> f64 {
    sum(&metrics(stack, Part::RelayAuth).await, "kisum_relay_lag_events", r#"log="auth""#)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_s_lag_grows_while_nats_is_gone_and_is_nothing_once_all_is_acknowledged() {
    let mut stack = servers::start(&[Part::RelayAuth]).await;
    let log = auth_log(&stack).await;
    append_many(&log, 20).await;
    caught_up(&stack, &log).await;
    stack.kill(Part::Nats).await;
    // The last acknowledgements may be lost with the server: up to 20 count as not acknowledged.
    for (more, least) in [(60, 60.0), (50, 110.0)] {
        append_many(&log, more).await;
        let waiting =
            until("the lag of what was appended", async || Some(lag(&stack).await).filter(|waiting| *waiting >= least));
        assert!(waiting.await <= least + 20.0);
    }
    stack.start_part(Part::Nats).await.unwrap_or_else(|failure| panic!("{failure}"));
    until("a lag of nothing again", async || (lag(&stack).await == 0.0).then_some(())).await;
    stack.stop().await;
}
