//! Whatever is lost, late or repeated: no grant is answered from memory later than five seconds after it was taken away.

use super::{Arrived, State};
use crate::{
    answer::{Answer, Verdict},
    clock::{BootTime, Clock},
    samples::{active, as_of, asked, at, entitlement_changed, head, permission_revoked, session, wall},
};
use kisum_events::{AsOf, Envelope, Head, Log, Position};
use proptest::prelude::*;
use std::{sync::Arc, time::Duration};

/// The bound of `consistency.md`, written again here: the code's own number must not vouch for itself.
const BOUND: Duration = Duration::from_secs(5);
const READ: &[&str] = &["finance.bills.read"];
/// Members 1, 2 and 3 of company 1.
const MEMBERS: u128 = 3;

/// What can happen, in any order.
#[derive(Clone, Debug)]
enum Happening {
    /// Membership `n`'s permission changes: given if it was taken, taken if it was given.
    Toggle(u128),
    /// The company's entitlement changes likewise.
    ToggleModule,
    /// The oldest event on the bus arrives.
    Deliver(Log),
    /// The oldest event on the bus is lost.
    Lose(Log),
    /// The log is read over HTTP to its end.
    Fetch(Log),
    /// Member `n` is asked about; the answer is computed from a snapshot that lags as far as it may.
    Ask(u128, u8),
    /// The oldest answer under way arrives.
    Answer,
    /// A head is read, to arrive later.
    ReadHead(Log),
    /// The oldest head under way arrives.
    HeadArrives,
    /// Time passes.
    Wait(u16),
}

fn happening() -> impl Strategy<Value = Happening> {
    let log = || prop_oneof![Just(Log::Auth), Just(Log::Core)];
    prop_oneof![
        3 => (1..=MEMBERS).prop_map(Happening::Toggle),
        1 => Just(Happening::ToggleModule),
        4 => log().prop_map(Happening::Deliver),
        1 => log().prop_map(Happening::Lose),
        1 => log().prop_map(Happening::Fetch),
        6 => ((1..=MEMBERS), any::<u8>()).prop_map(|(member, lag)| Happening::Ask(member, lag)),
        6 => Just(Happening::Answer),
        4 => log().prop_map(Happening::ReadHead),
        4 => Just(Happening::HeadArrives),
        2 => (0..3000_u16).prop_map(Happening::Wait),
    ]
}

/// The truth: both logs, and when each event was committed.
#[derive(Default)]
struct Truth {
    auth: Vec<(BootTime, Envelope, u128)>,
    core: Vec<(BootTime, Envelope)>,
}

impl Truth {
    fn head(&self, log: Log) -> Position {
        let len = match log {
            Log::Auth => self.auth.len(),
            Log::Core => self.core.len(),
        };
        u64::try_from(len).unwrap_or(u64::MAX)
    }

    /// Whether member `n` is allowed at these positions: an even number of toggles of either.
    fn allows(&self, member: u128, auth: Position, core: Position) -> bool {
        let toggles = self.auth.iter().take(auth as usize).filter(|(_, _, toggled)| *toggled == member).count();
        toggles.is_multiple_of(2) && core.is_multiple_of(2)
    }

    /// Whether member `n` was allowed at any moment from `since` on.
    fn allowed_since(&self, member: u128, since: BootTime) -> bool {
        let before = |commits: Vec<BootTime>| commits.into_iter().take_while(|at| *at <= since).count() as u64;
        let auth_floor = before(self.auth.iter().map(|(at, ..)| *at).collect());
        let core_floor = before(self.core.iter().map(|(at, _)| *at).collect());
        (auth_floor..=self.head(Log::Auth))
            .any(|auth| (core_floor..=self.head(Log::Core)).any(|core| self.allows(member, auth, core)))
    }
}

/// The guard, the truth, and everything under way between them.
struct World {
    clock: Clock,
    state: State,
    truth: Truth,
    bus: Vec<Envelope>,
    answers: Vec<(u128, AsOf, Answer)>,
    heads: Vec<(Log, Head, BootTime)>,
}

impl World {
    fn new() -> Self {
        let clock = Clock::manual(wall());
        let mut state = State::new(2);
        state.start(Log::Auth, at(0));
        state.start(Log::Core, at(0));
        Self { clock, state, truth: Truth::default(), bus: vec![], answers: vec![], heads: vec![] }
    }

    fn happens(&mut self, happening: &Happening) {
        let boot = self.clock.boot();
        match *happening {
            Happening::Toggle(member) => {
                let previous = self.truth.head(Log::Auth);
                let event = permission_revoked(previous + 1, previous, member, 1);
                self.bus.push(event.clone());
                self.truth.auth.push((boot, event, member));
            }
            Happening::ToggleModule => {
                let previous = self.truth.head(Log::Core);
                let event = entitlement_changed(previous + 1, previous, 1);
                self.bus.push(event.clone());
                self.truth.core.push((boot, event));
            }
            Happening::Deliver(log) => {
                if let Some(event) = self.off_the_bus(log) {
                    self.state.event(&event, wall());
                }
            }
            Happening::Lose(log) => drop(self.off_the_bus(log)),
            Happening::Fetch(log) => self.fetch(log),
            Happening::Ask(member, lag) => self.ask(member, lag),
            Happening::Answer => self.answer(),
            Happening::ReadHead(log) => self.heads.push((log, head(self.truth.head(log)), boot)),
            Happening::HeadArrives => {
                if !self.heads.is_empty() {
                    let (log, head, asked) = self.heads.remove(0);
                    self.state.head(log, &head, asked, boot);
                }
            }
            Happening::Wait(ms) => self.clock.advance(Duration::from_millis(ms.into())),
        }
    }

    fn off_the_bus(&mut self, log: Log) -> Option<Envelope> {
        let first = self.bus.iter().position(|event| event.log == log)?;
        Some(self.bus.remove(first))
    }

    fn fetch(&mut self, log: Log) {
        let after = self.state.applied(log).unwrap().position as usize;
        let events: Vec<Envelope> = match log {
            Log::Auth => self.truth.auth.iter().skip(after).map(|(_, event, _)| event.clone()).collect(),
            Log::Core => self.truth.core.iter().skip(after).map(|(_, event)| event.clone()).collect(),
        };
        for event in events {
            assert!(matches!(self.state.event(&event, wall()), Arrived::Applied(_)));
        }
    }

    /// Auth answers from a snapshot that may lag behind the log, but not below what was asked for.
    fn ask(&mut self, member: u128, lag: u8) {
        let minimum = self.state.minimum(self.clock.boot());
        let lagging = |log, least: Position| {
            let head = self.truth.head(log);
            head - (u64::from(lag) % (head - least + 1))
        };
        let auth = lagging(Log::Auth, minimum.auth.position);
        let core = lagging(Log::Core, minimum.core.position);
        let permissions = if self.truth.allows(member, auth, core) { READ } else { &[] };
        self.answers.push((member, minimum, active(member, 1, as_of(auth, core), permissions)));
    }

    fn answer(&mut self) {
        if !self.answers.is_empty() {
            let (member, minimum, answer) = self.answers.remove(0);
            if self.state.judge(&answer, &minimum, self.clock.boot()).is_ok() {
                self.state.fill(asked(member, 1), session(member), &Arc::new(answer), self.clock.boot());
            }
        }
    }

    /// Nobody is let in from memory who was not allowed within the last five seconds.
    fn holds(&self) {
        let boot = self.clock.boot();
        for member in 1..=MEMBERS {
            let Some(kept) = self.state.lookup(&asked(member, 1), session(member), wall(), boot) else { continue };
            let Verdict::Active(context) = &kept.verdict else { panic!("only contexts are asked for here") };
            if !context.permissions.is_empty() {
                let since = boot.minus(BOUND);
                assert!(self.truth.allowed_since(member, since), "member {member} is let in on an old grant");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn a_lagging_answer_never_plants_an_old_grant(happenings in prop::collection::vec(happening(), 0..120)) {
        let mut world = World::new();
        for happening in &happenings {
            world.happens(happening);
            world.holds();
        }
    }

    /// Once everything has arrived, what is kept is the truth, however it came about.
    #[test]
    fn when_the_storm_is_over_memory_equals_the_truth(happenings in prop::collection::vec(happening(), 0..120)) {
        let mut world = World::new();
        for happening in &happenings {
            world.happens(happening);
        }
        while !world.answers.is_empty() {
            world.happens(&Happening::Answer);
        }
        for log in [Log::Auth, Log::Core] {
            world.fetch(log);
            let (boot, head) = (world.clock.boot(), head(world.truth.head(log)));
            world.state.head(log, &head, boot, boot);
        }
        for member in 1..=MEMBERS {
            let boot = world.clock.boot();
            let Some(kept) = world.state.lookup(&asked(member, 1), session(member), wall(), boot) else { continue };
            let Verdict::Active(context) = &kept.verdict else { panic!("only contexts are asked for here") };
            let truth = world.truth.allows(member, world.truth.head(Log::Auth), world.truth.head(Log::Core));
            prop_assert_eq!(!context.permissions.is_empty(), truth);
        }
    }
}
