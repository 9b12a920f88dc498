//! `kisum log verify`: exit 0 when the log is as it was written, 1 with the first position that is not.

use anyhow::Result;
use kisum_events::Log;
use kisum_log::{VerifyError, verify};
use sqlx::PgPool;
use std::{io::IsTerminal as _, process::ExitCode};

pub(super) async fn run(pool: &PgPool, log: Log, json: bool) -> Result<ExitCode> {
    let mut conn = pool.acquire().await?;
    let shows_progress = std::io::stderr().is_terminal();
    let outcome = verify(&mut conn, |position| {
        if shows_progress {
            eprint!("\r{position} events");
        }
    })
    .await;
    if shows_progress {
        eprint!("\r");
    }
    match outcome {
        Ok(verified) if json => {
            let (events, batches) = (verified.events, verified.batches);
            println!("{}", serde_json::json!({ "log": log, "ok": true, "events": events, "batches": batches }));
            Ok(ExitCode::SUCCESS)
        }
        Ok(verified) => {
            println!("the {log} log is as it was written: {} events in {} batches", verified.events, verified.batches);
            Ok(ExitCode::SUCCESS)
        }
        Err(VerifyError::Different(difference)) if json => {
            let (position, what) = (difference.position, difference.what);
            println!("{}", serde_json::json!({ "log": log, "ok": false, "position": position, "what": what }));
            Ok(ExitCode::FAILURE)
        }
        Err(VerifyError::Different(difference)) => {
            println!("the {log} log is not as it was written: {difference}");
            Ok(ExitCode::FAILURE)
        }
        Err(VerifyError::Load(error)) => Err(error.into()),
    }
}
