//! A process that was not given the private half of the key that signs.

use super::{PATIENCE, PAUSE, demo, environment, keys, kid, refresh, run, signed_by};
use kisum::{local::Part, platform::Ask};
use kisum_tests::demo::Demo;
use serde_json::Value;

/// What Auth's `/ready` says of its signing key.
async fn signing_key(demo: &Demo) -> (String, String) {
    let base = demo.stack.addresses_with(|at| at.ops(Part::Auth));
    let answer = demo.ask(&base, None, Ask::get("/ready")).await;
    let all = answer.body.pointer("/data/dependencies").and_then(Value::as_array).cloned().unwrap_or_default();
    let one = all.into_iter().find(|one| one["name"] == "signing_key").unwrap_or_default();
    let text = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
    (text("state"), text("detail"))
}

async fn until(demo: &Demo, wanted: &str) -> String {
    let waiting = async {
        loop {
            let (state, detail) = signing_key(demo).await;
            if state == wanted {
                return detail;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("signing_key is never {wanted}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auth_without_the_active_key_says_so_and_signs_with_the_one_before_until_it_is_given_the_key() {
    let demo = demo().await;
    let mut person = demo.sign_in("user@acme-live.example").await;
    assert_eq!(signing_key(&demo).await.0, "up");

    // The list of another machine: Auth does not see it.
    let list = std::path::PathBuf::from(&environment(&demo)["JWT_KEYRING_FILE"]);
    let elsewhere = list.with_file_name("elsewhere.json");
    std::fs::copy(&list, &elsewhere).unwrap_or_else(|error| panic!("{error}"));
    let elsewhere = elsewhere.display().to_string();
    let made = keys(&demo, &["generate", "--alg", "EdDSA", "--keyring-file", &elsewhere]).await;
    let missing = made[0]["kid"].as_str().unwrap_or_default().to_owned();
    keys(&demo, &["rotate", "--wait", "--keyring-file", &elsewhere]).await;

    let detail = until(&demo, "down").await;
    assert!(detail.contains(&missing), "{detail}");
    let (code, out, _) = run(&["list"], &environment(&demo)).await;
    assert_eq!((code, out.contains("NOT in the list")), (1, true), "{out}");
    refresh(&demo, &mut person).await;
    assert_eq!(kid(&person.access), "local-1", "the key before goes on");
    assert_eq!(super::asked(&demo, &person.access).await[0], "200");
    let log = std::fs::read_to_string(demo.stack.layout().log("auth")).unwrap_or_default();
    assert!(log.contains("\"event\":\"keys.missing\"") && !log.contains("PRIVATE KEY"), "it says so in its log");

    // The list arrives, and the running process takes it up.
    std::fs::copy(&elsewhere, &list).unwrap_or_else(|error| panic!("{error}"));
    until(&demo, "up").await;
    signed_by(&demo, &mut person, &missing).await;
    demo.stack.stop().await;
}
