//! Finance: what a company pays and is paid.
//!
//! It owns the company's bills. It refuses to know other modules' data.

mod bills;

use super::{Backend, config::BackendShape};
use crate::shared::{env::Env, server::ServeError};
use tokio::sync::watch;
use utoipa_axum::{router::OpenApiRouter, routes};

pub use permissions::PERMISSIONS;

mod permissions {
    //! What Finance's routes ask for.

    kisum_guard::permissions! {
        /// Lists bills.
        pub(in crate::business) ReadBills = "finance.bills.read";
        /// Creates bills.
        pub(in crate::business) CreateBills = "finance.bills.create";
    }
}

const SHAPE: BackendShape = BackendShape { name: "finance", db_variable: "FINANCE_DB_URL" };

/// Runs Finance until `shutdown` becomes true.
///
/// # Errors
/// [`ServeError`] when the environment is unusable, an address is taken, or the database does not answer at start.
pub async fn run(env: Env, shutdown: watch::Receiver<bool>) -> Result<(), ServeError> {
    super::run(env, SHAPE, routes, shutdown).await
}

/// Finance's routes.
pub(super) fn routes(backend: Backend) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(bills::list_bills, bills::create_bill)).with_state(backend)
}
