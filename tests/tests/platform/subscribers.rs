//! `kisum subscribers`: what it provisions, what the server then allows and refuses, and the example that lives on it.

mod example;

use async_nats::{
    Client, ConnectOptions, HeaderMap,
    jetstream::{self, stream},
};
use futures_util::StreamExt as _;
use kisum::local::{Stack, stack::binary_beside_this};
use kisum_events::header;
use kisum_log::LogStreams;
use kisum_tests::servers;
use serde_json::Value;
use std::time::Duration;
use tokio::{process::Command, sync::mpsc};

const PATIENCE: Duration = Duration::from_secs(20);

/// The exit code, and what was printed on standard output and standard error.
async fn subscribers(stack: &Stack, arguments: &[&str]) -> (i32, String, String) {
    let binary = binary_beside_this().unwrap_or_else(|failure| panic!("{failure}"));
    let admin = stack.variable("NATS_ADMIN_URL").unwrap_or_else(|failure| panic!("{failure}"));
    let mut command = Command::new(binary);
    command.arg("subscribers").args(arguments).arg("--dir").arg(stack.layout().root());
    let output = command.env("NATS_ADMIN_URL", admin).output().await.unwrap_or_else(|error| panic!("{error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// What `add` answers as JSON.
async fn add(stack: &Stack, name: &str, subject: &str) -> Value {
    let (code, out, err) = subscribers(stack, &["add", name, "--subjects", subject, "--json"]).await;
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

/// The consumers that `list` shows, and its exit code.
async fn list(stack: &Stack) -> (i32, Vec<Value>) {
    let (code, out, err) = subscribers(stack, &["list", "--json"]).await;
    assert_eq!(err, "");
    (
        code,
        out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect(),
    )
}

/// NATS's administrator, who here also stands for the relays.
struct Admin {
    nats: Client,
    jetstream: jetstream::Context,
}

impl Admin {
    async fn of(stack: &Stack) -> Self {
        let nats = servers::nats(stack, "admin").await;
        Self { jetstream: jetstream::new(nats.clone()), nats }
    }

    /// A stream as a relay makes it.
    async fn makes_stream(&self, log: &str, epoch: u32) {
        let config = stream::Config {
            name: format!("{}_{epoch}", log.to_uppercase()),
            subjects: vec![format!("kisum.{log}.v1.access.>"), format!("kisum.{log}.v1.info.>")],
            deny_delete: true,
            deny_purge: true,
            ..stream::Config::default()
        };
        self.jetstream.create_stream(config).await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Says a message in a log's stream, and answers its sequence.
    async fn says(&self, subject: &str, epoch: u32, body: String) -> u64 {
        let mut headers = HeaderMap::new();
        headers.insert(header::EPOCH, epoch.to_string());
        let said = self.jetstream.publish_with_headers(subject.to_owned(), headers, body.into()).await;
        let ack = said.unwrap_or_else(|error| panic!("{error}")).await;
        ack.unwrap_or_else(|error| panic!("{subject}: {error}")).sequence
    }

    /// Up to where a subscriber has acknowledged, and how many events it holds.
    async fn place(&self, stream: &str, name: &str) -> (u64, usize) {
        let stream = self.jetstream.get_stream(stream).await.unwrap_or_else(|error| panic!("{error}"));
        let info = stream.consumer_info(name).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        (info.ack_floor.stream_sequence, info.num_ack_pending)
    }

    /// Waits until the server has a request that it cannot answer yet.
    async fn holds_a_request(&self, stream: &str, name: &str) {
        let stream = self.jetstream.get_stream(stream).await.unwrap_or_else(|error| panic!("{error}"));
        let waiting = async {
            while stream.consumer_info(name).await.is_ok_and(|info| info.num_waiting == 0) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "{name}'s request never arrived");
    }

    async fn stands_at(&self, stream: &str, name: &str, place: (u64, usize)) {
        let waiting = async {
            while self.place(stream, name).await != place {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(waited.is_ok(), "{name} stands at {:?}, not {place:?}", self.place(stream, name).await);
    }

    async fn has_acknowledged(&self, stream: &str, name: &str, sequence: u64) {
        self.stands_at(stream, name, (sequence, 0)).await;
    }
}

/// A subscriber's connection, and what the server complains about on it.
struct Connected {
    nats: Client,
    complaints: mpsc::UnboundedReceiver<String>,
}

impl Connected {
    async fn with(added: &Value) -> Self {
        let text = |name: &str| added[name].as_str().unwrap_or_else(|| panic!("no {name}: {added}")).to_owned();
        let seed = std::fs::read_to_string(text("seedFile")).unwrap_or_else(|error| panic!("{error}"));
        let (say, complaints) = mpsc::unbounded_channel();
        let nats = ConnectOptions::with_nkey(seed)
            .custom_inbox_prefix(text("inboxPrefix"))
            .event_callback(move |event| {
                let _ = say.send(event.to_string());
                std::future::ready(())
            })
            .connect(text("natsUrl"))
            .await;
        Self { nats: nats.unwrap_or_else(|error| panic!("{error}")), complaints }
    }

    /// The next event and where it is acknowledged; none when the server says that there is none. While an event is
    /// not acknowledged, nothing is answered at all.
    async fn fetch(&self, subject: &str) -> Option<(String, String)> {
        let inbox = self.nats.new_inbox();
        let mut answers = self.nats.subscribe(inbox.clone()).await.unwrap_or_else(|error| panic!("{error}"));
        let request = r#"{"batch":1,"no_wait":true}"#;
        let asked = self.nats.publish_with_reply(subject.to_owned(), inbox, request.into()).await;
        asked.unwrap_or_else(|error| panic!("{error}"));
        let answer = tokio::time::timeout(PATIENCE, answers.next()).await.ok().flatten();
        let answer = answer.unwrap_or_else(|| panic!("{subject} was not answered"));
        let reply = answer.reply.filter(|_| answer.status.is_none())?;
        Some((String::from_utf8_lossy(&answer.payload).into_owned(), reply.to_string()))
    }

    async fn publish(&self, subject: &str, reply: Option<&str>, body: &'static str) {
        let published = match reply {
            Some(reply) => self.nats.publish_with_reply(subject.to_owned(), reply.to_owned(), body.into()).await,
            None => self.nats.publish(subject.to_owned(), body.into()).await,
        };
        published.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Waits for the server's refusal of what was just tried.
    async fn is_refused(&mut self, what: &str, subject: &str) {
        let wanted = format!("permissions violation for {what} to \"{}\"", subject.to_lowercase());
        let heard = async {
            loop {
                let Some(complaint) = self.complaints.recv().await else { panic!("the connection is gone") };
                if complaint.to_lowercase().contains(&wanted) {
                    return;
                }
            }
        };
        let heard = tokio::time::timeout(PATIENCE, heard).await;
        assert!(heard.is_ok(), "{what} to {subject} was not refused");
    }
}

const ANY: &str = "kisum.core.v1.access.*.entitlement.changed";
const EVENT: &str = "kisum.core.v1.access._.entitlement.changed";
const FETCH: &str = "$JS.API.CONSUMER.MSG.NEXT.CORE_1.billing";

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_may_fetch_from_its_own_consumer_and_nothing_else() {
    let stack = servers::start(&[]).await;
    let admin = Admin::of(&stack).await;
    for log in ["auth", "core"] {
        admin.makes_stream(log, 1).await;
    }
    for body in ["one", "two", "three", "four"] {
        admin.says(EVENT, 1, body.to_owned()).await;
    }
    let added = add(&stack, "billing", ANY).await;
    let mut billing = Connected::with(&added).await;
    let other = Connected::with(&add(&stack, "other", ANY).await).await;

    let (body, ack) = billing.fetch(FETCH).await.unwrap_or_else(|| panic!("there are events"));
    assert_eq!(body, "one");
    let mut early = billing.nats.subscribe("_INBOX.billing.early").await.unwrap_or_else(|error| panic!("{error}"));
    billing.publish(FETCH, Some("_INBOX.billing.early"), r#"{"batch":1,"expires":20000000000}"#).await;
    admin.holds_a_request("CORE_1", "billing").await;
    assert_eq!(admin.place("CORE_1", "billing").await, (0, 1), "one event at a time keeps their order");
    billing.publish(&ack, None, "+ACK").await;
    let next = tokio::time::timeout(PATIENCE, early.next()).await.ok().flatten();
    let next = next.unwrap_or_else(|| panic!("the next event follows the acknowledgement"));
    assert_eq!(next.payload, "two");
    billing.publish(next.reply.as_deref().unwrap_or_default(), None, "+ACK").await;
    admin.has_acknowledged("CORE_1", "billing", 2).await;
    let fetched = other.fetch("$JS.API.CONSUMER.MSG.NEXT.CORE_1.other").await;
    let (_, ack_of_other) = fetched.unwrap_or_else(|| panic!("there are events for the other as well"));

    for subject in [
        "$JS.API.CONSUMER.MSG.NEXT.CORE_1.other",
        &ack_of_other,
        "$JS.API.CONSUMER.CREATE.CORE_1",
        "$JS.API.CONSUMER.CREATE.CORE_1.mine",
        "$JS.API.CONSUMER.DURABLE.CREATE.CORE_1.billing",
        "$JS.API.CONSUMER.DELETE.CORE_1.other",
        "$JS.API.CONSUMER.INFO.CORE_1.other",
        "$JS.API.CONSUMER.LIST.CORE_1",
        "$JS.API.STREAM.MSG.GET.CORE_1",
        "$JS.API.STREAM.INFO.CORE_1",
        "$JS.API.STREAM.CREATE.MINE",
        "$JS.API.INFO",
        EVENT,
        "kisum.auth.v1.access._.session.ended",
        "kisum.core.v1.head",
        "_INBOX.other.1",
        "_INBOX.finance.1",
    ] {
        billing.publish(subject, None, "{}").await;
        billing.is_refused("publish", subject).await;
    }
    for subject in ["_INBOX.other.>", "_INBOX.>", "kisum.core.v1.access.>", "$JS.ACK.>", ">"] {
        let _subscription = billing.nats.subscribe(subject).await.unwrap_or_else(|error| panic!("{error}"));
        billing.is_refused("subscription", subject).await;
    }
    assert_eq!(admin.place("CORE_1", "other").await, (0, 1), "the other's event is still the other's");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_a_fetch_cannot_be_sent_into_a_log_or_to_another_s_inbox() {
    let stack = servers::start(&[]).await;
    let admin = Admin::of(&stack).await;
    admin.makes_stream("core", 1).await;
    let billing = Connected::with(&add(&stack, "billing", ANY).await).await;
    let other = Connected::with(&add(&stack, "other", ANY).await).await;
    let mut of_other = other.nats.subscribe("_INBOX.other.>").await.unwrap_or_else(|error| panic!("{error}"));
    let mut of_finance = servers::nats(&stack, "finance").await.subscribe("_INBOX.finance.>").await.unwrap();

    let request = r#"{"batch":1,"no_wait":true}"#;
    let ack = |sequence: u64| format!("$JS.ACK.CORE_1.billing.1.{sequence}.{sequence}.0.0");
    for (round, reply) in (0..).zip([EVENT, "_INBOX.other.1", "_INBOX.finance.1"]) {
        let (first, second) = (round * 2 + 1, round * 2 + 2);
        for sequence in [first, second] {
            let said = admin.says(EVENT, 1, "an event".to_owned()).await;
            assert_eq!(said, sequence, "something was put into the log's stream");
        }
        // An event, the next event as the answer to an acknowledgement, and "no messages": each goes to the reply.
        billing.publish(FETCH, Some(reply), request).await;
        admin.stands_at("CORE_1", "billing", (first - 1, 1)).await;
        billing.publish(&ack(first), Some(reply), "+NXT").await;
        admin.stands_at("CORE_1", "billing", (first, 1)).await;
        billing.publish(&ack(second), None, "+ACK").await;
        admin.stands_at("CORE_1", "billing", (second, 0)).await;
        billing.publish(FETCH, Some(reply), request).await;
        // It stands before the answer to this: one connection, one consumer.
        assert!(billing.fetch(FETCH).await.is_none(), "there is nothing left");
    }
    assert_eq!(admin.says(EVENT, 1, "the last".to_owned()).await, 7, "something was put into the log's stream");
    for (whose, inbox) in [("another subscriber's", &mut of_other), ("a backend's", &mut of_finance)] {
        let heard = tokio::time::timeout(Duration::from_millis(50), inbox.next()).await;
        assert!(heard.is_err(), "{whose} inbox was written to: {heard:?}");
    }
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adding_again_changes_nothing_and_what_is_wrong_is_said() {
    let stack = servers::start(&[]).await;
    let (code, _, err) = subscribers(&stack, &["add", "billing", "--subjects", ANY]).await;
    assert_eq!((code, err.contains("start its relay first")), (1, true), "{err}");

    let admin = Admin::of(&stack).await;
    admin.makes_stream("core", 1).await;
    admin.makes_stream("auth", 1).await;
    let first = add(&stack, "billing", ANY).await;
    let again = add(&stack, "billing", ANY).await;
    assert_eq!((&first["isNew"], &again["isNew"]), (&true.into(), &false.into()));
    assert_eq!((&first["nkey"], &first["seedFile"]), (&again["nkey"], &again["seedFile"]));
    let whole = add(&stack, "audit", "kisum.auth.v1.access.>,kisum.auth.v1.info.>").await;
    assert_eq!(whole["subjects"].as_array().map(Vec::len), Some(2), "{whole}");

    for (arguments, code, says) in [
        (&["add", "billing", "--subjects", "kisum.core.v1.info.>"][..], 1, "remove it first"),
        (&["add", "billing", "--subjects", "kisum.auth.v1.info.>"], 1, "one name, one log"),
        (&["add", "x", "--subjects", "kisum.core.v1.head"], 2, "no subject of a log's events"),
        (&["add", "x", "--subjects", "$JS.API.>"], 2, "no subject of a log's events"),
        (&["add", "x", "--subjects", "kisum.core.v1.info.>", "kisum.auth.v1.info.>"], 2, "both logs"),
        (&["add", "x.y", "--subjects", ANY], 2, "a name has"),
        (&["add", "x"], 2, "--subjects"),
        (&["list", "--nats-url", "nats://127.0.0.1:1"], 3, "cannot be reached"),
    ] {
        let (found, _, err) = subscribers(&stack, arguments).await;
        assert_eq!((found, err.contains(says)), (code, true), "{arguments:?}: {err}");
    }
    let (code, known) = list(&stack).await;
    let names: Vec<_> = known.iter().map(|one| (one["name"].as_str(), one["stream"].as_str())).collect();
    assert_eq!((code, names), (0, vec![(Some("audit"), Some("AUTH_1")), (Some("billing"), Some("CORE_1"))]));
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_whose_epoch_is_over_is_shown_and_one_that_is_removed_is_out() {
    let stack = servers::start(&[]).await;
    let admin = Admin::of(&stack).await;
    admin.makes_stream("core", 1).await;
    admin.says(EVENT, 1, "old".to_owned()).await;
    let added = add(&stack, "billing", ANY).await;
    let streams = LogStreams::new(admin.nats.clone(), kisum_events::Log::Core);
    for stream in streams.list().await.unwrap_or_else(|error| panic!("{error}")) {
        streams.retire(&stream).await.unwrap_or_else(|error| panic!("{error}"));
    }
    admin.makes_stream("core", 2).await;
    admin.says(EVENT, 2, "new".to_owned()).await;

    let left_behind = |known: &[Value]| -> Vec<bool> {
        known.iter().map(|one| one["isRetired"] == true && one["isLeftBehind"] == true).collect()
    };
    let (code, known) = list(&stack).await;
    assert_eq!((code, left_behind(&known)), (1, vec![true]), "{known:?}");
    let (_, human, _) = subscribers(&stack, &["list"]).await;
    assert!(human.contains("epoch 1 is over: run `kisum subscribers add billing` again"), "{human}");

    let second = add(&stack, "billing", ANY).await;
    assert_eq!((second["stream"].as_str(), &second["nkey"]), (Some("CORE_2"), &added["nkey"]));
    let (code, known) = list(&stack).await;
    assert_eq!((code, left_behind(&known)), (0, vec![false, false]), "{known:?}");
    let billing = Connected::with(&second).await;
    let fetched = billing.fetch("$JS.API.CONSUMER.MSG.NEXT.CORE_2.billing").await;
    assert_eq!(fetched.map(|(body, _)| body).as_deref(), Some("new"), "the right holds for the new epoch, too");

    let (code, out, err) = subscribers(&stack, &["remove", "billing", "--json"]).await;
    assert_eq!(code, 0, "{err}");
    let removed: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"));
    assert_eq!(removed["removedFrom"], serde_json::json!(["CORE_1", "CORE_2"]));
    assert_eq!(list(&stack).await, (0, Vec::new()));
    let seed = second["seedFile"].as_str().unwrap_or_default();
    assert!(!std::path::Path::new(seed).exists(), "the key is gone with the right");
    let (code, ..) = subscribers(&stack, &["remove", "billing"]).await;
    assert_eq!(code, 0, "removing again changes nothing");
    stack.stop().await;
}
