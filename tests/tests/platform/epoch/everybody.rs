//! A whole platform whose logs are restored from older dumps: whoever follows them starts over by itself, and nobody but
//! the relays is started again.

use super::{PATIENCE, address, copies, kisum, said};
use kisum::{
    local::{Part, databases::Database},
    platform::{Answer, Ask, Callee},
};
use kisum_tests::demo::{Backend, Demo, Signed, words};
use reqwest::Method;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::time::timeout;

const UNAVAILABLE: &str = "503 service_unavailable";
const ALLOWED: &str = "200";

#[expect(clippy::disallowed_methods, reason = "the bound itself is what is measured")]
fn now() -> Instant {
    Instant::now()
}

async fn bills(demo: &Demo, person: &Signed) -> String {
    words(&demo.business(Backend::Finance, Method::GET, &person.access, "acme-live").await)
}

/// Asks until the answer is `wanted`; every other answer must be one of `meanwhile`.
async fn becomes(demo: &Demo, person: &Signed, wanted: &str, meanwhile: &[&str], within: Duration) {
    let started = now();
    loop {
        let answer = bills(demo, person).await;
        if answer == wanted {
            return;
        }
        assert!(meanwhile.contains(&answer.as_str()), "{answer} while waiting for {wanted}");
        assert!(started.elapsed() < within, "still {answer}, wanted {wanted}");
    }
}

/// The product's bound on how long anything old may live (`consistency.md`).
const BOUND: Duration = Duration::from_secs(5);

/// Puts a database back to a dump, begins its epoch as an operator does, and starts its relay again.
async fn put_back(demo: &mut Demo, database: Database, dump: &copies::Dump, person: &Signed, before: &str) {
    let (log, relay) = match database {
        Database::Auth => ("auth", Part::RelayAuth),
        _ => ("core", Part::RelayCore),
    };
    let name = database.name();
    copies::restore_as(&demo.stack, dump, database, &format!("{name}_restored")).await;
    copies::rename(&demo.stack, name, &format!("{name}_lost")).await;
    copies::rename(&demo.stack, &format!("{name}_restored"), name).await;
    // Nothing vouches for the restored history: what was known may be answered while it is proven, then nobody is.
    becomes(demo, person, UNAVAILABLE, &[before], BOUND + Duration::from_secs(1)).await;
    for _ in 0..10 {
        assert_eq!(bills(demo, person).await, UNAVAILABLE);
    }
    // Its relay has noticed, too, and waits for an operator.
    let falls = async {
        loop {
            if let Some(fallen) = demo.stack.fallen() {
                return fallen;
            }
            tokio::task::yield_now().await;
        }
    };
    let (fallen, obituary) = timeout(PATIENCE, falls).await.unwrap_or_else(|_| panic!("the relay goes on"));
    assert!(fallen == relay && obituary.to_string().contains("kisum log epoch new"), "{obituary}");
    let owner_url = demo.stack.addresses_with(|at| at.database(database, database.owner()));
    let owner_url = owner_url.unwrap_or_else(|failure| panic!("{failure}"));
    let nats = demo.stack.addresses_with(|at| at.nats("admin")).unwrap_or_else(|failure| panic!("{failure}"));
    let given = ["log", "epoch", "new", "--yes", "--reason", "restored", "--log", log];
    let (code, text) = said(kisum(&[&given[..], &["--url", &owner_url, "--nats-url", &nats]].concat())).await;
    assert!(code == 0 && text.contains(&format!("epoch 2 of the {log} log has begun")), "{code} {text}");
    demo.stack.restart(relay).await.unwrap_or_else(|failure| panic!("{failure}"));
}

/// Attaches an add-on, or detaches it.
async fn addon(demo: &Demo, method: Method, path: &str) {
    let ask = Ask::new(method.clone(), path);
    let ask = if method == Method::PUT { ask.body(json!({})) } else { ask };
    done(&demo.platform.internal(Callee::Core, ask).await.unwrap_or_else(|error| panic!("{error:#}")));
}

/// A command was carried out.
fn done(answer: &Answer) {
    assert!(answer.is_success(), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_both_logs_were_put_back_everybody_answers_from_the_new_history_without_a_restart() {
    let mut demo = Demo::start().await;
    let person = demo.sign_in("user@acme-live.example").await;
    let superadmin = demo.sign_in("superadmin@acme-live.example").await;
    assert_eq!(bills(&demo, &person).await, ALLOWED);
    let context = demo.access(&person.access, "acme-live").await;
    let text = |pointer: &str| context.text(pointer).unwrap_or_else(|error| panic!("{error:#}"));
    let (company, membership) = (text("/companyId"), text("/membershipId"));
    let address = address(&demo.stack);
    let original = |name: &str| super::LogCopy::at(&demo.stack, &address, name);
    let (auth, core) = (original(Database::Auth.name()), original(Database::Core.name()));
    let services = [Part::Auth, Part::Core, Part::Finance, Part::Basic];
    let processes = services.map(|service| demo.stack.pid(service));

    // In the auth log a permission is revoked, and lost.
    let dump = copies::dump(&demo.stack, &auth).await;
    let path = format!("/companies/{company}/members/{membership}/permissions/finance.bills.read");
    let revoke = || Ask::new(Method::DELETE, &path).company(&company);
    done(&demo.auth(Some(&superadmin.access), revoke()).await);
    let missing = "403 forbidden missing_permission";
    becomes(&demo, &person, missing, &[ALLOWED, UNAVAILABLE], BOUND).await;
    put_back(&mut demo, Database::Auth, &dump, &person, missing).await;
    becomes(&demo, &person, ALLOWED, &[UNAVAILABLE], PATIENCE).await;
    done(&demo.auth(Some(&superadmin.access), revoke()).await);
    becomes(&demo, &person, missing, &[ALLOWED, UNAVAILABLE], BOUND).await;
    let grant = Ask::new(Method::PUT, &path).company(&company);
    done(&demo.auth(Some(&superadmin.access), grant).await);
    becomes(&demo, &person, ALLOWED, &[missing, UNAVAILABLE], BOUND).await;

    // In the core log the module is taken from the company, and that is lost: Auth's read model of it is made anew.
    let dump = copies::dump(&demo.stack, &core).await;
    let path = format!("/internal/v1/companies/{company}/addons/finance");
    addon(&demo, Method::DELETE, &path).await;
    let not_owned = "403 forbidden module_not_owned";
    becomes(&demo, &person, not_owned, &[ALLOWED, UNAVAILABLE], BOUND).await;
    put_back(&mut demo, Database::Core, &dump, &person, not_owned).await;
    becomes(&demo, &person, ALLOWED, &[UNAVAILABLE], PATIENCE).await;
    addon(&demo, Method::DELETE, &path).await;
    becomes(&demo, &person, not_owned, &[ALLOWED, UNAVAILABLE], BOUND).await;
    addon(&demo, Method::PUT, &path).await;
    becomes(&demo, &person, ALLOWED, &[not_owned, UNAVAILABLE], BOUND).await;

    assert_eq!(services.map(|service| demo.stack.pid(service)), processes, "no service was started again");
    demo.stack.stop().await;
}
