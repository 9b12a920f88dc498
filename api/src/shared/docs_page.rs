//! `/docs`: a listener's operations on one page, for a person.
//!
//! It owns a page without scripts or foreign files, rendered once at start, so that the strictest content policy
//! holds. It refuses to know more than `openapi.json` says.

use super::openapi;
use axum::{Router, response::Html, routing::get};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::header;
use std::{fmt::Write as _, sync::Arc};
use utoipa::openapi::OpenApi;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}\
h1{font-size:1.5rem}table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.4rem .6rem;\
border-bottom:1px solid #d9dee4;vertical-align:top}code{font:14px/1.4 ui-monospace,monospace}\
.method{font-weight:600}p{color:#57606a}";

/// `/docs` of a listener.
pub fn route(document: &OpenApi) -> Router {
    let page: Arc<str> = render(document).into();
    let policy: Arc<str> =
        format!("default-src 'none'; style-src 'sha256-{}'; frame-ancestors 'none'", hash(STYLE)).into();
    let answer = move || {
        let (page, policy) = (Arc::clone(&page), Arc::clone(&policy));
        async move { ([(header::CONTENT_SECURITY_POLICY, policy.to_string())], Html(page.to_string())) }
    };
    Router::new().route("/docs", get(answer))
}

fn hash(text: &str) -> String {
    STANDARD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()))
}

fn render(document: &OpenApi) -> String {
    let title = escape(&document.info.title);
    let mut rows = String::new();
    for (path, item) in &document.paths.paths {
        for (method, operation) in openapi::operations(item) {
            let summary = operation.summary.as_deref().unwrap_or_default();
            // Writing to a String does not fail.
            let _ = write!(
                rows,
                "<tr><td class=\"method\">{method}</td><td><code>{}</code></td><td>{}</td></tr>",
                escape(path),
                escape(summary)
            );
        }
    }
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style>\
         </head><body><h1>{title}</h1><p>Version {}. The whole contract, for programs: <a href=\"/openapi.json\">\
         openapi.json</a>.</p><table><thead><tr><th>Method</th><th>Path</th><th>What it does</th></tr></thead><tbody>\
         {rows}</tbody></table></body></html>",
        escape(&document.info.version)
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
