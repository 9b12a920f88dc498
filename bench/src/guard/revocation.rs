//! From the commit of a revocation to the first refusal by a backend: the real Finance, asked all the time.
//!
//! The commit's time is the event's own, taken by the database inside the append, so that what is measured is a little
//! longer than what is promised. Both are read from the clock of this machine.

use crate::{
    load::{self, Connection},
    platform::Running,
    report::Line,
};
use anyhow::{Context as _, bail, ensure};
use kisum::{
    ambient,
    platform::{Ask, Callee},
};
use kisum_events::Timestamp;
use reqwest::Method;
use serde_json::Value;
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

const COMPANY: &str = "acme-live";
const PERSON: &str = "user@acme-live.example";
const SUPERADMIN: &str = "superadmin@acme-live.example";
/// The product's bound: whatever takes longer is no measurement.
const BOUND: Duration = Duration::from_secs(5);
/// Events on one page of the log.
const PAGE: u64 = 500;

/// Revokes and grants so often, and measures every revocation.
pub(super) async fn measure(running: &Running, count: usize) -> anyhow::Result<Vec<Line>> {
    let platform = &running.platform;
    let (token, superadmin) = (running.sign_in(PERSON).await?, running.sign_in(SUPERADMIN).await?);
    let ask = Ask::get("/auth/me/access").company(COMPANY);
    let access = platform.public(&platform.addresses().auth, Some(&token), ask).await?;
    let (company, membership) = (access.text("/companyId")?, access.text("/membershipId")?);
    let path = format!("/companies/{company}/members/{membership}/permissions/finance.bills.read");
    let finance = load::address(&platform.addresses().finance)?;
    let authorization = format!("Bearer {token}");
    let request = load::request("GET", "/api/bills", &[("authorization", &authorization), ("x-org", COMPANY)]);

    let mut refused = BTreeMap::new();
    until(finance, request.clone(), 200).await?;
    for number in 1..=count {
        // Asked before, during and after the command.
        let asking = tokio::spawn(until(finance, request.clone(), 403));
        let position = command(running, &superadmin, &path, Method::DELETE, &company).await?;
        refused.insert(position, asking.await??);
        command(running, &superadmin, &path, Method::PUT, &company).await?;
        until(finance, request.clone(), 200).await?;
        if number % 250 == 0 {
            eprintln!("{number} of {count} revocations");
        }
    }
    let committed = recorded(running, &refused).await?;
    let mut took = Vec::with_capacity(refused.len());
    for (position, refused_at) in &refused {
        let committed_at = committed.get(position).with_context(|| format!("no event at {position}"))?;
        took.push(refused_at.since(*committed_at).as_secs_f64() * 1000.0);
    }
    let mut line = Line::new("commit of a revocation → refused", None);
    line.set_latencies(&mut took);
    let largest = took.iter().copied().fold(0.0, f64::max);
    eprintln!("the slowest of {} took {largest:.1} ms", took.len());
    Ok(vec![line])
}

/// Carries out a command of the superadmin; returns the position of its event.
async fn command(running: &Running, token: &str, path: &str, method: Method, company: &str) -> anyhow::Result<u64> {
    let platform = &running.platform;
    let ask = Ask::new(method, path).company(company);
    let answer = platform.public(&platform.addresses().auth, Some(token), ask).await?;
    answer.data()?;
    let position = answer.position.as_deref().and_then(|position| position.rsplit('.').next()?.parse().ok());
    position.with_context(|| format!("{}: no receipt", answer.asked))
}

/// Asks one time after the other until the status is the wanted one; returns when that answer was there. Meanwhile it
/// may only be the other one of allowed and refused.
async fn until(backend: SocketAddr, request: Vec<u8>, wanted: u16) -> anyhow::Result<Timestamp> {
    let mut connection = Connection::open(backend).await?;
    let asking = async {
        loop {
            match connection.ask(&request).await? {
                status if status == wanted => return Ok(ambient::now()),
                200 | 403 => {}
                other => bail!("{other}: {}", String::from_utf8_lossy(connection.body())),
            }
        }
    };
    tokio::time::timeout(BOUND, asking).await.with_context(|| format!("no {wanted} within {BOUND:?}"))?
}

/// When the events at these positions were recorded.
async fn recorded(running: &Running, wanted: &BTreeMap<u64, Timestamp>) -> anyhow::Result<BTreeMap<u64, Timestamp>> {
    let (Some((first, _)), Some((last, _))) = (wanted.first_key_value(), wanted.last_key_value()) else {
        return Ok(BTreeMap::new());
    };
    let (mut after, mut found) = (first.saturating_sub(1), BTreeMap::new());
    while after < *last {
        let path = format!("/internal/v1/log/auth?after={after}&limit={PAGE}");
        let page = running.platform.internal(Callee::Auth, Ask::get(&path)).await?;
        let events = page.data()?.get("events").and_then(Value::as_array).cloned().unwrap_or_default();
        ensure!(!events.is_empty(), "the log ends at {after}");
        for event in events {
            let position = event.get("position").and_then(Value::as_u64).context("an event without a position")?;
            let at = event.get("recordedAt").cloned().context("an event without a time")?;
            found.insert(position, serde_json::from_value(at)?);
            after = position;
        }
    }
    Ok(found)
}
