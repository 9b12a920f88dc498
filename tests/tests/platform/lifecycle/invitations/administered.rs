//! Who may invite whom, how many wait, how they are listed, and that their addresses are nowhere in clear.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn whoever_administers_invites_lower_ranks_and_whatever_is_malformed_is_refused() {
    let (scene, _) = shared().await;
    let boss = scene.person("Boss").await;
    let firm = Firm::of(&scene, &boss).await;
    let lead = scene.sign_in(&boss.email).await.access;
    let (_, _, admin) = admin_of(&firm, &lead).await;
    let manager = scene.person("Manager").await;
    firm.member(&manager, "MANAGER").await;
    let manager = scene.sign_in(&manager.email).await.access;
    let of_rank = |role: &str| json!({ "email": nobody(), "tenantRole": role });
    assert_eq!(words(&firm.invites(&admin, of_rank("ADMIN")).await), LOW);
    assert_eq!(words(&firm.invites(&admin, of_rank("TENANT_SUPERADMIN")).await), LOW);
    assert_eq!(words(&firm.invites(&manager, of_rank("USER")).await), LOW);
    assert_eq!(words(&firm.asks(&manager, Method::GET, "invitations", None).await), LOW);
    let of_admin = firm.invites(&lead, of_rank("ADMIN")).await;
    assert_eq!(of_admin.status, 201, "{of_admin}");
    let path = format!("invitations/{}", text(&of_admin, "/invitationId"));
    assert_eq!(words(&firm.asks(&admin, Method::DELETE, &path, None).await), LOW);
    let many: Vec<_> = (0..101).map(|number| format!("finance.bills.x{number}")).collect();
    for (body, wanted) in [
        (json!({ "email": "nobody", "tenantRole": "USER" }), "400 validation_error"),
        (json!({ "email": nobody() }), "400 validation_error"),
        (json!({ "email": nobody(), "tenantRole": "USER", "permissions": many }), "400 validation_error"),
        (json!({ "email": nobody(), "tenantRole": "USER", "modules": ["casino"] }), "422 unprocessable"),
        (
            json!({ "email": nobody(), "tenantRole": "USER", "permissions": ["finance.bills.burn"] }),
            "422 unprocessable",
        ),
        (json!({ "email": nobody(), "tenantRole": "USER", "modules": ["venue"] }), "403 forbidden module_not_owned"),
    ] {
        assert_eq!(words(&firm.invites(&lead, body.clone()).await), wanted, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_company_has_so_many_invitations_waiting_and_no_more() {
    /// `PENDING_MAX` in `api/src/auth/companies/invitations/mod.rs`.
    const MAX: i32 = 1_000;
    let (scene, _post) = shared().await;
    let boss = scene.person("Boss").await;
    let firm = Firm::of(&scene, &boss).await;
    let lead = scene.sign_in(&boss.email).await.access;
    let mut conn = PgConnection::connect(&scene.database()).await.unwrap_or_else(|error| panic!("{error}"));
    // As the list would hold them; they expire in a far future.
    let filled = sqlx::query(
        "insert into invitation_list_v1 (invitation_id, company_id, status, expires_at, position)
         select gen_random_uuid(), $1::uuid, 'pending', 9e15::bigint, number from generate_series(1, $2) number",
    );
    filled.bind(&firm.id).bind(MAX).execute(&mut conn).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(words(&firm.invites(&lead, to(&nobody())).await), "409 conflict limit_reached");
    let over = "update invitation_list_v1 set status = 'withdrawn' where company_id = $1::uuid and position = 1";
    let over = sqlx::query(over).bind(&firm.id).execute(&mut conn).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(over.rows_affected(), 1);
    assert_eq!(firm.invites(&lead, to(&nobody())).await.status, 201);
}

/// Pages end, in order, and each names its next.
#[tokio::test(flavor = "multi_thread")]
async fn invitations_are_listed_page_by_page_in_the_order_in_which_they_were_sent() {
    let (scene, _) = shared().await;
    let boss = scene.person("Boss").await;
    let firm = Firm::of(&scene, &boss).await;
    let lead = scene.sign_in(&boss.email).await.access;
    let (mut sent, mut last) = (Vec::new(), None);
    for _ in 0..5 {
        let answer = firm.invites(&lead, to(&nobody())).await;
        sent.push(text(&answer, "/invitationId"));
        last = answer.position;
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/companies/{}/invitations?limit=2{cursor}", firm.id);
        let ask = Ask::get(&path).company(&firm.slug).from_position(last.as_deref());
        let page = scene.auth(Some(&lead), ask).await;
        let items = page.body["data"]["items"].as_array().cloned().unwrap_or_else(|| panic!("{page}"));
        seen.extend(items.iter().filter_map(|item| item["invitationId"].as_str()).map(str::to_owned));
        match page.body["data"]["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, sent);
}

/// security 12, 13
#[tokio::test(flavor = "multi_thread")]
async fn an_invited_address_is_nowhere_in_clear_and_goes_with_its_person() {
    let (setting, post) = mailed().await;
    let scene = Scene::of(Held::Own(Box::new(setting)));
    let (boss, other, ada) =
        (scene.person("Boss").await, scene.person("Other").await, scene.person("Zebulon Quartermaine").await);
    let (firm, theirs) = (Firm::of(&scene, &boss).await, Firm::of(&scene, &other).await);
    let (lead, rival) = (scene.sign_in(&boss.email).await.access, scene.sign_in(&other.email).await.access);
    let (here, token) = firm.invited(&post, &lead, to(&ada.email)).await;
    let (there, _) = theirs.invited(&post, &rival, to(&ada.email)).await;
    let stranger = nobody();
    let (kept, _) = firm.invited(&post, &lead, to(&stranger)).await;
    let wrong = json!({ "token": altered(&token), "name": "Zebulon", "password": "the owl bought a tram" });
    assert_eq!(words(&scene.accept(None, wrong).await), NOT_GOOD);
    nothing_is_found(&scene, &stranger).await;

    let owner = scene.owner(0).await;
    let shown = scene.admin(Ask::get(&format!("/internal/v1/users/{}/erasure", ada.id))).await;
    let body = json!({ "confirm": shown.body["data"]["confirm"] });
    let path = format!("/internal/v1/users/{}/erase", ada.id);
    let erased = scene.admin(Ask::new(Method::POST, &path).body(body).actor(&owner)).await;
    assert!(erased.is_success(), "{erased}");
    for id in [&here, &there] {
        assert_eq!(scene.invitation(id).await.state.status, InvitationStatus::Withdrawn);
        is_forgotten(&scene, id).await;
    }
    assert!(scene.invitation(&kept).await.state.email.get().is_some(), "nobody else's goes");
    assert_eq!(words(&scene.joins(&token).await), NOT_GOOD);
    nothing_is_found(&scene, &ada.email).await;
}
