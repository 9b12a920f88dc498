//! Basic: what every company of the Core App has.
//!
//! It owns the company's events. It refuses to know other modules' data.

mod events;

use super::{Backend, config::BackendShape};
use crate::shared::{env::Env, server::ServeError};
use tokio::sync::watch;
use utoipa_axum::{router::OpenApiRouter, routes};

pub use permissions::PERMISSIONS;

mod permissions {
    //! What Basic's routes ask for.

    kisum_guard::permissions! {
        /// Lists events.
        pub(in crate::business) ReadEvents = "basic.events.read";
        /// Creates events.
        pub(in crate::business) CreateEvents = "basic.events.create";
    }
}

const SHAPE: BackendShape = BackendShape { name: "basic", db_variable: "BASIC_DB_URL" };

/// Runs Basic until `shutdown` becomes true.
///
/// # Errors
/// [`ServeError`] when the environment is unusable, an address is taken, or the database does not answer at start.
pub async fn run(env: Env, shutdown: watch::Receiver<bool>) -> Result<(), ServeError> {
    super::run(env, SHAPE, routes, shutdown).await
}

/// Basic's routes.
pub(super) fn routes(backend: Backend) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(events::list_events, events::create_event)).with_state(backend)
}
