//! What the same server takes in without a log's promises: the references of `measurements.md`.

use super::subject::filler;
use crate::{
    ambient,
    workers::{Measured, workers},
};
use sqlx::{Connection, PgConnection, PgPool, postgres::PgPoolOptions};
use std::{sync::Arc, time::Duration};
use tokio::sync::Mutex;

pub(super) const SINGLE: &str = "reference: INSERT + commit, 64 connections";
pub(super) const BULK: &str = "reference: 500-row INSERT, 1024 streams";

/// A table with what an event cannot do without: its place, its stream and version, both unique, and a body. About
/// 300 bytes a row with its indexes, as in `measurements.md`.
pub(super) async fn prepare(owner_url: &str) -> anyhow::Result<()> {
    let mut owner = PgConnection::connect(owner_url).await?;
    sqlx::raw_sql(
        "create table bench_plain (position bigint generated always as identity primary key,
         id uuid not null, stream text not null, version bigint not null, type text not null, data text not null,
         unique (stream, version))",
    )
    .execute(&mut owner)
    .await?;
    Ok(())
}

/// One event, one commit, over 64 connections.
pub(super) async fn single(url: &str, seconds: Duration) -> anyhow::Result<Measured> {
    let pool = Arc::new(PgPoolOptions::new().min_connections(64).max_connections(64).connect(url).await?);
    workers(64, |_| {
        let pool: Arc<PgPool> = pool.clone();
        async move {
            let mut conn = pool.acquire().await?;
            let stream = ambient::new_uuid().to_string();
            let (mut events, mut took) = (0_i64, Vec::new());
            let started = ambient::now();
            while started.elapsed() < seconds {
                let asked = ambient::now();
                events += 1;
                sqlx::query("insert into bench_plain (id, stream, version, type, data) values ($1, $2, $3, $4, $5)")
                    .bind(ambient::new_uuid())
                    .bind(&stream)
                    .bind(events)
                    .bind("bench.happened")
                    .bind(filler() + filler().as_str())
                    .execute(&mut *conn)
                    .await?;
                took.push(asked.elapsed().as_secs_f64() * 1000.0);
            }
            Ok((events.unsigned_abs(), took))
        }
    })
    .await
}

/// 500 events a commit on one connection. Over one stream the index on streams only grows at its end; over as many
/// streams as there are writers, it is what an append of their events meets.
pub(super) async fn bulk(url: &str, streams: usize, seconds: Duration) -> anyhow::Result<Measured> {
    let conn = Arc::new(Mutex::new(PgConnection::connect(url).await?));
    workers(1, |_| {
        let conn = conn.clone();
        async move {
            let mut conn = conn.lock().await;
            let mut versions: Vec<(String, i64)> =
                (0..streams).map(|_| (format!("bench-{}", ambient::new_uuid()), 0)).collect();
            let (mut events, mut took, mut turn) = (0, Vec::new(), 0_usize);
            let started = ambient::now();
            while started.elapsed() < seconds {
                // The rows are sent, as a service would: what the server invents itself costs no way.
                let ids: Vec<_> = (0..500).map(|_| ambient::new_uuid()).collect();
                let mut rows = (Vec::with_capacity(500), Vec::with_capacity(500));
                for _ in 0..500 {
                    turn = (turn + 1) % streams;
                    if let Some((stream, version)) = versions.get_mut(turn) {
                        *version += 1;
                        rows.0.push(stream.clone());
                        rows.1.push(*version);
                    }
                }
                let (types, bodies) = (vec!["bench.happened"; 500], vec![filler() + filler().as_str(); 500]);
                let asked = ambient::now();
                sqlx::query(
                    "insert into bench_plain (id, stream, version, type, data)
                     select * from unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[])",
                )
                .bind(&ids)
                .bind(&rows.0)
                .bind(&rows.1)
                .bind(&types)
                .bind(&bodies)
                .execute(&mut *conn)
                .await?;
                took.push(asked.elapsed().as_secs_f64() * 1000.0);
                events += 500;
            }
            Ok((events, took))
        }
    })
    .await
}
