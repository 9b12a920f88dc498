//! A whole platform with the demo in it, as `./dev up` starts one, for as long as something is measured.

use crate::ambient;
use anyhow::{Context as _, anyhow};
use kisum::{
    local::{Failure, Part, Stack, StackOptions, stack::binary_beside_this},
    platform::{Addresses, Ask, Platform},
    seed,
};
use reqwest::Method;
use serde_json::json;

/// A running platform.
pub(crate) struct Running {
    /// Its processes.
    pub(crate) stack: Stack,
    /// Requests to it.
    pub(crate) platform: Platform,
}

impl Running {
    /// Starts one, durable as in production, and seeds it.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        Self::start_with(&[]).await
    }

    /// Starts one whose Auth is told this, too.
    pub(crate) async fn start_with(of_auth: &[(&str, &str)]) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("kisum-bench-{}", ambient::new_uuid().simple()));
        let binary = binary_beside_this().map_err(told)?;
        let mut options = StackOptions { durable: true, ..StackOptions::temporary(folder, binary) };
        let told_auth = of_auth.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        options.overrides.entry(Part::Auth).or_default().extend(told_auth);
        let stack = Stack::start(options.with_services(&Part::SERVICES)).await.map_err(told)?;
        let addresses = Addresses::from_variables(&stack.variables().map_err(told)?)?;
        seed::demo(&addresses).await?;
        Ok(Self { platform: Platform::new(addresses)?, stack })
    }

    /// Signs in as a person of the demo; returns the access token.
    pub(crate) async fn sign_in(&self, email: &str) -> anyhow::Result<String> {
        let addresses = self.platform.addresses();
        let body = json!({ "email": email, "password": addresses.demo_password, "client": "native" });
        let ask = Ask::new(Method::POST, "/auth/login").body(body);
        self.platform.public(&addresses.auth, None, ask).await?.text("/accessToken")
    }
}

/// What a part's process holds in memory, in MB (Linux: `VmRSS`).
pub(crate) fn resident_mb(stack: &Stack, part: Part) -> anyhow::Result<f64> {
    let pid = stack.pid(part).with_context(|| format!("{part} does not run"))?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = resident.and_then(|text| text.trim().split(' ').next()?.parse::<u32>().ok());
    Ok(f64::from(kilobytes.context("a process without VmRSS")?) / 1024.0)
}

/// A failure of the local stack as an error.
pub(crate) fn told(failure: Failure) -> anyhow::Error {
    anyhow!("{failure}")
}
