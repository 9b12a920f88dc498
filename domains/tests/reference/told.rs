//! Telling a story to both, and comparing what they make of it.

use crate::{
    model::{Actor, Answer, Command, PEOPLE, Stage, Story, World, Wrong},
    platform::{self, Platform},
};
use std::{collections::BTreeMap, fmt};

/// After so many commands everybody's contexts are compared, whomever the last one was about.
const EVERYBODY_EVERY: usize = 50;
/// So many of the commands before it are shown with one that they disagree about.
const SHOWN: usize = 12;

/// How often each kind of command was answered how.
pub(crate) type Tally = BTreeMap<(String, String), usize>;

/// The first thing about which model and platform disagree.
pub(crate) struct Disagreement {
    seed: u64,
    /// Commands that were told, the last one included.
    pub(crate) told: usize,
    last: Vec<(Actor, Command)>,
    what: String,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, command {}:", self.seed, self.told)?;
        for (actor, command) in &self.last {
            writeln!(f, "    {actor:?} asks for {command:?}")?;
        }
        write!(f, "{}", self.what)
    }
}

/// Tells `commands` commands of a story.
pub(crate) fn tell(
    seed: u64,
    commands: usize,
    wrong: Option<Wrong>,
    tally: &mut Tally,
) -> Result<(), Box<Disagreement>> {
    let mut story = Story::new(seed, Stage::Anything);
    let (mut world, mut platform) = (World::new(PEOPLE, wrong), Platform::new());
    let mut last = vec![];
    for told in 1..=commands {
        let (actor, command) = story.next(&world);
        let (says, is) = (world.apply(actor, &command), platform.apply(actor, &command));
        *tally.entry((kind(&command), words(says))).or_default() += 1;
        let concerned = concerned(&world, (actor, &command), says, told);
        last.push((actor, command));
        let compared = answers(says, is).and_then(|()| contexts(&world, &platform, concerned));
        if let Err(what) = compared {
            let last = last.split_off(last.len().saturating_sub(SHOWN));
            return Err(Box::new(Disagreement { seed, told, last, what }));
        }
    }
    Ok(())
}

fn answers(says: Answer, is: Answer) -> Result<(), String> {
    if says == is { Ok(()) } else { Err(format!("model:    {}\nplatform: {}", words(says), words(is))) }
}

fn contexts(world: &World, platform: &Platform, concerned: Vec<(usize, usize)>) -> Result<(), String> {
    for (person, company) in concerned {
        let (says, is) = (world.context(person, company), platform.resolve(person, company));
        if !platform::agrees(&is, &says) {
            return Err(format!("person {person} in company {company}\nmodel:    {says:?}\nplatform: {is:?}"));
        }
    }
    Ok(())
}

/// Whose contexts a command may have changed: of one that was refused nobody's, but who asked is compared.
fn concerned(world: &World, (actor, command): (Actor, &Command), says: Answer, told: usize) -> Vec<(usize, usize)> {
    let everybody = |company: usize| (0..PEOPLE).map(move |person| (person, company));
    if told.is_multiple_of(EVERYBODY_EVERY) {
        return (0..world.companies.len()).flat_map(everybody).collect();
    }
    match (command, actor) {
        (Command::Company { company, .. }, Actor::Person(person)) if says.is_err() => vec![(person, *company)],
        (_, _) if says.is_err() => vec![],
        (
            Command::Company { company, .. }
            | Command::Buy { company, .. }
            | Command::Lose { company, .. }
            | Command::Seats { company, .. },
            _,
        ) => everybody(*company).collect(),
        (_, _) => (0..world.companies.len()).flat_map(everybody).collect(),
    }
}

fn kind(command: &Command) -> String {
    let text = match command {
        Command::Company { wish, .. } => format!("{wish:?}"),
        other => format!("{other:?}"),
    };
    text.split_once(' ').map_or(text.clone(), |(word, _)| word.to_owned())
}

fn words(answer: Answer) -> String {
    match answer {
        Ok(()) => "done".to_owned(),
        Err(refusal) => {
            let reason = refusal.reason.map(|reason| format!(" {reason}")).unwrap_or_default();
            format!("{} {}{reason}", refusal.status, refusal.code)
        }
    }
}
