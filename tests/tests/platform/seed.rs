//! `kisum seed` for synthetic companies: killed halfway and run again it completes, run once more it adds nothing, and
//! what it makes is what it says.

use kisum::{
    local::{Part, Stack, databases::Database, stack::binary_beside_this},
    platform::Ask,
};
use kisum_tests::{
    demo::{Visitor, texts},
    processes::{Ended, Process},
    servers,
};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use std::{collections::BTreeMap, time::Duration};

/// Both logs of a platform.
struct Logs([PgConnection; 2]);

impl Logs {
    async fn of(stack: &Stack) -> Self {
        let connect = async |database: Database| {
            let url = stack.addresses_with(|at| at.database(database, "postgres"));
            let url = url.unwrap_or_else(|failure| panic!("{failure}"));
            PgConnection::connect(&url).await.unwrap_or_else(|error| panic!("{error}"))
        };
        Self([connect(Database::Auth).await, connect(Database::Core).await])
    }

    /// Where they end.
    async fn heads(&mut self) -> [i64; 2] {
        let mut heads = [0; 2];
        for (conn, head) in self.0.iter_mut().zip(&mut heads) {
            let found =
                sqlx::query_scalar("select coalesce(max(last_position), 0) from log_batch").fetch_one(conn).await;
            *head = found.unwrap_or_else(|error| panic!("{error}"));
        }
        heads
    }

    /// How many events of a type the auth log has.
    async fn count(&mut self, event_type: &str) -> i64 {
        let counted = sqlx::query_scalar("select count(*) from event where type = $1").bind(event_type);
        counted.fetch_one(&mut self.0[0]).await.unwrap_or_else(|error| panic!("{error}"))
    }
}

fn start(stack: &Stack, arguments: &str) -> Process {
    let binary = binary_beside_this().unwrap_or_else(|failure| panic!("{failure}"));
    let mut command = vec![binary.display().to_string(), "seed".to_owned()];
    command.extend(arguments.split(' ').map(str::to_owned));
    let variables: BTreeMap<String, String> = stack.variables().unwrap_or_else(|failure| panic!("{failure}"));
    Process::start(stack, "seed", command, variables)
}

async fn seed(stack: &Stack, arguments: &str) -> Vec<String> {
    let (ended, lines) = start(stack, arguments).ended().await;
    assert_eq!(ended, Ended::With(0), "{lines:?}");
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_adds_what_is_missing_and_nothing_else() {
    let stack = servers::start(&Part::SERVICES).await;
    let mut logs = Logs::of(&stack).await;
    seed(&stack, "--json").await;
    let (people, [demo, _]) = (logs.count("user.registered").await, logs.heads().await);

    let killed = start(&stack, "--companies 3 --members 5");
    let watching = tokio::time::timeout(Duration::from_secs(60), async {
        while logs.heads().await[0] < demo + 30 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    watching.await.unwrap_or_else(|_| panic!("nothing was made"));
    killed.kill().await;
    let lines = seed(&stack, "--companies 3 --members 5").await;
    assert!(lines.iter().any(|line| line.contains("100 %  15 of 15 members")), "{lines:?}");
    let counts = async |logs: &mut Logs| {
        [
            logs.count("user.registered").await - people,
            logs.count("company.registered").await,
            logs.count("membership.created").await,
        ]
    };
    let complete = counts(&mut logs).await;
    let heads = logs.heads().await;
    assert_eq!(complete[0], 15, "every person once");
    let lines = seed(&stack, "--companies 3 --members 5 --json").await;
    let said: Value = lines.last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
    assert_eq!((&said["companies"], &said["members"]), (&json!(3), &json!(5)), "{lines:?}");
    assert_eq!(logs.heads().await, heads, "nothing is appended for what is there");

    let visitor = Visitor::of(&stack);
    let first = visitor.sign_in("s000001@seed-0002.example").await;
    let access = visitor.access(&first.access, "seed-0002").await;
    assert_eq!(access.body["data"]["tenantRole"], "TENANT_SUPERADMIN");
    assert_eq!(texts(&access, "/modules"), ["basic", "finance", "market"]);
    let password = &visitor.platform.addresses().demo_password;
    for password in [password.as_str(), ""] {
        let body = json!({ "email": "s000002@seed-0002.example", "password": password, "client": "native" });
        let refused = visitor.auth(None, Ask::new(Method::POST, "/auth/login").body(body)).await;
        assert!(matches!(refused.status, 400 | 401), "nobody signs in without a password: {refused}");
    }

    seed(&stack, "--companies 3 --members 6").await;
    let more = counts(&mut logs).await;
    assert_eq!([more[0] - complete[0], more[1] - complete[1], more[2] - complete[2]], [3, 0, 3]);
    stack.stop().await;
}
