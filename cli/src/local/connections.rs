//! How many connections the services of a stack make to its one PostgreSQL server, and whether it has them.
//!
//! A service checks its own need when it starts. That all of them fit at once only somebody can see who knows them all:
//! here, the stack; in production, the operator, by the same sum (`docs/api/operator.md`).

use super::{Failure, Part, postgres};
use kisum_api::shared::database::Connections;
use sqlx::{ConnectOptions as _, Connection as _, postgres::PgConnectOptions};

/// Kept for people with `psql` and `kisum log`, for migrations, and for whoever measures.
pub const FOR_OPERATORS: u32 = 20;
/// The smallest pool with which a service is of use.
const POOL_MIN: u32 = 4;

/// The pool that a service gets when there is room.
const fn wanted(part: Part) -> u32 {
    match part {
        Part::Postgres | Part::Nats | Part::Redis => 0,
        Part::RelayAuth | Part::RelayCore => 8,
        Part::Core | Part::Basic | Part::Finance => 16,
        Part::Auth => 32,
    }
}

/// The connections that a service makes with a pool of that size.
pub const fn of(part: Part, pool: u32) -> Connections {
    match part {
        Part::Postgres | Part::Nats | Part::Redis => Connections::pool(0),
        Part::Auth => kisum_api::auth::connections(pool),
        Part::Core => kisum_api::core::connections(pool),
        Part::RelayAuth | Part::RelayCore | Part::Basic | Part::Finance => Connections::pool(pool),
    }
}

/// `DB_POOL_MAX` of a service on the private server.
pub fn pool(part: Part) -> u32 {
    pool_within(part, postgres::CONNECTIONS_MAX)
}

/// The same on a server of that size: all pools shrink alike until everything fits.
fn pool_within(part: Part, connections_max: u32) -> u32 {
    let beside: u32 = Part::SERVICES.iter().map(|service| of(*service, 0).total()).sum();
    let pools: u32 = Part::SERVICES.iter().map(|service| wanted(*service)).sum();
    let room = connections_max.saturating_sub(FOR_OPERATORS).saturating_sub(beside);
    let shrunk = wanted(part).saturating_mul(room.min(pools)).checked_div(pools).unwrap_or(0);
    shrunk.max(POOL_MIN.min(wanted(part)))
}

/// Whether the server has all of these at once.
///
/// # Errors
/// One line with every number, when it has not, or when it cannot be asked.
pub async fn fit(superuser: &PgConnectOptions, needs: &[(Part, Connections)]) -> Result<(), Failure> {
    let asked = async {
        let mut connection = superuser.connect().await?;
        let granted: (i64, i64) = sqlx::query_as(
            "select current_setting('max_connections')::bigint,
                    current_setting('superuser_reserved_connections')::bigint
                      + coalesce(current_setting('reserved_connections', true)::bigint, 0)",
        )
        .fetch_one(&mut connection)
        .await?;
        connection.close().await.map(|()| granted)
    };
    let asked: Result<(i64, i64), sqlx::Error> = asked.await;
    let (server, reserved) = asked.map_err(|error| {
        Failure::new(format!("PostgreSQL, asking for its limits: {error}"), "see .kisum/log/postgres.log")
    })?;
    check(server, reserved, needs)
}

fn check(server: i64, reserved: i64, needs: &[(Part, Connections)]) -> Result<(), Failure> {
    let total: u32 = needs.iter().map(|(_, need)| need.total()).sum();
    let room = server.saturating_sub(reserved);
    if i64::from(total) <= room {
        return Ok(());
    }
    let each: Vec<String> = needs.iter().map(|(part, need)| format!("{part} {}", need.total())).collect();
    Err(Failure::new(
        format!(
            "all services together make up to {total} connections ({}), and the server has {room} (max_connections \
             {server}, reserved {reserved})",
            each.join(", ")
        ),
        "lower their DB_POOL_MAX or raise max_connections",
    ))
}

#[cfg(test)]
mod tests {
    use super::{FOR_OPERATORS, POOL_MIN, Part, check, of, pool, pool_within, wanted};

    fn sum(connections_max: u32) -> u32 {
        Part::SERVICES.iter().map(|part| of(*part, pool_within(*part, connections_max)).total()).sum()
    }

    #[test]
    fn on_the_private_server_everybody_gets_the_wanted_pool() {
        for part in Part::SERVICES {
            assert_eq!(pool(part), wanted(part), "{part}");
        }
    }

    #[test]
    fn pools_shrink_until_everything_fits() {
        for connections_max in [90, 100, 120, 200, 1000] {
            let sum = sum(connections_max);
            assert!(sum + FOR_OPERATORS <= connections_max, "{sum} of {connections_max}");
        }
        assert!(Part::SERVICES.iter().all(|part| pool_within(*part, 0) == POOL_MIN), "none is left without");
    }

    #[test]
    fn a_sum_that_does_not_fit_is_said_service_by_service() {
        let needs = [(Part::RelayAuth, of(Part::RelayAuth, 8)), (Part::Basic, of(Part::Basic, 16))];
        assert!(check(27, 3, &needs).is_ok());
        let refused = check(26, 3, &needs).map_err(|failure| failure.to_string());
        assert_eq!(
            refused,
            Err("all services together make up to 24 connections (relay-auth 8, basic 16), and the server has 23 \
                 (max_connections 26, reserved 3); lower their DB_POOL_MAX or raise max_connections"
                .to_owned())
        );
    }
}
