//! The demo, and synthetic companies of any number, made by commands to the running services as anybody else would
//! send them.
//!
//! It owns the order of commands. It refuses to write a database, and to know what a command decides. Seeding what is
//! there already appends nothing; after a crash halfway it completes; what somebody took away from the demo it puts
//! back.

mod company;
mod grants;

use crate::{
    demo,
    local::progress::Progress,
    platform::{Addresses, Ask, Callee, Platform},
};
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::{collections::BTreeMap, process::ExitCode, sync::Arc};
use tokio::{sync::Semaphore, task::JoinSet};
use uuid::Uuid;

/// Synthetic companies that are made at once.
const AT_ONCE: usize = 8;

/// What `kisum seed` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also make this many synthetic companies.
    #[arg(long, default_value_t = 0)]
    companies: usize,
    /// With this many members each.
    #[arg(long, default_value_t = 10)]
    members: usize,
}

/// Seeds the platform that the environment names (`.kisum/env`).
///
/// # Errors
/// The first command that was not taken, and why.
pub async fn run(args: Args) -> Result<ExitCode> {
    let addresses = Addresses::from_variables(&crate::ambient::variables())?;
    let progress = Progress::on_stderr();
    let seeder = Arc::new(Seeder::new(&addresses).await?);
    for company in demo::companies() {
        progress.step(&company.slug, seeder.company(&company)).await?;
    }
    if args.companies > 0 {
        let name = format!("{} synthetic companies of {} members", args.companies, args.members);
        progress.step(&name, synthetic(&seeder, args.companies, args.members)).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the five companies of the demo.
///
/// # Errors
/// The first command that was not taken, and why.
pub async fn demo(addresses: &Addresses) -> Result<()> {
    let seeder = Seeder::new(addresses).await?;
    for company in demo::companies() {
        seeder.company(&company).await.with_context(|| format!("company {}", company.slug))?;
    }
    Ok(())
}

/// Makes synthetic companies, several at once.
async fn synthetic(seeder: &Arc<Seeder>, companies: usize, members: usize) -> Result<()> {
    let limit = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for number in 1..=companies {
        let permit = Arc::clone(&limit).acquire_owned().await?;
        let seeder = Arc::clone(seeder);
        tasks.spawn(async move {
            let _permit = permit;
            let company = demo::synthetic(number, members);
            seeder.company(&company).await.with_context(|| format!("company {}", company.slug))
        });
        while let Some(done) = tasks.try_join_next() {
            done??;
        }
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// Sends commands to one platform.
#[derive(Debug)]
struct Seeder {
    platform: Platform,
    catalog: Catalog,
}

impl Seeder {
    async fn new(addresses: &Addresses) -> Result<Self> {
        let platform = Platform::new(addresses.clone())?;
        let catalog = Catalog::read(&platform).await?;
        Ok(Self { platform, catalog })
    }
}

/// What can be bought and granted, as Core says.
#[derive(Debug)]
struct Catalog {
    /// Permissions that can be granted, by module.
    permissions: BTreeMap<String, Vec<String>>,
    /// Modules by purchase: `package/basic`, `addon/finance`.
    contents: BTreeMap<String, Vec<String>>,
}

impl Catalog {
    async fn read(platform: &Platform) -> Result<Self> {
        let mut catalog = Self { permissions: BTreeMap::new(), contents: BTreeMap::new() };
        for module in list(platform, "modules").await? {
            catalog.permissions.insert(key(&module)?, grantable(&module));
        }
        for (kind, plural) in [("package", "packages"), ("addon", "addons")] {
            for item in list(platform, plural).await? {
                catalog.contents.insert(format!("{kind}/{}", key(&item)?), newest_modules(&item));
            }
        }
        Ok(catalog)
    }

    /// Modules that the company owns by what it bought.
    fn owned(&self, company: &demo::Company) -> Result<Vec<String>> {
        let package = company.package.iter().map(|package| format!("package/{package}"));
        let bought = package.chain(company.addons.iter().map(|addon| format!("addon/{addon}")));
        let mut owned = Vec::new();
        for purchase in bought {
            let Some(modules) = self.contents.get(&purchase) else { bail!("Core does not sell {purchase}") };
            owned.extend(modules.iter().cloned());
        }
        Ok(owned)
    }

    /// Permissions of a module.
    fn permissions(&self, module: &str) -> &[String] {
        self.permissions.get(module).map_or(&[], Vec::as_slice)
    }
}

/// Every item of one of Core's lists.
async fn list(platform: &Platform, what: &str) -> Result<Vec<Value>> {
    let mut items = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/internal/v1/{what}?limit=200{cursor}");
        let answer = platform.internal(Callee::Core, Ask::get(&path)).await?;
        let page = answer.data()?;
        let Some(list) = page.get("items").and_then(Value::as_array) else {
            bail!("{}: no list came back", answer.asked);
        };
        items.extend(list.iter().cloned());
        match page.get("nextCursor").and_then(Value::as_str) {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(items),
        }
    }
}

fn key(item: &Value) -> Result<String> {
    item.get("key").and_then(Value::as_str).map(str::to_owned).context("an item of the catalog has no key")
}

fn is_retired(item: &Value) -> bool {
    item.get("retired").and_then(Value::as_bool).unwrap_or(false)
}

/// Keys of a module's permissions that are not retired.
fn grantable(module: &Value) -> Vec<String> {
    let permissions = module.get("permissions").and_then(Value::as_array).into_iter().flatten();
    permissions.filter(|permission| !is_retired(permission)).filter_map(|permission| key(permission).ok()).collect()
}

/// What the newest version on sale contains.
fn newest_modules(item: &Value) -> Vec<String> {
    let mut versions = item.get("versions").and_then(Value::as_array).into_iter().flatten();
    let newest = versions.rfind(|version| !is_retired(version)).and_then(|version| version.get("modules"));
    let modules = newest.and_then(Value::as_array).into_iter().flatten();
    modules.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The key that a command is sent under: the same command is the same request, however often it is sent.
fn command_key(path: &str, body: &Value) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("kisum:seed:{path}:{body}").as_bytes())
}
