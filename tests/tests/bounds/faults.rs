//! NATS, Redis, Auth and Core killed and started again in any order, one at a time and in pairs, while people ask all
//! the time and access is taken away and given back.

use super::ALONE;
use kisum::{
    ambient::Stopwatch,
    local::Part,
    platform::{Answer, Ask, Callee},
};
use kisum_tests::{
    askers::{Askers, Asks},
    checker::BOUND,
    demo::Demo,
    seeded::Seeded,
};
use reqwest::Method;
use serde_json::{Value, json};
use std::{fmt, time::Duration};
use tokio::time;

const SEED: u64 = 21;
/// The parts that are killed.
const PARTS: [Part; 4] = [Part::Nats, Part::Redis, Part::Auth, Part::Core];
/// How long they are usually gone: a change is made meanwhile, and heads are asked for.
const GONE: Duration = Duration::from_millis(400);
/// How long both are gone that a guard learns from: longer than anything it knows may be relied on.
const GONE_LONG: Duration = Duration::from_millis(5_600);
/// How long somebody waits until all is well; that it was in time, the checker says.
const PATIENCE: Duration = Duration::from_secs(15);

const OK: &str = "200";
const NO_PERMISSION: &str = "403 forbidden missing_permission";
const NOT_OWNED: &str = "403 forbidden module_not_owned";
const SIGNED_OUT: &str = "401 session_revoked";

/// What is killed and in which order it is started again.
#[derive(Clone, Debug)]
struct Fault {
    killed: Vec<Part>,
    restarted: Vec<Part>,
}

impl Fault {
    fn hits(&self, part: Part) -> bool {
        self.killed.contains(&part)
    }

    fn gone(&self) -> Duration {
        if self.hits(Part::Nats) && self.hits(Part::Auth) { GONE_LONG } else { GONE }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "killed {:?}, restarted {:?}", self.killed, self.restarted)
    }
}

/// Every one alone, and every pair in both orders of starting again.
fn faults(chance: &mut Seeded) -> Vec<Fault> {
    let mut faults = Vec::new();
    for one in PARTS {
        faults.push(Fault { killed: vec![one], restarted: vec![one] });
        for other in PARTS.into_iter().filter(|&other| other != one) {
            let killed = if chance.below(2) == 0 { vec![one, other] } else { vec![other, one] };
            faults.push(Fault { killed, restarted: vec![one, other] });
        }
    }
    for last in (1..faults.len()).rev() {
        let drawn = chance.below(last as u64 + 1);
        faults.swap(last, usize::try_from(drawn).unwrap_or(0));
    }
    faults
}

/// What is taken away and given back, each from a person of its own: in one fault this, in the next the other.
struct Taken {
    /// A member of acme-live whose permission is revoked.
    member: usize,
    membership: String,
    /// A member of a company that loses the module.
    owner: usize,
    purchase: Purchase,
}

/// How a company comes to its module.
struct Purchase {
    path: String,
    body: Value,
}

struct Scene {
    demo: Demo,
    askers: Askers,
    company: String,
    superadmin: String,
}

impl Scene {
    async fn start() -> Self {
        let demo = Demo::start().await;
        let superadmin = demo.sign_in("superadmin@acme-live.example").await.access;
        let company = demo.access(&superadmin, "acme-live").await.text("/companyId");
        let company = company.unwrap_or_else(|error| panic!("{error:#}"));
        Self { demo, askers: Askers::default(), company, superadmin }
    }

    /// Those to whom nothing happens: one is allowed, one lacks a permission.
    async fn others(&mut self) {
        let url = format!("{}/api/bills", self.demo.platform.addresses().finance);
        let allowed = self.asks("user@acme-live.example", &url, "acme-live").await;
        self.askers.begin(allowed, OK);
        let refused = self.asks("agent@agency.example", &url, "acme-live").await;
        self.askers.begin(Asks { method: Method::POST, ..refused }, NO_PERMISSION);
    }

    /// Those who lose: a member of acme-live a permission, an owner's company the module that `purchase` gives.
    async fn losing(&mut self, member: &str, owner: (&str, &'static str, String), purchase: (&str, Value)) -> Taken {
        let url = format!("{}/api/bills", self.demo.platform.addresses().finance);
        let asks = self.asks(member, &url, "acme-live").await;
        let text = |answer: Answer, pointer| answer.text(pointer).unwrap_or_else(|error| panic!("{error:#}"));
        let membership = text(self.demo.access(&asks.token, "acme-live").await, "/membershipId");
        let member = self.askers.begin(asks, OK);
        let (owner, company, url) = owner;
        let asks = self.asks(owner, &url, company).await;
        let owned = text(self.demo.access(&asks.token, company).await, "/companyId");
        let owner = self.askers.begin(asks, OK);
        let (what, body) = purchase;
        let path = format!("/internal/v1/companies/{owned}/{what}");
        Taken { member, membership, owner, purchase: Purchase { path, body } }
    }

    async fn asks(&self, email: &str, url: &str, company: &'static str) -> Asks {
        let (name, token) = (email.to_owned(), self.demo.sign_in(email).await.access);
        Asks { name, token, method: Method::GET, url: url.to_owned(), company }
    }

    async fn set_permission(&mut self, taken: &Taken, method: Method) {
        let path = format!("/companies/{}/members/{}/permissions/finance.bills.read", self.company, taken.membership);
        let answer = if method == Method::PUT { OK } else { NO_PERMISSION };
        let Self { demo, askers, superadmin, company } = self;
        let command = async {
            done(&demo.auth(Some(superadmin), Ask::new(method, &path).company(company)).await);
        };
        askers.change(taken.member, answer, command).await;
    }

    async fn set_ownership(&mut self, taken: &Taken, method: Method) {
        let answer = if method == Method::PUT { OK } else { NOT_OWNED };
        let ask = Ask::new(method.clone(), &taken.purchase.path);
        let ask = if method == Method::PUT { ask.body(taken.purchase.body.clone()) } else { ask };
        let Self { demo, askers, .. } = self;
        let command = async {
            done(&demo.platform.internal(Callee::Core, ask).await.unwrap_or_else(|error| panic!("{error:#}")));
        };
        askers.change(taken.owner, answer, command).await;
    }

    async fn sign_out(&mut self, (person, token): &(usize, String)) {
        let Self { demo, askers, .. } = self;
        let command = async {
            done(&demo.auth(Some(token), Ask::new(Method::POST, "/auth/logout").body(json!({}))).await);
        };
        askers.change(*person, SIGNED_OUT, command).await;
    }

    /// Somebody signs in and asks; returns who, and their token.
    async fn guest(&mut self) -> (usize, String) {
        let url = format!("{}/api/bills", self.demo.platform.addresses().finance);
        let asks = self.asks("agent@agency.example", &url, "acme-live").await;
        let token = asks.token.clone();
        (self.askers.begin(asks, OK), token)
    }

    fn assert_nothing_wrong(&self, fault: &Fault) {
        let wrong = self.askers.wrong();
        assert!(wrong.is_empty(), "seed {SEED}, {fault}: {wrong:#?}\n{:#?}", self.askers.timeline());
    }

    /// Tells those of Auth and Core that are killed just before, and the others while something is gone.
    async fn take_away(&mut self, taken: &Taken, guest: &(usize, String), fault: &Fault, is_before: bool) {
        if fault.hits(Part::Auth) == is_before {
            self.set_permission(taken, Method::DELETE).await;
            self.sign_out(guest).await;
        }
        if fault.hits(Part::Core) == is_before {
            self.set_ownership(taken, Method::DELETE).await;
        }
    }

    async fn give_back(&mut self, taken: &Taken) {
        self.set_permission(taken, Method::PUT).await;
        self.set_ownership(taken, Method::PUT).await;
    }

    /// Goes through a fault with something taken away; says how long it took until all was well again.
    async fn suffer(&mut self, fault: &Fault, taken: &Taken) -> Option<Duration> {
        let guest = self.guest().await;
        assert!(self.askers.all_is_well(PATIENCE).await.is_some(), "before {fault}: {:#?}", self.askers.wrong());
        self.take_away(taken, &guest, fault, true).await;
        self.askers.outage_begins();
        for &part in &fault.killed {
            self.demo.stack.kill(part).await;
        }
        self.take_away(taken, &guest, fault, false).await;
        time::sleep(fault.gone()).await;
        for &part in &fault.restarted {
            self.demo.stack.start_part(part).await.unwrap_or_else(|failure| panic!("{failure}"));
        }
        self.askers.outage_ends();
        self.askers.all_is_well(PATIENCE).await
    }
}

fn done(answer: &Answer) {
    assert!(answer.is_success(), "{}: {answer}", answer.asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_restarted_in_any_order_nothing_is_wrongly_allowed_or_refused_and_all_is_well_within_the_bound() {
    let _alone = ALONE.lock().await;
    let mut scene = Scene::start().await;
    scene.others().await;
    let (finance, basic) =
        (scene.demo.platform.addresses().finance.clone(), scene.demo.platform.addresses().basic.clone());
    let owner = ("superadmin@bright-books.example", "bright-books", format!("{finance}/api/bills"));
    let first = scene.losing("manager@acme-live.example", owner, ("addons/finance", json!({}))).await;
    let owner = ("admin@core-club.example", "core-club", format!("{basic}/api/events"));
    let second = scene.losing("admin@acme-live.example", owner, ("subscription", json!({ "package": "basic" }))).await;
    let (mut now, mut before) = (first, second);
    for (number, fault) in faults(&mut Seeded::new(SEED)).iter().enumerate() {
        let well_after = scene.suffer(fault, &now).await;
        scene.assert_nothing_wrong(fault);
        let well_after = well_after.unwrap_or_else(|| panic!("seed {SEED}, {fault}: not well after {PATIENCE:?}"));
        println!("{fault}: well after {} ms", well_after.as_millis());
        assert!(well_after <= BOUND, "seed {SEED}, {fault}: well only after {well_after:?}");
        // What was taken stays taken through the next fault.
        if number > 0 {
            scene.give_back(&before).await;
        }
        std::mem::swap(&mut now, &mut before);
    }
    let (answers, unavailable) = scene.askers.count();
    println!("{answers} answers, {unavailable} of them \"not now\"");
    scene.demo.stack.stop().await;
}

/// What a guard gives Auth for one answer; whatever Redis does must fit in.
const ANSWER_MAX: Duration = Duration::from_millis(150);
/// For so long Redis is left alone after it did not answer.
const QUIET: Duration = Duration::from_millis(1_100);

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_frozen_costs_an_answer_less_than_a_guard_s_patience() {
    let _alone = ALONE.lock().await;
    let demo = Demo::start().await;
    let person = demo.sign_in("user@acme-live.example").await;
    demo.stack.pause(Part::Redis);
    let mut took = Vec::new();
    for _ in 0..7 {
        // By then somebody tries Redis again, and waits for it.
        time::sleep(QUIET).await;
        let watch = Stopwatch::start();
        done(&demo.access(&person.access, "acme-live").await);
        took.push(watch.elapsed());
    }
    took.sort();
    println!("with Redis frozen: {took:?}");
    assert!(took[took.len() / 2] <= ANSWER_MAX, "{took:?}");
    demo.stack.stop().await;
}
