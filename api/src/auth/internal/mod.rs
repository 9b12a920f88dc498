//! Auth's internal routes: for guards, and for the platform's own administration.
//!
//! It owns their shapes. Who may call which is the trust file's business, checked in front of all of them.

mod access_context;
mod companies;
mod explain;
mod heads;
mod invitations;
mod log_page;
mod members;
mod people;
mod policy;
mod revocations;
mod roles;
mod session_end;
mod staff;
mod users;

use super::Auth;
use utoipa_axum::{router::OpenApiRouter, routes};

/// The internal routes.
pub(super) fn routes() -> OpenApiRouter<Auth> {
    OpenApiRouter::new()
        .routes(routes!(access_context::access_context))
        .routes(routes!(explain::explain))
        .routes(routes!(heads::heads))
        .routes(routes!(log_page::page))
        .routes(routes!(revocations::revocations))
        .routes(routes!(users::register))
        .routes(routes!(users::by_email))
        .routes(routes!(companies::register))
        .routes(routes!(companies::by_slug))
        .routes(routes!(companies::approve))
        .routes(routes!(companies::reject))
        .routes(routes!(companies::suspend))
        .routes(routes!(companies::reactivate))
        .routes(routes!(policy::show, policy::set))
        .routes(routes!(members::add_member))
        .routes(routes!(members::grant_module, members::revoke_module))
        .routes(routes!(members::grant_permission, members::revoke_permission))
        .routes(routes!(invitations::send))
        .routes(routes!(invitations::send_again))
        .routes(routes!(invitations::take_back))
        .routes(routes!(roles::list, roles::create))
        .routes(routes!(roles::change, roles::delete))
        .routes(routes!(roles::assign, roles::unassign))
        .routes(routes!(session_end::end))
        .routes(routes!(people::suspend))
        .routes(routes!(people::reactivate))
        .routes(routes!(people::sessions))
        .routes(routes!(people::end_one))
        .routes(routes!(people::erasure))
        .routes(routes!(people::erase))
        .routes(routes!(staff::context))
        .routes(routes!(staff::show))
        .routes(routes!(staff::grant, staff::revoke))
        .routes(routes!(staff::bootstrap))
}
