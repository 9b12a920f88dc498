//! `kisum keys` as an operator meets it: what it prints, what it refuses, and its exit codes.

use super::run;
use kisum_tests::servers;
use serde_json::Value;
use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _, path::Path};

/// An operator's environment at a database of their own.
async fn alone() -> BTreeMap<String, String> {
    let stack = servers::shared().await;
    let database = servers::fresh_log(stack).await;
    let name = database.run_url.rsplit('/').next().unwrap_or_default();
    let folder = stack.layout().secrets().join(name);
    std::fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{error}"));
    BTreeMap::from([
        ("AUTH_DB_URL".to_owned(), database.run_url.clone()),
        ("JWT_KEYRING_FILE".to_owned(), folder.join("keyring.json").display().to_string()),
    ])
}

/// What a command that goes well prints first.
async fn said(variables: &BTreeMap<String, String>, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    let (code, out, err) = run(&arguments, variables).await;
    assert_eq!(code, 0, "{arguments:?}: {out}{err}");
    serde_json::from_str(out.lines().next().unwrap_or_default()).unwrap_or_else(|error| panic!("{error}: {out}"))
}

/// The exit code, and all that is printed.
async fn refused(variables: &BTreeMap<String, String>, arguments: &[&str]) -> (i32, String) {
    let (code, out, err) = run(arguments, variables).await;
    (code, format!("{out}{err}"))
}

/// security 11, 31
#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_made_published_activated_and_removed_and_each_step_says_when_the_next_may_be() {
    let at = alone().await;
    let mut without_list = at.clone();
    without_list.remove("JWT_KEYRING_FILE");
    assert_eq!(refused(&without_list, &["list"]).await, (1, "no key signs\n".to_owned()));
    let first = said(&at, &["generate", "--kid", "first", "--alg", "RS256"]).await;
    let file = Path::new(first["privateKey"].as_str().unwrap_or_default()).to_owned();
    for path in [file.as_path(), Path::new(&at["JWT_KEYRING_FILE"])] {
        let mode = std::fs::metadata(path).unwrap_or_else(|error| panic!("{error}")).permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
    // The first key has nobody to wait for.
    assert_eq!(said(&at, &["rotate"]).await["standing"], "active");
    assert_eq!(said(&at, &["list"]).await["standing"], "active");

    said(&at, &["generate", "--kid", "second", "--alg", "EdDSA"]).await;
    let published = said(&at, &["rotate"]).await;
    assert_eq!((published["kid"].as_str(), published["standing"].as_str()), (Some("second"), Some("published")));
    assert_eq!(said(&at, &["rotate"]).await, published, "said again, it goes on where it stands");
    let (code, text) = refused(&at, &["list"]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("may sign from") && text.contains("in the list"), "{text}");

    // Not while it signs, not without a word, and then for ever.
    let (code, text) = refused(&at, &["remove", "first"]).await;
    assert_eq!((code, text.contains("activate another one first")), (1, true), "{text}");
    let (code, text) = refused(&at, &["remove", "first", "--emergency"]).await;
    assert_eq!((code, text.contains("say --yes") && text.contains("would have lived until")), (2, true), "{text}");
    assert_eq!(said(&at, &["remove", "first", "--emergency", "--yes"]).await["isAnotherActive"], false);
    // Nobody signs, so that there is nothing to wait for.
    assert_eq!(said(&at, &["rotate", "--activate", "second"]).await["standing"], "active");
    let (code, text) = refused(&at, &["rotate", "--activate", "first"]).await;
    assert_eq!((code, text.contains("a name is never used again")), (1, true), "{text}");

    said(&at, &["generate", "--kid", "third"]).await;
    said(&at, &["rotate"]).await;
    assert_eq!(said(&at, &["retire", "third"]).await["standing"], "retired");
    said(&at, &["remove", "third", "--yes"]).await;
    let (_, text) = refused(&at, &["list"]).await;
    assert_eq!(text.matches("removed").count(), 2, "{text}");
    assert!(!text.contains("PRIVATE"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_has_the_exit_code_of_its_kind() {
    let at = alone().await;
    let with = |name: &str, value: &str| {
        let mut changed = at.clone();
        changed.insert(name.to_owned(), value.to_owned());
        changed
    };
    assert_eq!(refused(&with("AUTH_DB_URL", ""), &["list"]).await.0, 2);
    let (code, text) = refused(&with("AUTH_DB_URL", "postgres://x:hunter2@127.0.0.1:1/none"), &["list"]).await;
    assert_eq!((code, text.contains("hunter2")), (3, false), "{text}");
    assert_eq!(refused(&with("JWT_KEYRING_FILE", ""), &["rotate"]).await.0, 2);
    assert_eq!(refused(&with("JWT_KEYRING_FILE", "/no/such/file"), &["rotate"]).await.0, 2);
    assert_eq!(refused(&with("JWT_KEYRING_FILE", ""), &["generate"]).await.0, 2);
    assert_eq!(refused(&at, &["generate", "--alg", "HS256"]).await.0, 2);
    assert_eq!(refused(&at, &["generate", "--kid", "two words"]).await.0, 2);
    assert_eq!(refused(&at, &["remove", "nobody", "--yes"]).await.0, 1);
    said(&at, &["generate", "--kid", "once"]).await;
    assert_eq!(refused(&at, &["generate", "--kid", "once"]).await.0, 2);
    assert_eq!(refused(&with("JWKS_MAX_AGE", "soon"), &["rotate"]).await.0, 2);
}
