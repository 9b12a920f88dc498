//! People who ask a backend the same thing all the time, and what they were answered.
//!
//! It owns asking and the times of everything. What of it is wrong, `checker` says.

use crate::checker::{Change, Observed, Outage, Timeline, UNAVAILABLE, Wrong};
use kisum::ambient::Stopwatch;
use reqwest::{Client, Method, Response, header::RETRY_AFTER};
use serde_json::Value;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{task::JoinSet, time};

/// Between an answer and the next question.
const PAUSE: Duration = Duration::from_millis(25);
/// A backend answers, or says 503, far sooner.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Between two looks at whether all is well.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What somebody asks.
#[derive(Clone, Debug)]
pub struct Asks {
    /// How they are named in failures.
    pub name: String,
    /// Their access token.
    pub token: String,
    /// GET, or POST of an empty object, which is looked at after the permit.
    pub method: Method,
    /// Where.
    pub url: String,
    /// `x-org`.
    pub company: &'static str,
}

/// All who ask.
#[derive(Debug)]
pub struct Askers {
    watch: Stopwatch,
    http: Client,
    names: Vec<String>,
    observed: Arc<Mutex<Vec<Observed>>>,
    timeline: Timeline,
    tasks: JoinSet<()>,
}

impl Default for Askers {
    fn default() -> Self {
        let http = Client::builder().no_proxy().timeout(ANSWER_MAX).build();
        Self {
            watch: Stopwatch::start(),
            http: http.unwrap_or_else(|error| panic!("{error}")),
            names: Vec::new(),
            observed: Arc::default(),
            timeline: Timeline::default(),
            tasks: JoinSet::new(),
        }
    }
}

impl Askers {
    /// Somebody begins to ask, and `answer` holds for them.
    pub fn begin(&mut self, asks: Asks, answer: &str) -> usize {
        let person = self.names.len();
        self.names.push(asks.name.clone());
        self.timeline.begins(person, answer);
        let (watch, http, observed) = (self.watch, self.http.clone(), Arc::clone(&self.observed));
        self.tasks.spawn(async move {
            loop {
                let asked = watch.elapsed();
                let (answer, says_when) = ask(&http, &asks).await;
                let seen = Observed { person, asked, answered: watch.elapsed(), answer, says_when };
                observed.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
                time::sleep(PAUSE).await;
            }
        });
        person
    }

    /// Carries a command out, after which another answer holds for a person.
    pub async fn change(&mut self, person: usize, answer: &str, command: impl Future<Output = ()>) {
        let sent = self.watch.elapsed();
        command.await;
        let committed = self.watch.elapsed();
        self.timeline.changes.push(Change { person, sent, committed, answer: answer.to_owned() });
    }

    /// Something is about to be killed.
    pub fn outage_begins(&mut self) {
        self.timeline.outages.push(Outage { from: self.watch.elapsed(), until: None });
    }

    /// Everything that was killed is ready again.
    pub fn outage_ends(&mut self) {
        if let Some(outage) = self.timeline.outages.last_mut() {
            outage.until = Some(self.watch.elapsed());
        }
    }

    /// Waits until everybody has asked since now and been answered what holds for them; says how long that took, or
    /// that it did not come about in `limit`.
    pub async fn all_is_well(&self, limit: Duration) -> Option<Duration> {
        let since = self.watch.elapsed();
        let waiting = async {
            while !self.is_well(since) {
                time::sleep(LOOK_EVERY).await;
            }
        };
        time::timeout(limit, waiting).await.ok().map(|()| self.watch.elapsed() - since)
    }

    fn is_well(&self, since: Duration) -> bool {
        let observed = self.observed.lock().unwrap_or_else(PoisonError::into_inner);
        (0..self.names.len()).all(|person| {
            let newest = observed.iter().rev().take_while(|seen| seen.answered >= since);
            let newest = newest.filter(|seen| seen.asked >= since).find(|seen| seen.person == person);
            newest.is_some_and(|seen| self.timeline.answer_of(person) == Some(seen.answer.as_str()))
        })
    }

    /// How many answers there were, and how many of them were "not now".
    pub fn count(&self) -> (usize, usize) {
        let observed = self.observed.lock().unwrap_or_else(PoisonError::into_inner);
        (observed.len(), observed.iter().filter(|seen| seen.answer == UNAVAILABLE).count())
    }

    /// Everything that was wrong so far, in words.
    pub fn wrong(&self) -> Vec<String> {
        let wrong = self.timeline.judge(&self.observed.lock().unwrap_or_else(PoisonError::into_inner));
        let told = wrong.iter().map(|wrong| {
            let (Wrong::Answer { person, .. }
            | Wrong::NotSayingWhen { person, .. }
            | Wrong::Unavailable { person, .. }) = wrong;
            format!("{}: {wrong:?}", self.names.get(*person).map_or("?", String::as_str))
        });
        told.collect()
    }

    /// What happened, for a failure's message.
    pub const fn timeline(&self) -> &Timeline {
        &self.timeline
    }
}

async fn ask(http: &Client, asks: &Asks) -> (String, bool) {
    let request = http.request(asks.method.clone(), &asks.url).bearer_auth(&asks.token).header("x-org", asks.company);
    let request = if asks.method == Method::POST { request.json(&serde_json::json!({})) } else { request };
    match request.send().await {
        Ok(response) => words(response).await,
        Err(error) => (format!("no answer: {error}"), false),
    }
}

async fn words(response: Response) -> (String, bool) {
    let says_when = response.headers().contains_key(RETRY_AFTER);
    let mut words = response.status().as_u16().to_string();
    let body: Value = response.json().await.unwrap_or_default();
    for pointer in ["/error/code", "/error/reason"] {
        if let Some(word) = body.pointer(pointer).and_then(Value::as_str) {
            words.push(' ');
            words.push_str(word);
        }
    }
    (words, says_when)
}
