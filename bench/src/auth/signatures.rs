//! What a refresh cannot do without: signatures and nothing else, on every core.

use crate::ambient;
use anyhow::Context as _;
use kisum_api::shared::signing_key::SigningKey;
use std::{num::NonZero, time::Duration};

/// About as long as what is signed of an access token.
const MESSAGE: [u8; 360] = [b'a'; 360];

/// PS256 signatures a second by a key of 2048 bits, on all cores together.
pub(super) async fn ps256(span: Duration) -> anyhow::Result<f64> {
    let key = SigningKey::from_pem("raw".parse()?, None, &kisum::local::keys::rsa()?)?;
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let started = ambient::now();
    let signing = (0..cores).map(|_| {
        let key = key.clone();
        tokio::task::spawn_blocking(move || {
            let mut done = 0_u32;
            while started.elapsed() < span {
                key.sign(&MESSAGE)?;
                done += 1;
            }
            anyhow::Ok(done)
        })
    });
    let mut done = 0.0;
    for one in signing.collect::<Vec<_>>() {
        done += f64::from(one.await.context("a thread that signs")??);
    }
    Ok(done / started.elapsed().as_secs_f64())
}
