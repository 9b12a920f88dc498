//! `GET /auth/me`: who the caller is.

use super::{
    Auth,
    person::Person,
    signed_in::{self, UserView},
};
use crate::shared::{
    problem::Problem,
    respond::{Success, SuccessBody},
};
use axum::extract::State;

/// Says who the caller is.
#[utoipa::path(get, path = "/auth/me", tag = "me", security(("bearer" = [])),
    responses((status = 200, description = "The person.", body = SuccessBody<UserView>)))]
pub(super) async fn me(State(auth): State<Auth>, person: Person) -> Result<Success<UserView>, Problem> {
    let user = signed_in::load_user(&auth, person.user).await?;
    Ok(Success(UserView::new(person.user, &user.state)))
}
