//! A service as a process: its listeners, what stands on them, and its end.
//!
//! It owns the composition of layers, operations and routes. It refuses to know what the routes do.

use super::{
    caller::{CallerCheck, require_caller},
    config::ConfigError,
    database::TooManyConnections,
    docs_page,
    edge::{Edge, Limits},
    health::{self, Readiness},
    listener, openapi,
    problem::Chain,
    service_config::ServiceConfig,
    telemetry,
};
use axum::{Router, middleware::from_fn_with_state};
use std::{error::Error, net::SocketAddr};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

/// Why a service does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The environment is not usable: exit code 78.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It is configured for more connections than the database grants: exit code 78.
    #[error(transparent)]
    Connections(#[from] TooManyConnections),
    /// A listener's address cannot be bound.
    #[error("the address {address} cannot be listened on")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Something without which the service cannot start does not answer: exit code 3.
    #[error("{name} is not usable")]
    Dependency {
        /// Its name or variable, never an address with credentials.
        name: &'static str,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// It found something that somebody has to look at before it may go on: exit code 1.
    #[error("{name} has halted")]
    Halted {
        /// What halted.
        name: &'static str,
        /// What it found, and what to do.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl ServeError {
    /// Wraps what a dependency said while the service started.
    pub fn dependency(name: &'static str) -> impl Fn(Box<dyn Error + Send + Sync>) -> Self {
        move |source| Self::Dependency { name, source }
    }

    /// The exit code of the process (contract, *Environment* and *CLI*).
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Connections(_) => ConfigError::EXIT_CODE,
            Self::Bind { .. } | Self::Halted { .. } => 1,
            Self::Dependency { .. } => 3,
        }
    }
}

/// A service put together, not listening yet.
pub struct Server {
    public: Option<(SocketAddr, OpenApiRouter)>,
    internal: (SocketAddr, OpenApiRouter),
    service: String,
    edge: Edge,
    readiness: Readiness,
    check: Option<CallerCheck>,
}

/// One listener's routes with all layers, and their document.
pub struct Surface {
    /// What answers.
    pub router: Router,
    /// What it says of itself.
    pub document: OpenApi,
}

impl Server {
    /// A service with health, readiness, metrics and documents, and no routes of its own.
    pub fn new(config: &ServiceConfig, readiness: Readiness) -> Self {
        Self {
            public: config.listen.map(|address| (address, OpenApiRouter::new())),
            internal: (config.ops_listen, OpenApiRouter::new()),
            service: config.service.clone(),
            edge: Edge {
                limits: Limits::default(),
                cors_origins: config.cors_origins.clone(),
                trusted_proxies: config.trusted_proxies.clone(),
            },
            readiness,
            check: None,
        }
    }

    /// Puts routes on the public listener.
    #[must_use]
    pub fn public(mut self, routes: OpenApiRouter) -> Self {
        self.public = self.public.map(|(address, present)| (address, present.merge(routes)));
        self
    }

    /// Puts routes on the internal listener, behind the check of the caller's service token.
    #[must_use]
    pub fn internal(mut self, check: CallerCheck, routes: OpenApiRouter) -> Self {
        self.internal.1 = self.internal.1.merge(routes);
        self.check = Some(check);
        self
    }

    /// Other limits than the usual ones.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.edge.limits = limits;
        self
    }

    /// The public listener's routes, where there is one.
    pub fn public_surface(&self) -> Option<Surface> {
        let (_, routes) = self.public.as_ref()?;
        let (routes, document) = routes.clone().split_for_parts();
        Some(self.surface(routes, document, &self.edge))
    }

    /// The internal listener's routes.
    pub fn internal_surface(&self) -> Surface {
        let (routes, document) = self.internal.1.clone().split_for_parts();
        // A layer on no route would panic, so a service without internal routes gets none.
        let routes = match &self.check {
            Some(check) if routes.has_routes() => routes.route_layer(from_fn_with_state(check.clone(), require_caller)),
            _ => routes,
        };
        // Pages have no business on the internal listener.
        let edge = Edge { cors_origins: Vec::new(), ..self.edge.clone() };
        self.surface(routes.merge(health::metrics_route()), document, &edge)
    }

    fn surface(&self, routes: Router, document: OpenApi, edge: &Edge) -> Surface {
        let (probes, probes_document) = health::probes(self.readiness.clone()).split_for_parts();
        let document = openapi::complete(document.merge_from(probes_document), &self.service);
        let routes = routes.merge(probes).merge(openapi::route(&document)).merge(docs_page::route(&document));
        Surface { router: edge.around(routes), document }
    }

    /// Listens and serves until `shutdown` becomes true, then lets what is in work finish.
    ///
    /// # Errors
    /// [`ServeError::Bind`] when an address is taken.
    pub async fn run(self, shutdown: watch::Receiver<bool>) -> Result<(), ServeError> {
        let internal = bind(self.internal.0).await?;
        let public = match &self.public {
            Some((address, _)) => Some(bind(*address).await?),
            None => None,
        };
        telemetry::spawn_upkeep();
        let internal_done = listener::accept(internal, self.internal_surface().router, shutdown.clone());
        let public_done = async {
            if let (Some(listener), Some(surface)) = (public, self.public_surface()) {
                listener::accept(listener, surface.router, shutdown.clone()).await;
            }
        };
        tracing::info!(event = "service.started", service = self.service, "listening");
        tokio::join!(internal_done, public_done);
        tracing::info!(event = "service.stopped", service = self.service, "every request in work was answered");
        Ok(())
    }
}

/// The projections end with the shutdown that ends a service; whatever they have not committed they fold again. One that
/// never served has nobody who will say shutdown: dropping its projections ends them.
///
/// # Errors
/// What serving came to.
pub async fn after_projections(served: Result<(), ServeError>, mut tasks: JoinSet<()>) -> Result<(), ServeError> {
    served?;
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(error = %Chain(&error), "a projection ended out of turn");
        }
    }
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Bind { address, source })
}

#[cfg(test)]
pub(crate) mod tests;
