//! Workers side by side, each doing one thing after the other.

use crate::ambient;
use std::future::Future;

/// A rate a second, and the latencies behind it in ms.
pub(crate) type Measured = (f64, Vec<f64>);

/// Runs `count` workers until the last is done; each returns how much it did and its latencies in ms.
pub(crate) async fn workers<F>(count: usize, work: impl Fn(usize) -> F) -> anyhow::Result<Measured>
where
    F: Future<Output = anyhow::Result<(u64, Vec<f64>)>> + Send + 'static,
{
    let started = ambient::now();
    let tasks: Vec<_> = (0..count).map(|index| tokio::spawn(work(index))).collect();
    let mut done = 0;
    let mut latencies = Vec::new();
    for task in tasks {
        let (one, mut took) = task.await??;
        done += one;
        latencies.append(&mut took);
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = done as f64 / started.elapsed().as_secs_f64();
    Ok((rate, latencies))
}
