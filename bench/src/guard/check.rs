//! One question, "may this member do this in this company", asked of whatever can answer it in this process.
//!
//! It owns the question: who is a member of what and holds which permissions, the same for everybody who answers.

use crate::{ambient, report::Line};
use anyhow::ensure;
use kisum_events::{
    AccessContext, CompanyId, ContextMeta, DelegationRights, Limits, MembershipId, PermissionKey, SessionId,
    TenantRole, Timestamp, UserId,
};
use kisum_guard::{Clock, bench::Memory};
use std::{
    collections::{HashMap, HashSet},
    hint::black_box,
    time::Duration,
};
use uuid::Uuid;

/// What is asked, in words.
pub(super) const QUESTION: &str = "10,000 members × 20 permissions";
const MEMBERS: usize = 10_000;
const COMPANIES: usize = 100;
/// Permissions of a role, of [`MODULES`] × [`ACTIONS`] that exist.
pub(super) const HELD: usize = 20;
/// Sets of permissions that members hold: of a standing each.
pub(super) const ROLES: usize = 4;
const MODULES: [&str; 5] = ["ai", "basic", "finance", "market", "venue"];
const ACTIONS: usize = 8;
/// Questions that are made in advance and asked in turn.
const QUESTIONS: usize = 1 << 16;
/// Questions between two looks at the clock, which itself takes as long as a check.
const BATCH: usize = 16;

const PLAIN: &str = "reference: HashMap of HashSet";

/// One member.
pub(super) struct Member {
    pub(super) user: UserId,
    pub(super) session: SessionId,
    pub(super) company: CompanyId,
    pub(super) role: usize,
}

/// One question, and the answer to it.
pub(super) struct Question {
    pub(super) member: usize,
    pub(super) permission: usize,
    pub(super) is_held: bool,
}

/// Everything that is known to whoever answers.
pub(super) struct World {
    /// All permissions, in order.
    pub(super) permissions: Vec<String>,
    /// By role: which of them it holds.
    pub(super) roles: Vec<Vec<usize>>,
    pub(super) members: Vec<Member>,
    pub(super) questions: Vec<Question>,
}

impl World {
    fn new() -> Self {
        let actions =
            |module: &'static str| (0..ACTIONS).map(move |action| format!("{module}.documents.action-{action}"));
        let permissions: Vec<_> = MODULES.into_iter().flat_map(actions).collect();
        // Every role holds half of all, a different half each.
        let held = |role: usize, n: usize| (n * 2 + (n + role) % 2 + role / 2) % permissions.len();
        let roles: Vec<Vec<_>> = (0..ROLES).map(|role| (0..HELD).map(|n| held(role, n)).collect()).collect();
        let id = |kind: u128, number: usize| Uuid::from_u128((kind << 96) + (number as u128) * 0x9e37_79b9);
        let members: Vec<_> = (0..MEMBERS)
            .map(|number| Member {
                user: UserId::new(id(1, number)),
                session: SessionId::new(id(2, number)),
                company: CompanyId::new(id(3, number % COMPANIES)),
                role: number / COMPANIES % ROLES,
            })
            .collect();
        let mut chance = 1_u64;
        let mut below = |bound: usize| {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(chance >> 33).unwrap_or(0) % bound
        };
        let questions = (0..QUESTIONS).map(|_| {
            let (member, permission) = (below(MEMBERS), below(permissions.len()));
            let held = members.get(member).and_then(|member| roles.get(member.role));
            Question { member, permission, is_held: held.is_some_and(|held| held.contains(&permission)) }
        });
        Self { questions: questions.collect(), permissions, roles, members }
    }

    /// A member's context, as Auth answers it.
    fn context(&self, member: &Member) -> anyhow::Result<AccessContext> {
        let held = self.roles.get(member.role).into_iter().flatten().filter_map(|&held| self.permissions.get(held));
        let mut permissions: Vec<PermissionKey> = held.map(|key| key.parse()).collect::<Result<_, _>>()?;
        permissions.sort();
        let modules: Vec<_> = MODULES.iter().map(|module| module.parse()).collect::<Result<_, _>>()?;
        Ok(AccessContext {
            user_id: member.user,
            company_id: member.company,
            membership_id: MembershipId::new(member.user.uuid()),
            tenant_role: TenantRole::User,
            core_app_visible: true,
            modules: modules.clone(),
            owned_modules: modules,
            permissions,
            limits: Limits::new(),
            delegation: DelegationRights::default(),
            valid_until: None,
            meta: ContextMeta {
                token_version: 0,
                access_version: 1,
                entitlement_version: 1,
                generated_at: Timestamp::from_micros(0),
            },
        })
    }

    /// The parts of a question.
    pub(super) fn parts(&self, question: &Question) -> Option<(&Member, &str)> {
        Some((self.members.get(question.member)?, self.permissions.get(question.permission)?))
    }
}

/// Whoever answers: the number of a question to yes or no.
pub(super) struct Engine<'a> {
    pub(super) name: &'static str,
    pub(super) against: Option<(&'static str, f64)>,
    pub(super) answers: Box<dyn FnMut(usize) -> bool + 'a>,
}

/// Asks everybody, round by round.
pub(super) fn measure(rounds: usize, span: Duration) -> anyhow::Result<Vec<Line>> {
    let world = World::new();
    let memory = Memory::new(MEMBERS, Clock::system());
    for member in &world.members {
        memory.keep(world.context(member)?, member.session);
    }
    let plain = plain(&world);
    let mut engines = vec![
        Engine { name: PLAIN, against: None, answers: Box::new(|number| asks_plain(&world, &plain, number)) },
        Engine {
            name: "guard, from memory (L0)",
            against: None,
            answers: Box::new(|number| asks_guard(&world, &memory, number)),
        },
    ];
    #[cfg(feature = "rivals")]
    engines.extend(super::rivals::engines(&world)?);
    #[cfg(not(feature = "rivals"))]
    eprintln!("without casbin and cedar-policy: the feature `rivals` is off");
    let mut lines: Vec<_> = engines.iter().map(|engine| Line::new(engine.name, engine.against)).collect();
    for engine in &mut engines {
        memory.prove();
        assert_right(&world, engine)?;
    }
    let mut latencies = vec![Vec::new(); lines.len()];
    for round in 0..rounds {
        for ((engine, line), took) in engines.iter_mut().zip(&mut lines).zip(&mut latencies) {
            // A lease lasts longer than a turn of this.
            let rate = turn(engine, span.min(Duration::from_secs(1)), || memory.prove(), took);
            eprintln!("round {} of {rounds}: {} {rate:.0}/s", round + 1, line.name);
            line.rates.push(rate);
        }
    }
    for (line, took) in lines.iter_mut().zip(&mut latencies) {
        line.set_latencies(took);
    }
    Ok(lines)
}

/// Every question is answered rightly, by whoever is measured.
fn assert_right(world: &World, engine: &mut Engine<'_>) -> anyhow::Result<()> {
    // As many as fit into a lease, whoever is asked.
    for (number, question) in world.questions.iter().enumerate().take(4_096) {
        ensure!((engine.answers)(number) == question.is_held, "{} answers question {number} wrongly", engine.name);
    }
    Ok(())
}

/// Asks one engine for so long; what a check of each batch took goes into `took`, in ms.
fn turn(engine: &mut Engine<'_>, span: Duration, before: impl FnOnce(), took: &mut Vec<f64>) -> f64 {
    before();
    let started = ambient::now();
    let (mut asked, mut number, mut last) = (0.0, 0, started);
    loop {
        for _ in 0..BATCH {
            black_box((engine.answers)(black_box(number)));
            number = (number + 1) % QUESTIONS;
        }
        let now = ambient::now();
        #[expect(clippy::cast_precision_loss, reason = "16 is exact")]
        let batch = BATCH as f64;
        asked += batch;
        took.push(now.duration_since(last).as_secs_f64() * 1000.0 / batch);
        if now.duration_since(started) >= span {
            return asked / now.duration_since(started).as_secs_f64();
        }
        last = now;
    }
}

type Plain<'a> = HashMap<(CompanyId, UserId), HashSet<&'a str>>;

/// What a program would keep that trusts its own memory for ever.
fn plain(world: &World) -> Plain<'_> {
    let held = |member: &Member| {
        let held = world.roles.get(member.role).into_iter().flatten();
        held.filter_map(|&held| world.permissions.get(held)).map(String::as_str).collect()
    };
    world.members.iter().map(|member| ((member.company, member.user), held(member))).collect()
}

fn asks_plain(world: &World, plain: &Plain<'_>, number: usize) -> bool {
    let Some((member, permission)) = world.questions.get(number).and_then(|question| world.parts(question)) else {
        return false;
    };
    plain.get(&(member.company, member.user)).is_some_and(|held| held.contains(permission))
}

fn asks_guard(world: &World, memory: &Memory, number: usize) -> bool {
    let Some((member, permission)) = world.questions.get(number).and_then(|question| world.parts(question)) else {
        return false;
    };
    memory.allows(member.user, member.session, member.company, permission)
}

#[cfg(test)]
mod tests {
    use super::{HELD, ROLES, World, measure};
    use std::{collections::BTreeSet, time::Duration};

    #[test]
    fn everybody_holds_as_many_permissions_and_half_of_all_questions_are_answered_with_yes() {
        let world = World::new();
        let roles: BTreeSet<BTreeSet<_>> = world.roles.iter().map(|held| held.iter().collect()).collect();
        assert_eq!(roles.len(), ROLES, "no two roles hold the same");
        assert!(roles.iter().all(|held| held.len() == HELD));
        let yes = world.questions.iter().filter(|question| question.is_held).count();
        assert!((world.questions.len() * 2 / 5..world.questions.len() * 3 / 5).contains(&yes), "{yes}");
    }

    #[test]
    fn all_that_is_measured_answers_rightly() {
        let lines = measure(1, Duration::from_millis(1)).unwrap();
        assert!(lines.len() >= 2 && lines.iter().all(|line| line.median() > 0.0));
    }
}
