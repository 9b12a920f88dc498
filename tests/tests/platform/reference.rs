//! Real services against the reference model of companies' administration (`domains/tests/reference/model`): over HTTP a
//! story of random commands is answered as the model says, and everybody may do what the model says.

#[allow(dead_code, reason = "the rules' own test tells more of the story, and gets rules wrong on purpose")]
#[path = "../../../domains/tests/reference/model/mod.rs"]
mod model;
mod requests;

use kisum::{
    ambient::{Stopwatch, now},
    platform::{Answer, Ask},
};
use kisum_events::Timestamp;
use kisum_tests::{
    account::{self, Account},
    counted::new_uuid,
    demo::{Demo, Signed, Visitor, texts, words},
};
use model::{Actor, CATALOG, Command, Context, Instant, Key, PEOPLE, Rank, Stage, Story, Wish, World, Wrong};
use reqwest::Method;
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};

const SEED: u64 = 7;
const COMMANDS: usize = 600;
/// After so many commands everybody's access is compared, whomever the last one was about.
const EVERYBODY_EVERY: usize = 60;
/// How long what has changed may take to be seen (`consistency.md`), and a busy machine besides.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);
/// So many of the commands before it are shown with one that was answered otherwise.
const SHOWN: usize = 12;

/// A company by what its requests name; in the order of the model's lists.
struct Firm {
    id: String,
    slug: String,
    members: Vec<String>,
    roles: Vec<String>,
    delegations: Vec<String>,
}

/// Somebody of the story, with the token that they have used last.
struct Person {
    account: Account,
    signed: Signed,
}

/// A story that is told to real services.
struct Telling {
    visitor: Visitor,
    /// When it began.
    began: Timestamp,
    /// What tells its companies from others'.
    mark: String,
    people: Vec<Person>,
    firms: Vec<Firm>,
}

impl Telling {
    async fn of(visitor: Visitor) -> Self {
        let mut people = vec![];
        for _ in 0..PEOPLE {
            let account = Account::new(&visitor).await;
            let signed = account.sign_in(&visitor).await;
            people.push(Person { account, signed });
        }
        let mark = new_uuid().simple().to_string();
        Self { visitor, began: now(), mark: mark.chars().rev().take(12).collect(), people, firms: vec![] }
    }

    /// An instant of the story.
    fn at(&self, instant: Instant) -> Timestamp {
        Timestamp::from_micros(self.began.micros() + instant * 1_000)
    }

    /// Asks as a person; who was let back or whose token has run out signs in again.
    async fn as_person(&mut self, person: usize, ask: Ask<'_>) -> Answer {
        let Person { account, signed } = &self.people[person];
        let answer = account::decided(&self.visitor, Some(&signed.access), ask.clone()).await;
        if answer.code() != "unauthorized" {
            return answer;
        }
        self.people[person].signed = account.sign_in(&self.visitor).await;
        account::decided(&self.visitor, Some(&self.people[person].signed.access), ask).await
    }

    /// What somebody may do in a company, as the model has it.
    async fn access(&mut self, person: usize, company: usize) -> Result<Context, String> {
        let slug = self.firms[company].slug.clone();
        let answer = self.as_person(person, Ask::get("/auth/me/access").company(&slug)).await;
        if !answer.is_success() {
            return Err(words(&answer));
        }
        let data = &answer.body["data"];
        let valid_until = data["validUntil"].as_str().map(|text| {
            let until: Timestamp = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            (until.micros() - self.began.micros()) / 1_000
        });
        Ok(Context {
            rank: requests::rank(data["tenantRole"].as_str().unwrap_or_default()),
            core_app_visible: data["coreAppVisible"] == true,
            owned: keys(&answer, "/ownedModules"),
            modules: keys(&answer, "/modules"),
            permissions: keys(&answer, "/permissions"),
            can_manage_users: data["delegation"]["canManageUsers"] == true,
            can_buy_addons: data["delegation"]["canBuyAddons"] == true,
            grantable_modules: keys(&answer, "/delegation/grantableModules"),
            grantable_permissions: keys(&answer, "/delegation/grantablePermissions"),
            valid_until,
        })
    }

    /// Waits until somebody's access is what the model says.
    async fn agrees(&mut self, world: &World, (person, company): (usize, usize)) -> Result<(), String> {
        let says = world.context(person, company).map_err(|outcome| match outcome {
            "session_revoked" => "401 session_revoked".to_owned(),
            reason => format!("403 forbidden {reason}"),
        });
        let watch = Stopwatch::start();
        loop {
            let is = self.access(person, company).await;
            if is == says {
                return Ok(());
            }
            if watch.elapsed() > PATIENCE {
                let slug = &self.firms[company].slug;
                return Err(format!("person {person} in {slug}\nmodel:    {says:?}\nplatform: {is:?}"));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Tells one command to both: the same answer, and the same access for whom it is about.
    async fn tell(&mut self, world: &mut World, actor: Actor, command: &Command, told: usize) -> Result<(), String> {
        let says = match world.apply(actor, command) {
            Ok(()) => None,
            Err(refusal) => {
                let reason = refusal.reason.map(|reason| format!(" {reason}")).unwrap_or_default();
                Some(format!("{} {}{reason}", refusal.status, refusal.code))
            }
        };
        let answer = self.request(actor, command).await;
        let is = (!answer.is_success()).then(|| words(&answer));
        if says != is {
            return Err(format!("model:    {says:?}\nplatform: {answer}"));
        }
        for whom in concerned(world, (actor, command), says.is_none(), told) {
            self.agrees(world, whom).await?;
        }
        Ok(())
    }
}

/// Keys of the story out of an answer: the catalog has more.
fn keys(answer: &Answer, pointer: &str) -> BTreeSet<Key> {
    let listed = texts(answer, pointer);
    let known =
        CATALOG.iter().flat_map(|(module, permissions)| std::iter::once(*module).chain(permissions.iter().copied()));
    known.filter(|key| listed.iter().any(|text| text == key)).collect()
}

/// Whose access is compared: that of who asked and of the member whom it is about, at times everybody's.
fn concerned(world: &World, (actor, command): (Actor, &Command), is_done: bool, told: usize) -> Vec<(usize, usize)> {
    let everybody = |company: usize| (0..PEOPLE).map(move |person| (person, company));
    if told.is_multiple_of(EVERYBODY_EVERY) {
        return (0..world.companies.len()).flat_map(everybody).collect();
    }
    let Command::Company { company, wish } = command else { return vec![] };
    let asking = match actor {
        Actor::Person(person) => Some(person),
        Actor::Platform => None,
    };
    let member = match wish {
        Wish::ChangeMember { member, .. }
        | Wish::EndMember { member }
        | Wish::GrantModule { member, .. }
        | Wish::RevokeModule { member, .. }
        | Wish::GrantPermission { member, .. }
        | Wish::RevokePermission { member, .. }
        | Wish::AssignRole { member, .. }
        | Wish::UnassignRole { member, .. }
        | Wish::Delegate { to: member, .. } => Some(*member),
        Wish::ChangeRole { .. } | Wish::DeleteRole { .. } | Wish::EndDelegation { .. } if is_done => {
            return everybody(*company).collect();
        }
        _ => None,
    };
    let member = member.filter(|_| is_done).and_then(|place| world.companies[*company].members.get(place));
    let people: BTreeSet<usize> = asking.into_iter().chain(member.map(|member| member.person)).collect();
    people.into_iter().map(|person| (person, *company)).collect()
}

/// Tells a story to the services and to a model, until they disagree: after how many commands, and about what.
async fn tell(demo: &Demo, seed: u64, wrong: Option<Wrong>) -> Result<(), (usize, String)> {
    let mut telling = Telling::of(Visitor::of(&demo.stack)).await;
    let (mut world, mut story) = (World::new(PEOPLE, wrong), Story::new(seed, Stage::Requests));
    let mut last = vec![];
    for told in 1..=COMMANDS {
        let (actor, command) = story.next(&world);
        last.push(format!("    {actor:?} asks for {command:?}"));
        if let Err(what) = telling.tell(&mut world, actor, &command, told).await {
            let last = last.split_off(last.len().saturating_sub(SHOWN)).join("\n");
            return Err((told, format!("seed {seed}, command {told}:\n{last}\n{what}")));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn real_services_answer_random_commands_as_the_reference_model_does() {
    let demo = Demo::start().await;
    tell(&demo, SEED, None).await.unwrap_or_else(|(_, disagreement)| panic!("{disagreement}"));
    // Of a rule that only commands show: of a context it would be waited whether it becomes another.
    let noticed = tell(&demo, SEED, Some(Wrong::EqualRanksAreInReach)).await;
    assert!(noticed.is_err(), "nobody notices that the model gets a rule wrong");
}
