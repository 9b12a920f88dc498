//! The smoke check: whether the running platform keeps its promises, seen from outside, in a few seconds (plan §25).
//!
//! It owns the list of checks, their times and the verdict. It changes the demo where a promise is about a change,
//! and puts back whatever it changed, also after a failure; so it can run any number of times.

mod answers;
mod people;
mod redis;
mod report;
mod steps;

pub use answers::comparable;
pub use report::{Check, Report};

use crate::platform::Platform;
use anyhow::Result;
use people::Signed;
use report::Recorder;

/// How results are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// One line per check as it ends, for people.
    Lines,
    /// Nothing; the caller prints the report, for instance as JSON.
    Silent,
}

/// Runs every check in order, stopping at the first that fails. The report says which; `report.ok` decides the exit
/// code.
pub async fn run(platform: &Platform, output: Output) -> Report {
    let mut recorder = Recorder::new(output);
    let mut signed = Vec::new();
    let outcome = checks(platform, &mut recorder, &mut signed).await;
    // Sessions are the last thing put back: the checks before may still have needed them.
    let tidied = people::sign_out(platform, signed).await;
    recorder.finish(outcome.and(tidied))
}

async fn checks(platform: &Platform, recorder: &mut Recorder, signed: &mut Vec<Signed>) -> Result<()> {
    recorder.check("Auth is healthy and ready", steps::health(platform)).await?;
    let user = recorder.check("login", people::sign_in(platform, people::USER, signed)).await?;
    recorder.check("/auth/me", steps::me(platform, &user)).await?;
    let membership = recorder.check("/auth/me/access", steps::access(platform, &user)).await?;
    recorder.check("Core entitlement read", steps::entitlements(platform, &membership)).await?;
    recorder.check("a Finance request is allowed", steps::allowed(platform, &user)).await?;
    recorder.check("one is refused for a missing permission", steps::missing_permission(platform, &user)).await?;

    let removed = steps::finance_removed(platform, &user, &membership, recorder).await;
    let restored = steps::finance_restored(platform, &user, &membership, recorder).await;
    removed.and(restored)?;

    let superadmin =
        recorder.check("the superadmin signs in", people::sign_in(platform, people::SUPERADMIN, signed)).await?;
    let revoked = steps::permission_revoked(platform, &user, &superadmin, &membership, recorder).await;
    let granted = steps::permission_granted(platform, &user, &superadmin, &membership, recorder).await;
    revoked.and(granted)?;

    let second = recorder.check("a second session", people::sign_in(platform, people::USER, signed)).await?;
    steps::session_ended(platform, &user, &second, recorder).await?;
    recorder
        .check("Redis is flushed and every answer stays the same", redis::flush(platform, &user, &second, &membership))
        .await
}
