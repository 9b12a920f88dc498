//! What a listener says of itself in `/openapi.json` and `/docs`.

use super::{Everywhere, Sender, header, json, operations};
use crate::conventions::table::LISTENERS;
use serde_json::Value;
use std::collections::BTreeSet;

/// Every member named `key`, wherever it stands.
fn all<'a>(document: &'a Value, key: &str) -> Vec<&'a Value> {
    match document {
        Value::Object(members) => {
            members.get(key).into_iter().chain(members.values().flat_map(|member| all(member, key))).collect()
        }
        Value::Array(items) => items.iter().flat_map(|item| all(item, key)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

fn is_camel_case(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The parameters of an operation that stand in one place, such as its path.
fn parameters<'a>(operation: &'a Value, place: &str) -> BTreeSet<&'a str> {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    parameters.filter(|it| it["in"] == place).filter_map(|it| it["name"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_says_what_it_does_what_it_takes_and_that_it_may_answer_a_problem() {
    let everywhere = Everywhere::start().await;
    for listener in &LISTENERS {
        let document = everywhere.document(listener).await;
        assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.")), "{}", listener.url);
        for ((path, method), operation) in operations(&document) {
            let what = format!("{} {method} {path}", listener.url);
            assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{what} says nothing");
            let problem = &operation["responses"]["default"]["content"]["application/problem+json"];
            assert_eq!(problem["schema"]["$ref"], "#/components/schemas/Problem", "{what}");
            let in_path: BTreeSet<_> =
                path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
            assert_eq!(parameters(operation, "path"), in_path, "{what}");
            let answers = operation["responses"].as_object().into_iter().flatten();
            let successes: Vec<_> = answers.map(|(status, _)| status.as_str()).filter(|it| *it != "default").collect();
            let expected: &[&str] = match method.as_str() {
                "DELETE" => &["204"],
                "PUT" | "GET" | "PATCH" => &["200"],
                _ => &["200", "201", "202", "204"],
            };
            assert!(!successes.is_empty() && successes.iter().all(|it| expected.contains(it)), "{what}: {successes:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_names_the_token_it_wants_and_every_token_is_described() {
    let everywhere = Everywhere::start().await;
    for listener in &LISTENERS {
        let document = everywhere.document(listener).await;
        let documented = operations(&document);
        for (sender, method, path) in listener.operations() {
            let wanted = match sender {
                Sender::Anybody | Sender::RefreshToken => Vec::new(),
                Sender::Person | Sender::Either => vec!["bearer"],
                Sender::Service => vec!["serviceToken"],
            };
            let operation = documented[&(path.to_owned(), method.to_owned())];
            let schemes = operation["security"].as_array().into_iter().flatten().filter_map(Value::as_object);
            let named: Vec<_> = schemes.flat_map(|scheme| scheme.keys()).collect();
            assert_eq!(named, wanted, "{} {method} {path}", listener.url);
            for scheme in named {
                let described = &document["components"]["securitySchemes"][scheme];
                assert!(described.is_object(), "{} describes no {scheme}", listener.url);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_camel_case_and_whatever_is_referred_to_is_there() {
    let everywhere = Everywhere::start().await;
    for listener in &LISTENERS {
        let document = everywhere.document(listener).await;
        for properties in all(&document, "properties") {
            for (name, _) in properties.as_object().into_iter().flatten() {
                assert!(is_camel_case(name), "{}: the member {name}", listener.url);
            }
        }
        for ((path, method), operation) in operations(&document) {
            for name in parameters(operation, "query").union(&parameters(operation, "path")) {
                assert!(is_camel_case(name), "{method} {path}: the parameter {name}");
            }
        }
        for reference in all(&document, "$ref").into_iter().filter_map(Value::as_str) {
            let target = document.pointer(reference.trim_start_matches('#'));
            assert!(target.is_some(), "{}: {reference} leads nowhere", listener.url);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_needs_a_company_says_so_and_nothing_but_x_org_selects_one() {
    let everywhere = Everywhere::start().await;
    for listener in &LISTENERS {
        let document = everywhere.document(listener).await;
        for ((path, method), operation) in operations(&document) {
            let about_one = ["/auth/me/access", "/internal/v1/access/explain"];
            let needs_it = path.starts_with("/companies/") || path.starts_with("/api/") || about_one.contains(&&*path);
            let what = format!("{} {method} {path}", listener.url);
            assert_eq!(parameters(operation, "header").contains("x-org"), needs_it, "{what}");
            let selectors = ["org", "xOrg", "company", "companyId", "tenant"];
            assert!(parameters(operation, "query").iter().all(|name| !selectors.contains(name)), "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_paged_by_limit_and_cursor() {
    let everywhere = Everywhere::start().await;
    let mut lists = 0;
    for listener in &LISTENERS {
        let document = everywhere.document(listener).await;
        let schemas = &document["components"]["schemas"];
        for ((path, method), operation) in operations(&document).into_iter().filter(|((_, method), _)| method == "GET")
        {
            let mut answer = operation["responses"]["200"].to_string();
            for (name, schema) in schemas.as_object().into_iter().flatten() {
                if answer.contains(&format!("/schemas/{name}\"")) {
                    answer.push_str(&schema.to_string());
                }
            }
            if answer.contains("\"nextCursor\"") {
                let query = parameters(operation, "query");
                assert!(query.contains("limit") && query.contains("cursor"), "{method} {path}: {query:?}");
                lists += 1;
            }
        }
    }
    assert!(lists >= 5, "only {lists} lists were found");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_documents_lists_every_operation_and_runs_no_script() {
    let everywhere = Everywhere::start().await;
    for listener in &LISTENERS {
        let answer = everywhere.get(listener, "/docs").await;
        assert_eq!(answer.status().as_u16(), 200, "{}", listener.url);
        assert!(header(&answer, "content-type").starts_with("text/html"), "{}", listener.url);
        let policy = header(&answer, "content-security-policy").to_owned();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe-inline"), "{policy}");
        let page = answer.text().await.unwrap_or_else(|error| panic!("{error}"));
        for (_, method, path) in listener.operations() {
            assert!(page.contains(path) && page.contains(method), "{}: {method} {path}", listener.url);
        }
        assert!(!page.contains("<script"), "{}", listener.url);
        let document = everywhere.get(listener, "/openapi.json").await;
        assert_eq!(header(&document, "content-type"), "application/json", "{}", listener.url);
        assert!(json(document).await["info"]["title"].is_string());
    }
}
