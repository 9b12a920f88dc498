//! Following a log of another database: its owner's pages and a bus that loses, repeats and disorders.

use super::{Dice, PATIENCE, VIEWS, at, error_of, followed, of_class, positions};
use async_nats::RequestErrorKind;
use kisum::local::Part;
use kisum_events::{Class, Effect, Envelope, Log, Position, StreamName};
use kisum_log::{Follow, FollowError, PageError};
use kisum_tests::{
    owner::{Owner, envelope, publish},
    servers,
};
use serde_json::json;
use std::time::Duration;

/// Events of both classes at positions 1, 2, …, as a log would hold them.
fn events(count: Position, dice: &mut Dice) -> Vec<Envelope> {
    let stream = StreamName::from_stored("counted-1".to_owned());
    let mut previous_access = 0;
    (1..=count)
        .map(|position| {
            let effect = if dice.below(3) == 0 { Effect::Widens } else { Effect::None };
            let said = ("counted.noted", effect, json!({ "note": "x" }));
            let event = envelope(Log::Core, (position, previous_access), &stream, said);
            if effect != Effect::None {
                previous_access = position;
            }
            event
        })
        .collect()
}

fn of(events: &[Envelope], class: Option<Class>) -> Vec<Position> {
    let of_class = |event: &&Envelope| class.is_none_or(|class| event.effect.class() == class);
    events.iter().filter(of_class).map(|event| event.position).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_bus_that_loses_repeats_and_disorders_nothing_is_missing_and_nothing_comes_twice() {
    let stack = servers::start(&[]).await;
    let relay = servers::nats(&stack, "relay-core").await;
    for seed in 1..=6 {
        let mut dice = Dice(seed * 104_729);
        let all = events(400, &mut dice);
        // Lost, once or twice; and then carried some places away from where it belongs.
        let mut said: Vec<(u64, &Envelope)> = Vec::new();
        for event in &all {
            for _ in 0..[0, 1, 1, 1, 1, 2][usize::try_from(dice.below(6)).unwrap_or(0)] {
                said.push((event.position * 4 + dice.below(16), event));
            }
        }
        said.sort_by_key(|(place, _)| *place);
        let owner = Owner::of(1, Vec::new());
        let mut followers = Vec::new();
        for view in VIEWS {
            let nats = servers::nats(&stack, "auth").await;
            let mut follow = of_class(Follow::new(owner.source(), Log::Core, at(1, 0)), view).with_bus(nats);
            let mut caught_up = follow.caught_up();
            let expected = of(&all, view);
            // Once it is caught up with nothing it has subscribed, so that the bus is what it hears first.
            tokio::select! {
                events = follow.next() => panic!("{events:?}"),
                caught_up = caught_up.wait_for(|caught_up| *caught_up) => assert!(caught_up.is_ok()),
            }
            followers.push((
                view,
                expected.clone(),
                tokio::spawn(async move { followed(&mut follow, 400, expected.len()).await }),
            ));
        }
        for (_, event) in said {
            // Its owner knows an event before the relay says it.
            owner.change(|owned| {
                owned.events = all[..usize::try_from(event.position).unwrap_or(0).max(owned.events.len())].to_vec()
            });
            publish(&relay, 1, event).await;
        }
        owner.change(|owned| owned.events.clone_from(&all));
        for (view, expected, follower) in followers {
            let seen = follower.await.unwrap_or_else(|error| panic!("seed {seed}, {view:?}: {error}"));
            assert_eq!(seen, expected, "seed {seed}, {view:?}");
        }
    }
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bus_carries_on_without_the_owner_and_the_owner_without_the_bus() {
    let mut stack = servers::start(&[]).await;
    let mut dice = Dice(7);
    let all = events(40, &mut dice);
    let upto = |end: usize| all[..end].to_vec();
    let owner = Owner::of(1, upto(5));
    let nats = servers::nats(&stack, "auth").await;
    let mut follow = Follow::new(owner.source(), Log::Core, at(1, 0)).with_bus(nats.clone());
    assert_eq!(followed(&mut follow, 5, 5).await, [1, 2, 3, 4, 5]);

    // Without the owner: it says that pages fail, and hands out what the bus brings.
    owner.change(|owned| owned.is_away = true);
    error_of(&mut follow, |error| matches!(error, FollowError::Interrupted { source: PageError::Owner(_), .. })).await;
    let relay = servers::nats(&stack, "relay-core").await;
    for event in &all[5..10] {
        publish(&relay, 1, event).await;
    }
    assert_eq!(followed(&mut follow, 10, 5).await, [6, 7, 8, 9, 10]);
    assert!(!*follow.caught_up().borrow(), "nobody can say where the log ends");

    // Without the bus: pages come now and then.
    drop(relay);
    stack.stop_part(Part::Nats).await;
    owner.change(|owned| (owned.is_away, owned.events) = (false, upto(15)));
    assert_eq!(followed(&mut follow, 15, 5).await, [11, 12, 13, 14, 15]);

    // Without either, and then both again: what was said meanwhile is in the owner's pages.
    owner.change(|owned| (owned.is_away, owned.events) = (true, upto(20)));
    error_of(&mut follow, |error| matches!(error, FollowError::Interrupted { .. })).await;
    stack.start_part(Part::Nats).await.unwrap_or_else(|failure| panic!("{failure}"));
    owner.change(|owned| owned.is_away = false);
    assert_eq!(followed(&mut follow, 20, 5).await, [16, 17, 18, 19, 20]);

    // The bus is heard again by itself: the owner is away and cannot be what brings these.
    let relay = servers::nats(&stack, "relay-core").await;
    // That nobody answers for heads is an answer: it shows that this connection is back, with what it subscribes.
    let is_back = async {
        while nats.request("kisum.core.v1.head", "".into()).await.err().map(|error| error.kind())
            != Some(RequestErrorKind::NoResponders)
        {}
    };
    assert!(tokio::time::timeout(PATIENCE, is_back).await.is_ok(), "the client does not come back");
    owner.change(|owned| (owned.is_away, owned.events) = (true, upto(20)));
    for event in &all[20..40] {
        publish(&relay, 1, event).await;
    }
    assert_eq!(followed(&mut follow, 40, 20).await, (21..=40).collect::<Vec<_>>());
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_is_behind_is_not_believed_and_a_newer_epoch_on_the_bus_is_asked_about() {
    let stack = servers::start(&[]).await;
    let relay = servers::nats(&stack, "relay-core").await;
    let mut dice = Dice(11);
    let all = events(9, &mut dice);
    let owner = Owner::of(2, all[..3].to_vec());
    let nats = servers::nats(&stack, "auth").await;
    let mut follow = Follow::new(owner.source(), Log::Core, at(2, 0)).with_bus(nats);
    assert_eq!(followed(&mut follow, 3, 3).await, [1, 2, 3]);

    // A relay of an epoch that is over, and an owner that has not heard of the new one.
    owner.change(|owned| owned.epoch = 1);
    let error = error_of(&mut follow, |_| true).await;
    let is_behind = matches!(error, FollowError::Interrupted { source: PageError::Behind { now: 1, followed: 2 }, .. });
    assert!(is_behind, "{error:?}");
    publish(&relay, 1, &all[3]).await;
    publish(&relay, 2, &all[3]).await;
    assert_eq!(followed(&mut follow, 4, 1).await, [4]);

    // The owner is believed about a newer epoch, which the bus alone is not.
    owner.change(|owned| (owned.epoch, owned.events) = (2, all[..4].to_vec()));
    publish(&relay, 3, &all[0]).await;
    let newer = tokio::time::timeout(Duration::from_secs(3), follow.next()).await;
    assert!(newer.is_err(), "{newer:?}");
    owner.change(|owned| (owned.epoch, owned.events) = (3, all[..2].to_vec()));
    publish(&relay, 3, &all[1]).await;
    let error = error_of(&mut follow, |error| !matches!(error, FollowError::Interrupted { .. })).await;
    assert!(matches!(error, FollowError::OtherEpoch { now: 3, cursor: 2 }), "{error}");
    follow.start_over(3);
    assert_eq!(followed(&mut follow, 2, 2).await, [1, 2]);

    // Positions that the owner has not reached are another history's.
    owner.change(|owned| owned.events = all[..1].to_vec());
    let error = error_of(&mut follow, |_| true).await;
    assert!(matches!(error, FollowError::BeyondHead { cursor: 2, head: 1 }), "{error}");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_with_a_hole_is_refused_and_the_next_one_asked_for() {
    let mut dice = Dice(13);
    let all = events(20, &mut dice);
    let mut torn = all.clone();
    torn.remove(9);
    let owner = Owner::of(1, torn);
    let mut follow = Follow::new(owner.source(), Log::Core, at(1, 0));
    let error = error_of(&mut follow, |_| true).await;
    let is_hole = matches!(error, FollowError::Interrupted { source: PageError::Hole { after: 9, found: 11 }, .. });
    assert!(is_hole, "{error:?}");
    owner.change(|owned| owned.events.clone_from(&all));
    assert_eq!(followed(&mut follow, 20, 20).await, positions(&all));
}
