//! The first key, where several Auths start at once and each was given another one.

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use kisum::local::Part;
use kisum_domains::{Keyring, keyring::KeyStanding};
use kisum_events::StreamName;
use kisum_tests::{processes::Process, servers};

const AUTHS: usize = 3;

fn private_key() -> String {
    let pair = Ed25519KeyPair::generate().unwrap_or_else(|error| panic!("{error}"));
    let der = pair.to_pkcs8v1().unwrap_or_else(|error| panic!("{error}"));
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()))
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_auths_that_start_at_once_one_publishes_its_key_and_the_others_see_that_they_lack_it() {
    let stack = servers::shared().await;
    let database = servers::fresh_log(stack).await;
    let mut processes = Vec::new();
    for number in 0..AUTHS {
        let (key, kid) = (private_key(), format!("first-{number}"));
        let variables = [
            ("AUTH_DB_URL", database.run_url.as_str()),
            ("JWT_KEYRING_FILE", ""),
            ("JWT_PRIVATE_KEY", &key),
            ("JWT_PUBLIC_KID", &kid),
            ("DB_POOL_MAX", "2"),
        ];
        processes.push(Process::service(stack, Part::Auth, &variables));
    }
    let told = |event: &str| format!("\"event\":\"{event}\"");
    for process in &processes {
        process.until("a key", |lines| lines.iter().any(|line| line.contains("\"event\":\"keys."))).await;
    }
    let signs = |process: &&Process| process.lines().iter().any(|line| line.contains(&told("keys.changed")));
    assert_eq!(processes.iter().filter(signs).count(), 1, "one of them has the key that signs");
    let log = servers::open(&database).await;
    let loaded = log.load::<Keyring>(&StreamName::keyring()).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((loaded.version, loaded.state.keys.len()), (2, 1), "{:?}", loaded.state);
    let (kid, key) = loaded.state.active().unwrap_or_else(|| panic!("a key signs"));
    assert!(kid.as_str().starts_with("first-") && key.standing == KeyStanding::Active);
    for process in processes {
        process.kill().await;
    }
}
