//! The example of a subscriber as a process: what it prints, killed and started again, over a hole, over an epoch.

use super::{Admin, add};
use kisum::{
    local::{Part, Stack, stack::binary_beside_this},
    platform::{Addresses, Ask, Callee, Platform},
};
use kisum_events::{Effect, Log, StreamName};
use kisum_tests::{counted::new_uuid, owner::envelope, processes::Process, servers};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn start(stack: &Stack, added: &Value) -> Process {
    let text = |name: &str| added[name].as_str().unwrap_or_else(|| panic!("no {name}: {added}"));
    let kisum = binary_beside_this().unwrap_or_else(|failure| panic!("{failure}"));
    let binary = kisum.with_file_name("examples").join("entitlements");
    assert!(binary.is_file(), "{} is not built: `./dev test` builds it", binary.display());
    let environment = BTreeMap::from([
        ("NATS_URL".to_owned(), text("natsUrl").to_owned()),
        ("NATS_NKEY".to_owned(), format!("file:{}", text("seedFile"))),
    ]);
    let command = vec![binary.display().to_string(), text("name").to_owned()];
    Process::start(stack, "entitlements", command, environment)
}

/// What a company buys and gives up.
struct Company<'a> {
    platform: &'a Platform,
    id: String,
}

impl Company<'_> {
    /// Attaches or detaches an add-on; answers the version of the entitlements.
    async fn addon(&self, method: Method, addon: &str) -> u64 {
        let path = format!("/internal/v1/companies/{}/addons/{addon}", self.id);
        let ask = Ask::new(method.clone(), &path);
        let ask = if method == Method::PUT { ask.body(json!({})) } else { ask };
        let answer = self.platform.internal(Callee::Core, ask).await.unwrap_or_else(|error| panic!("{error:#}"));
        assert!(answer.is_success(), "{answer}");
        let path = format!("/internal/v1/companies/{}/entitlements", self.id);
        let owned = self.platform.internal(Callee::Core, Ask::get(&path)).await;
        let owned = owned.unwrap_or_else(|error| panic!("{error:#}"));
        owned.body["data"]["entitlementVersion"].as_u64().unwrap_or_else(|| panic!("{owned:?}"))
    }
}

/// The start of the line that a change is printed as.
fn line(version: u64, previous: u64) -> String {
    format!("version {version} after {previous}: ")
}

fn begins(lines: &[String], wanted: &[String]) -> bool {
    lines.len() == wanted.len() && lines.iter().zip(wanted).all(|(line, start)| line.starts_with(start.as_str()))
}

#[tokio::test(flavor = "multi_thread")]
async fn it_prints_each_change_of_one_company_once_over_a_kill() {
    let stack = servers::start(&[Part::RelayCore, Part::Core]).await;
    let variables = stack.variables().unwrap_or_else(|failure| panic!("{failure}"));
    let addresses = Addresses::from_variables(&variables).unwrap_or_else(|error| panic!("{error:#}"));
    let platform = Platform::new(addresses).unwrap_or_else(|error| panic!("{error:#}"));
    let company = Company { platform: &platform, id: new_uuid().to_string() };
    let neighbour = Company { platform: &platform, id: new_uuid().to_string() };
    let admin = Admin::of(&stack).await;

    let first = company.addon(Method::PUT, "finance").await;
    let subject = format!("kisum.core.v1.access.{}.entitlement.changed", company.id);
    let added = add(&stack, "billing", &subject).await;
    let example = start(&stack, &added);
    let second = company.addon(Method::PUT, "market").await;
    neighbour.addon(Method::PUT, "finance").await;
    let third = company.addon(Method::DELETE, "finance").await;
    let wanted = [line(first, 0), line(second, first), line(third, second)];
    example.until("three changes", |lines| lines.len() >= 3).await;
    assert!(begins(&example.lines(), &wanted), "{:?}", example.lines());
    let owned = example.lines().pop().unwrap_or_default();
    assert!(owned.contains("market from ") && !owned.contains("finance"), "{owned}");
    // Killed before it has said that it dealt with an event, it would rightly print that event once more.
    admin.has_acknowledged("CORE_1", "billing", third).await;
    example.kill().await;

    let fourth = company.addon(Method::PUT, "finance").await;
    neighbour.addon(Method::DELETE, "finance").await;
    let fifth = company.addon(Method::DELETE, "market").await;
    let example = start(&stack, &added);
    example.until("what it missed", |lines| lines.len() >= 2).await;
    let sixth = company.addon(Method::PUT, "market").await;
    example.until("what is new", |lines| lines.len() >= 3).await;
    admin.has_acknowledged("CORE_1", "billing", sixth).await;
    let wanted = [line(fourth, third), line(fifth, fourth), line(sixth, fifth)];
    assert!(begins(&example.lines(), &wanted), "{:?}", example.lines());
    example.kill().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_where_a_change_is_missing_and_when_an_epoch_begins() {
    let stack = servers::start(&[]).await;
    let admin = Admin::of(&stack).await;
    let company = new_uuid().to_string();
    let subject = format!("kisum.core.v1.access.{company}.entitlement.changed");
    let changed = |version: u64, previous: u64| {
        let data = json!({
            "companyId": company, "entitlements": [], "entitlementVersion": version,
            "previousEntitlementVersion": previous, "cause": { "eventId": new_uuid(), "type": "addon.detached" },
        });
        let stream = StreamName::from_stored(format!("subscription-{company}"));
        let said = ("entitlement.changed", Effect::Narrows, data);
        serde_json::to_string(&envelope(Log::Core, (version, previous), &stream, said)).unwrap_or_default()
    };
    admin.makes_stream("core", 1).await;
    let added = add(&stack, "billing", &subject).await;
    let example = start(&stack, &added);
    for (version, previous) in [(4, 0), (7, 4), (7, 4), (12, 9), (13, 12)] {
        admin.says(&subject, 1, changed(version, previous)).await;
    }
    example.until("the last change", |lines| lines.last().is_some_and(|last| *last == line(13, 12) + "nothing")).await;
    let hole = "hole: the change before is 9, and 7 was the last one here".to_owned();
    let wanted = vec![line(4, 0), line(7, 4), hole, line(12, 9), line(13, 12)];
    assert!(begins(&example.lines(), &wanted), "{:?}", example.lines());

    let streams = kisum_log::LogStreams::new(admin.nats.clone(), Log::Core);
    for stream in streams.list().await.unwrap_or_else(|error| panic!("{error}")) {
        streams.retire(&stream).await.unwrap_or_else(|error| panic!("{error}"));
    }
    admin.makes_stream("core", 2).await;
    admin.says(&subject, 2, changed(4, 0)).await;
    add(&stack, "billing", &subject).await;
    example.until("the new epoch's change", |lines| lines.len() >= 7).await;
    let new = vec!["epoch 2: what was known before counts no more".to_owned(), line(4, 0)];
    let lines = example.lines();
    assert!(begins(lines.get(5..).unwrap_or_default(), &new), "{lines:?}");
    example.kill().await;
    stack.stop().await;
}
