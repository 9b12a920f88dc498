//! The access matrix: what every role of every company of the demo may do, through HTTP, through Basic and Finance.

use kisum_tests::demo::{self, Backend, texts, words};
use reqwest::Method;
use std::fmt::Write;

const COMPANIES: [&str; 5] = ["acme-live", "bright-books", "core-club", "dormant", "echo-venues"];
const ROLES: [&str; 4] = ["superadmin", "admin", "manager", "user"];

#[tokio::test(flavor = "multi_thread")]
async fn every_role_of_every_company_may_do_what_the_contract_says() {
    let demo = demo::shared().await;
    let mut table = String::new();
    let mut people: Vec<(String, &str)> = COMPANIES
        .iter()
        .flat_map(|company| ROLES.map(|role| (format!("{role}@{company}.example"), *company)))
        .collect();
    people.extend(COMPANIES.map(|company| ("agent@agency.example".to_owned(), company)));
    for (email, company) in people {
        let person = demo.sign_in(&email).await;
        let access = demo.access(&person.access, company).await;
        let flag = |pointer: &str| access.body.pointer(&format!("/data{pointer}")).cloned().unwrap_or_default();
        writeln!(table, "{email} in {company}: {}", words(&access)).ok();
        if access.is_success() {
            writeln!(table, "  {} core app {}", flag("/tenantRole"), flag("/coreAppVisible")).ok();
            writeln!(table, "  modules     {}", texts(&access, "/modules").join(" ")).ok();
            writeln!(table, "  permissions {}", texts(&access, "/permissions").join(" ")).ok();
            writeln!(
                table,
                "  may manage users {} buy add-ons {}",
                flag("/delegation/canManageUsers"),
                flag("/delegation/canBuyAddons")
            )
            .ok();
        }
        for (backend, name) in [(Backend::Basic, "basic events"), (Backend::Finance, "finance bills")] {
            let read = demo.business(backend, Method::GET, &person.access, company).await;
            let create = demo.business(backend, Method::POST, &person.access, company).await;
            writeln!(table, "  {name:<13} read {:<34} create {}", words(&read), words(&create)).ok();
        }
    }
    insta::assert_snapshot!("access_matrix", table);
}
