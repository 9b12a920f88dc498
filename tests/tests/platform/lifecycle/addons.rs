//! What a company buys for itself: handed on to Core, which decides, with the person as the actor.

use super::{Held, PATIENCE, PAUSE, Scene, Setting, members::Firm};
use kisum::{
    local::{Part, databases::Database},
    platform::{Answer, Ask},
};
use kisum_events::Log;
use kisum_log::read;
use kisum_tests::{
    counted::new_uuid,
    demo::{Demo, another_auth, texts, words},
};
use reqwest::Method;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use tokio::sync::OnceCell;

const LOW: &str = "403 forbidden role_too_low";

async fn asks(firm: &Firm<'_>, token: &str, method: Method, addon: &str) -> Answer {
    firm.asks(token, method, &format!("addons/{addon}"), None).await
}

/// Who made the core log's event at a position.
async fn actor_at(scene: &Scene, position: &str) -> String {
    let url = scene.stack().addresses_with(|at| at.database(Database::Core, Database::Core.runtime_role()));
    let url = url.unwrap_or_else(|failure| panic!("{failure}"));
    let mut conn = PgConnection::connect(&url).await.unwrap_or_else(|error| panic!("{error}"));
    let at: u64 = position.rsplit('.').next().and_then(|text| text.parse().ok()).unwrap_or_default();
    let events = read(&mut conn, Log::Core, at - 1, 1, None).await.unwrap_or_else(|error| panic!("{error}"));
    events.first().map(|event| event.meta.actor.to_string()).unwrap_or_default()
}

/// Contract, *Auth, public listener*.
#[tokio::test(flavor = "multi_thread")]
async fn a_superadmin_buys_an_add_on_and_gives_it_up_and_nobody_else_does() {
    let scene = Scene::start().await;
    let (boss, admin, rival) = (scene.person("Boss").await, scene.person("Admin").await, scene.person("Rival").await);
    let firm = Firm::of(&scene, &boss).await;
    Firm::of(&scene, &rival).await;
    firm.member(&admin, "ADMIN").await;
    let lead = scene.sign_in(&boss.email).await;
    let (below, other) = (scene.sign_in(&admin.email).await.access, scene.sign_in(&rival.email).await.access);
    for method in [Method::PUT, Method::DELETE] {
        assert_eq!(words(&asks(&firm, &below, method.clone(), "venue").await), LOW, "{method}");
        assert_eq!(
            words(&asks(&firm, &other, method.clone(), "venue").await),
            "403 forbidden not_a_member",
            "{method}"
        );
    }
    assert_eq!(words(&asks(&firm, &lead.access, Method::PUT, "casino").await), "422 unprocessable", "as Core says");
    assert_eq!(words(&asks(&firm, &lead.access, Method::PUT, "No-Key!").await), "422 unprocessable");
    assert_eq!(words(&asks(&firm, &lead.access, Method::DELETE, "venue").await), "404 not_found", "as Core says");

    let path = format!("/companies/{}/addons/venue", firm.id);
    let key = new_uuid();
    let buy = || scene.auth(Some(&lead.access), Ask::new(Method::PUT, &path).company(&firm.slug).key(key));
    let bought = buy().await;
    assert_eq!(bought.status, 200, "{bought}");
    let position = bought.position.clone().unwrap_or_default();
    assert!(position.starts_with("core."), "{position}");
    assert!(bought.body["data"]["entitlements"].to_string().contains("venue"), "{bought}");
    assert_eq!(actor_at(&scene, &position).await, format!("user:{}", boss.id));
    assert_eq!(buy().await.position, bought.position, "under one key it is bought once");
    // What was bought can be granted from that position on.
    let own = firm.access(&lead.access).await.text("/membershipId").unwrap_or_else(|error| panic!("{error:#}"));
    let grant = format!("/companies/{}/members/{own}/modules/venue", firm.id);
    let ask = Ask::new(Method::PUT, &grant).company(&firm.slug).from_position(Some(&position));
    let granted = scene.auth(Some(&lead.access), ask).await;
    assert_eq!((granted.status, texts(&granted, "/modules")), (200, vec!["venue".to_owned()]), "{granted}");
    let over = asks(&firm, &lead.access, Method::DELETE, "venue").await;
    assert_eq!((over.status, over.position.is_some()), (204, true), "{over}");
    assert_eq!(words(&asks(&firm, &lead.access, Method::DELETE, "venue").await), "404 not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_companies_do_not_buy_for_themselves_or_core_is_away_nothing_is_bought() {
    let demo = Demo::start().await;
    let mut scene = Scene::of(Held::Own(Box::new(Setting { demo, owner: OnceCell::new() })));
    let boss = scene.person("Boss").await;
    let (id, slug) = {
        let firm = Firm::of(&scene, &boss).await;
        (firm.id, firm.slug)
    };
    let lead = scene.sign_in(&boss.email).await.access;
    let path = format!("/companies/{id}/addons/venue");
    let buy = || Ask::new(Method::PUT, &path).company(&slug);
    let (off, visitor) = another_auth(scene.stack(), &[("SELF_SERVICE_BILLING", "off")]).await;
    let refusing = async {
        loop {
            let answer = visitor.auth(Some(&lead), buy()).await;
            if answer.status != 503 {
                return words(&answer);
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let refused = tokio::time::timeout(PATIENCE, refusing).await;
    assert_eq!(refused.ok().as_deref(), Some("403 forbidden self_service_disabled"));
    off.kill().await;

    let Held::Own(setting) = &mut scene.setting else { panic!("its own") };
    setting.demo.stack.kill(Part::Core).await;
    let away = scene.visitor.auth(Some(&lead), buy()).await;
    assert_eq!((words(&away).as_str(), away.position), ("503 service_unavailable", None));
    let Held::Own(setting) = &mut scene.setting else { panic!("its own") };
    setting.demo.stack.start_part(Part::Core).await.unwrap_or_else(|failure| panic!("{failure}"));
    let bought = scene.auth(Some(&lead), buy()).await;
    assert_eq!(bought.status, 200, "{bought}");
    assert_eq!(json!(true), bought.body["success"]);
}
