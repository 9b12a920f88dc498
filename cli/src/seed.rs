//! The demo, and synthetic companies of any number, made by commands to the running services as anybody else would
//! send them.
//!
//! It owns the order of commands. It refuses to write a database, and to know what a command decides. Seeding what is
//! there already appends nothing; after a crash halfway it completes; what somebody took away from the demo it puts
//! back.

mod company;
pub(crate) mod counting;
mod grants;

use crate::{
    ambient::Stopwatch,
    demo,
    local::progress::Progress,
    platform::{Addresses, Ask, Callee, Platform},
};
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{Arc, atomic::AtomicU64},
};
use tokio::task::JoinSet;
use uuid::Uuid;

/// Synthetic companies that are made at once. Within a company one follows the other: each member changes its seats.
const AT_ONCE: usize = 16;

/// What `kisum seed` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also make this many synthetic companies, `seed-0001` and on; of those that are there, what is missing.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    companies: u32,
    /// With this many members each, `s000001@seed-0001.example` and on.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    members: u32,
    /// The first so many of each company can sign in, with the demo's password; the others have none.
    #[arg(long, default_value_t = 1)]
    with_passwords: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Seeds the platform that the environment names (`.kisum/env`).
///
/// # Errors
/// The first command that was not taken, and why.
pub async fn run(args: Args) -> Result<ExitCode> {
    let addresses = Addresses::from_variables(&crate::ambient::variables())?;
    let watch = Stopwatch::start();
    let progress = Progress::on_stderr();
    let seeder = Arc::new(Seeder::new(&addresses).await?);
    progress.step(demo::ADMIN_EMAIL, seeder.admin()).await?;
    for company in demo::companies() {
        progress.step(&company.slug, seeder.company(&company, &AtomicU64::new(0))).await?;
    }
    if args.companies > 0 {
        synthetic(&seeder, &args).await?;
    }
    let (companies, members, seconds) = (args.companies, args.members, watch.elapsed().as_secs_f64());
    if args.json {
        println!("{}", json!({ "companies": companies, "members": members, "seconds": seconds }));
    } else {
        println!("the demo and {companies} synthetic companies of {members} members are there, after {seconds:.1} s");
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the five companies of the demo.
///
/// # Errors
/// The first command that was not taken, and why.
pub async fn demo(addresses: &Addresses) -> Result<()> {
    let seeder = Seeder::new(addresses).await?;
    seeder.admin().await.context(demo::ADMIN_EMAIL)?;
    for company in demo::companies() {
        let made = seeder.company(&company, &AtomicU64::new(0)).await;
        made.with_context(|| format!("company {}", company.slug))?;
    }
    Ok(())
}

/// Makes synthetic companies, several at once, and no more of them than that in memory.
async fn synthetic(seeder: &Arc<Seeder>, args: &Args) -> Result<()> {
    let [companies, members, passwords] =
        [args.companies, args.members, args.with_passwords].map(|number| usize::try_from(number).unwrap_or(usize::MAX));
    let made = Arc::new(AtomicU64::new(0));
    let total = u64::from(args.companies).saturating_mul(u64::from(args.members));
    let work = async {
        let mut tasks = JoinSet::new();
        for number in 1..=companies {
            if tasks.len() >= AT_ONCE
                && let Some(done) = tasks.join_next().await
            {
                done??;
            }
            let (seeder, made) = (Arc::clone(seeder), Arc::clone(&made));
            tasks.spawn(async move {
                let company = demo::synthetic(number, members, passwords);
                seeder.company(&company, &made).await.with_context(|| format!("company {}", company.slug))
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(())
    };
    counting::shown("members", total, &made, work).await
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
