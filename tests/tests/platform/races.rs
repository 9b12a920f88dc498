//! Races on the invariants of `events.md` that concern people, sessions, factors, keys, staff and named roles, at two
//! processes of Auth wherever versions, guards and claims have to decide: one wins, and everybody else is told so. What is
//! not here stands where its row says.
//!
//! | what must never become untrue | what decides | test |
//! |---|---|---|
//! | an address is one person's | claim | [`of_many_who_are_registered_with_one_address_one_gets_it`]; by mail `credentials::of_two_who_register_with_one_address_the_one_whose_link_is_followed_gets_it` |
//! | a mailed secret is good once | person's version | [`a_mailed_secret_is_good_once_at_whichever_process`]; `credentials::of_resets_with_one_secret_exactly_one_counts` |
//! | whoever is suspended, or signed out everywhere, has no session, whatever began or was refreshed meanwhile | session guards person | `lifecycle::races::nobody_keeps_access_who_signs_in_while_all_their_sessions_are_ended`, [`nobody_is_left_with_a_session_who_refreshes_while_all_of_theirs_are_ended`] |
//! | whoever is erased has none either | session guards person | `lifecycle::races::nobody_keeps_a_session_who_signs_in_while_they_are_erased` |
//! | a new password ends what the former one opens, and one session stays | person's and session's version | [`of_two_sessions_that_change_the_password_one_does_and_stays`], `lifecycle::passwords::a_session_that_is_ended_while_it_changes_the_password_does_not_come_back` |
//! | a hash made anew refuses nobody | person's version, compared again | `lifecycle::passwords::nobody_with_the_right_password_is_refused_while_its_hash_is_made_anew` |
//! | a refresh token has one successor, and a theft ends the session | session's version | `refreshes::fifty_refreshes_of_one_token_at_two_processes_are_one_event_and_one_successor` and its neighbours |
//! | a new factor ends what began without it, and one session stays | person's and session's version | [`of_two_sessions_that_add_a_first_factor_one_does_and_stays`], `factors::apps::no_session_that_began_without_the_factor_outlives_its_adding` |
//! | a recovery code, a code by the clock, a passkey's answer, a challenge is good once | person's version; the challenge's row | [`a_recovery_code_is_good_once_at_whichever_process`]; `factors::apps::of_many_who_use_one_recovery_code_at_once_one_signs_in`, `…::a_code_by_the_clock_signs_in_one_of_many_who_send_it_at_once`, `…::of_many_who_use_one_challenge_at_once_one_signs_in`, `factors::passkeys::of_many_who_send_one_answer_at_once_one_signs_in` |
//! | half a sign-in ends with all sessions | person's version | `factors::elsewhere::whatever_ends_a_person_s_sessions_ends_a_sign_in_that_has_begun` |
//! | there is one first owner, and never none | claims, guards | [`of_two_who_are_made_the_first_owner_at_once_one_is`]; `lifecycle::staff::the_platform_has_one_first_owner_and_never_none` |
//! | roles are given from what was shown | staff's version | `lifecycle::staff::of_changes_that_were_decided_on_one_version_of_the_roles_one_counts` |
//! | a company has a superadmin, also when people are erased | company's version | `lifecycle::erasure::the_last_superadmin_of_a_company_is_not_erased_and_the_company_is_named`; `random_commands` |
//! | nobody is assigned a role that came to give more meanwhile, and nobody grants by one that lost it | role's version, guarded | `lifecycle::roles::a_role_that_is_widened_while_a_manager_assigns_it_is_assigned_before_that_or_not_at_all`, `…::what_a_manager_grants_by_a_role_that_loses_it_meanwhile_is_granted_before_that_or_not_at_all` |
//! | the first key is published once | keyring's version | `keys::first::of_several_auths_that_start_at_once_one_publishes_its_key_and_the_others_see_that_they_lack_it` |
//! | a removed key is good nowhere, while others rotate | keyring's version | `keys::removal`, `keys::rotation` |
//! | the last seat is one member's | company's version | `lifecycle::invitations::of_two_who_accept_the_last_seat_at_once_one_gets_it` |
//! | an invitation is accepted once, and by nobody behind the demotion of whoever sent it | invitation's version; inviter's membership guarded | `lifecycle::invitations::of_many_who_use_one_link_at_once_one_joins`, `…::nobody_joins_behind_the_demotion_of_whoever_invited_them` |
//! | an append is there once, whoever dies | request id | `crash`, `appends_at_once` |

use crate::{
    credentials::{auth_with, somebody},
    log_command::kisum_with,
};
use futures_util::future::join_all;
use kisum::{
    local::{Part, Stack},
    platform::{Answer, Ask, Callee},
};
use kisum_tests::{
    account::{Account, add_app, decided, me, part, post, second_factor, text},
    authenticator_app::App,
    demo::{self, Visitor, texts, words},
    kept::Kept,
    post::PostOffice,
    processes::Process,
    seeded::Seeded,
    servers,
};
use reqwest::Method;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

const OVER: &str = "401 session_revoked";
const NEXT: [&str; 2] = ["nine lemons in a drawer", "seven spoons of rain"];
/// Who asks at the same moment.
const CROWD: usize = 8;
/// Races of a refresh with what ends all sessions, and how much earlier either begins at most.
const ROUNDS: usize = 24;
const HEAD_START_MS: u64 = 30;

/// Auth with a mail server, which the tests of this file share.
static SHARED: Kept<(Stack, PostOffice)> = Kept::new();

/// Two processes of Auth, each asked by half of a crowd.
struct Two {
    here: Visitor,
    there: Visitor,
    post: PostOffice,
    process: Process,
    _kept: Arc<(Stack, PostOffice)>,
}

impl Two {
    async fn start() -> Self {
        let start = async || {
            let post = PostOffice::open();
            (auth_with(&post).await, post)
        };
        let kept = SHARED.get(start).await;
        let (stack, post) = &*kept;
        let (process, there) = demo::another_auth(stack, &[]).await;
        Self { here: Visitor::of(stack), there, post: post.clone(), process, _kept: Arc::clone(&kept) }
    }

    /// Whom the one with that number asks.
    const fn of(&self, number: usize) -> &Visitor {
        if number.is_multiple_of(2) { &self.here } else { &self.there }
    }

    async fn end(self) {
        self.process.kill().await;
    }
}

/// Asks Auth as the service `admin`, until it is decided.
async fn by_admin(visitor: &Visitor, method: &Method, path: &str, body: &Value) -> Answer {
    loop {
        let ask = Ask::new(method.clone(), path).body(body.clone());
        let answer = visitor.platform.internal(Callee::Auth, ask).await.unwrap_or_else(|error| panic!("{error:#}"));
        if answer.status != 503 {
            return answer;
        }
    }
}

/// Every answer but one is a refusal of these; says which one it was that was not.
fn one_won(answers: &[Answer], refusals: &[&str]) -> usize {
    let won: Vec<_> = (0..answers.len()).filter(|number| answers[*number].is_success()).collect();
    let said: Vec<_> = answers.iter().map(words).collect();
    assert_eq!(won.len(), 1, "{said:?}");
    let others = said.iter().enumerate().filter(|(number, _)| *number != won[0]);
    assert!(others.map(|(_, said)| said.as_str()).all(|said| refusals.contains(&said)), "{said:?}");
    won[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_are_registered_with_one_address_one_gets_it() {
    let two = Two::start().await;
    let email = somebody();
    let creating = (0..CROWD).map(|number| {
        let body = json!({ "email": email, "name": format!("Ada {number}"), "password": NEXT[0] });
        let two = &two;
        async move { by_admin(two.of(number), &Method::POST, "/internal/v1/users", &body).await }
    });
    let answers = join_all(creating).await;
    let won = one_won(&answers, &["409 conflict email_taken", "409 conflict"]);
    let login = json!({ "email": email, "password": NEXT[0], "client": "native" });
    let login = post(&two.here, None, "/auth/login", login).await;
    assert_eq!(text(&login, "/user/id"), text(&answers[won], "/userId"));
    two.end().await;
}

/// security 6
#[tokio::test(flavor = "multi_thread")]
async fn a_mailed_secret_is_good_once_at_whichever_process() {
    let two = Two::start().await;
    let account = Account::new(&two.here).await;
    let asked = post(&two.here, None, "/auth/password/forgot", json!({ "email": account.email })).await;
    assert_eq!(asked.status, 202, "{asked}");
    let token = two.post.subject(&account.email, "Set a new password").await.token();
    let resets = NEXT.iter().enumerate().map(|(number, password)| {
        post(two.of(number), None, "/auth/password/reset", json!({ "token": token, "password": password }))
    });
    let answers = join_all(resets).await;
    let won = one_won(&answers, &["409 conflict token_not_good"]);
    for (number, password) in NEXT.iter().enumerate() {
        let body = json!({ "email": account.email, "password": password, "client": "native" });
        let expected = if number == won { "200" } else { "401 unauthorized" };
        assert_eq!(words(&post(&two.here, None, "/auth/login", body).await), expected);
    }
    two.end().await;
}

/// security 7, 8: refreshing a session guards its person.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_left_with_a_session_who_refreshes_while_all_of_theirs_are_ended() {
    const SEED: u64 = 0x4ef4_e54d;
    let two = Two::start().await;
    let account = Account::new(&two.here).await;
    let mut seeded = Seeded::new(SEED);
    for round in 0..ROUNDS {
        let (first, second) = (account.sign_in(&two.here).await, account.sign_in(&two.there).await);
        let (early, late) = (seeded.below(HEAD_START_MS), seeded.below(HEAD_START_MS));
        let refreshing = async {
            tokio::time::sleep(Duration::from_millis(early)).await;
            post(&two.here, None, "/auth/refresh", json!({ "refreshToken": first.refresh })).await
        };
        let is_suspension = seeded.draw().is_multiple_of(2);
        let ending = async {
            tokio::time::sleep(Duration::from_millis(late)).await;
            if is_suspension {
                let path = format!("/internal/v1/users/{}/suspend", account.user_id);
                by_admin(&two.there, &Method::POST, &path, &json!({})).await
            } else {
                post(&two.there, Some(&second.access), "/auth/logout-all", json!({})).await
            }
        };
        let (refreshed, ended) = tokio::join!(refreshing, ending);
        // A "not now" that was carried out after all has ended the session that asks.
        assert!(ended.is_success() || words(&ended) == OVER, "seed {SEED:#x}, round {round}: {ended}");
        let what = format!("seed {SEED:#x}, round {round}: {refreshed}");
        if refreshed.is_success() {
            assert_eq!(me(&two.there, &text(&refreshed, "/accessToken")).await, OVER, "{what}");
            let next = json!({ "refreshToken": text(&refreshed, "/refreshToken") });
            assert_eq!(words(&post(&two.there, None, "/auth/refresh", next).await), OVER, "{what}");
        } else {
            assert_eq!(words(&refreshed), OVER, "{what}");
        }
        if is_suspension {
            let path = format!("/internal/v1/users/{}/reactivate", account.user_id);
            assert!(by_admin(&two.here, &Method::POST, &path, &json!({})).await.is_success());
        }
    }
    two.end().await;
}

/// security 8
#[tokio::test(flavor = "multi_thread")]
async fn of_two_sessions_that_change_the_password_one_does_and_stays() {
    let two = Two::start().await;
    for round in 0..4 {
        let account = Account::new(&two.here).await;
        let sessions = [account.sign_in(&two.here).await, account.sign_in(&two.there).await];
        let changing = (0..2).map(|number| {
            let body = json!({ "currentPassword": account.password, "newPassword": NEXT[number] });
            post(two.of(number), Some(&sessions[number].access), "/auth/password/change", body)
        });
        let answers = join_all(changing).await;
        // Whoever was looked at before the other one's commit and compared behind it has another password by then.
        let won = one_won(&answers, &[OVER, "403 forbidden wrong_password"]);
        assert_eq!(me(&two.here, &sessions[won].access).await, "200", "round {round}");
        assert_eq!(me(&two.here, &sessions[1 - won].access).await, OVER, "round {round}");
        let login = json!({ "email": account.email, "password": NEXT[won], "client": "native" });
        assert_eq!(post(&two.there, None, "/auth/login", login).await.status, 200, "round {round}");
    }
    two.end().await;
}

/// security 8
#[tokio::test(flavor = "multi_thread")]
async fn of_two_sessions_that_add_a_first_factor_one_does_and_stays() {
    let two = Two::start().await;
    for round in 0..4 {
        let account = Account::new(&two.here).await;
        let sessions = [account.sign_in(&two.here).await, account.sign_in(&two.there).await];
        let mut bodies = Vec::new();
        for (number, session) in sessions.iter().enumerate() {
            let offer = post(two.of(number), Some(&session.access), "/auth/factors/totp", json!({})).await;
            let code = App::new(&text(&offer, "/secret")).code().await;
            bodies.push(json!({ "challenge": text(&offer, "/challenge"), "code": code }));
        }
        let adding = bodies
            .into_iter()
            .enumerate()
            .map(|(number, body)| post(two.of(number), Some(&sessions[number].access), "/auth/factors", body));
        let answers = join_all(adding).await;
        // The loser is told what it comes upon first: that its session is over, or that there is a factor to be shown now.
        let won = one_won(&answers, &[OVER, "403 forbidden step_up_required"]);
        assert_eq!(me(&two.there, &sessions[1 - won].access).await, OVER, "round {round}");
        let factors = decided(&two.there, Some(&sessions[won].access), Ask::get("/auth/factors")).await;
        let ids = part(&factors, "/factors");
        assert_eq!(ids.as_array().map(Vec::len), Some(1), "round {round}: {factors}");
        // The codes that were shown are those that are good.
        let codes = texts(&answers[won], "/recoveryCodes");
        let challenge = account.begin(&two.there).await;
        assert!(second_factor(&two.there, &challenge, "recovery", &codes[0]).await.is_success(), "round {round}");
    }
    two.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_code_is_good_once_at_whichever_process() {
    let two = Two::start().await;
    let account = Account::new(&two.here).await;
    let (_, _, codes) = add_app(&two.here, &account.sign_in(&two.here).await.access).await;
    let mut challenges = Vec::new();
    for number in 0..CROWD {
        challenges.push(account.begin(two.of(number)).await);
    }
    let using = challenges
        .iter()
        .enumerate()
        // Whatever was begun at one is ended at the other.
        .map(|(number, challenge)| second_factor(two.of(number + 1), challenge, "recovery", &codes[0]));
    one_won(&join_all(using).await, &["401 unauthorized"]);
    two.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_are_made_the_first_owner_at_once_one_is() {
    let stack = servers::start(&[Part::RelayAuth, Part::RelayCore, Part::Auth]).await;
    let visitor = Visitor::of(&stack);
    let people = [Account::new(&visitor).await, Account::new(&visitor).await];
    let variables = stack.variables().unwrap_or_else(|failure| panic!("{failure}"));
    let making = people
        .iter()
        .map(async |account| kisum_with(&["staff", "bootstrap", "--email", &account.email], &variables).await);
    let ended = join_all(making).await;
    let mut codes: Vec<_> = ended.iter().map(|(code, _)| *code).collect();
    codes.sort_unstable();
    assert_eq!(codes, [0, 1], "{ended:?}");
    stack.stop().await;
}
