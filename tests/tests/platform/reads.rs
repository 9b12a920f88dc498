//! Reads that are gathered into one statement: nobody is handed somebody else's answer, and what goes wrong in one read
//! is the misfortune of those who were in it.

use futures_util::future::join_all;
use kisum_log::{Group, LoadError, Reads};
use kisum_tests::servers;
use sqlx::{PgConnection, postgres::PgConnectOptions};
use std::{collections::BTreeSet, time::Duration};

const PATIENCE: Duration = Duration::from_secs(60);
/// Questions at the same moment.
const CROWD: u64 = 40;

/// What a read makes of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is answered with itself.
    Plain,
    /// Its row comes twice, as of a join on what is not unique.
    Doubled,
    /// It is not found.
    Missing,
    /// Reading it panics.
    Panics,
}

struct Numbers;

impl Group for Numbers {
    type Question = (u64, Fate);
    type Answer = u64;

    async fn read(&self, conn: &mut PgConnection, questions: &[&(u64, Fate)]) -> Result<Vec<u64>, LoadError> {
        // What is asked meanwhile gathers.
        sqlx::query("select pg_sleep(0.005)").execute(conn).await?;
        assert!(!questions.iter().any(|(_, fate)| *fate == Fate::Panics), "this read was to panic");
        let answers = questions.iter().flat_map(|(number, fate)| {
            let times = match fate {
                Fate::Plain | Fate::Panics => 1,
                Fate::Doubled => 2,
                Fate::Missing => 0,
            };
            std::iter::repeat_n(*number, times)
        });
        Ok(answers.collect())
    }
}

async fn reads() -> Reads<Numbers> {
    let database = servers::fresh_log(servers::shared().await).await;
    let options: PgConnectOptions = database.run_url.parse().unwrap_or_else(|error| panic!("{error}"));
    Reads::start(Numbers, &options, "numbers")
}

async fn crowd(reads: &Reads<Numbers>, odd: Fate) -> Vec<(u64, Fate, Result<u64, LoadError>)> {
    let asking = (0..CROWD).map(|number| async move {
        let fate = if number % 8 == 3 { odd } else { Fate::Plain };
        (number, fate, reads.ask((number, fate)).await)
    });
    let asked = tokio::time::timeout(PATIENCE, join_all(asking)).await;
    asked.unwrap_or_else(|_| panic!("somebody waits for ever"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_too_many_or_too_few_costs_who_asked_for_it_an_error_and_gives_nobody_another_s_answer() {
    let reads = reads().await;
    for odd in [Fate::Doubled, Fate::Missing] {
        for (number, fate, answer) in crowd(&reads, odd).await {
            match (fate, answer) {
                (Fate::Plain, Ok(answer)) => assert_eq!(answer, number, "somebody else's"),
                (Fate::Doubled | Fate::Missing, Err(LoadError::Stored { .. })) => {}
                (_, answer) => panic!("{number}, {fate:?}: {answer:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_panics_is_told_to_who_was_in_it_and_the_next_is_answered() {
    let reads = reads().await;
    // More than there are lanes: each would have ended one.
    for _ in 0..4 {
        for (number, fate, answer) in crowd(&reads, Fate::Panics).await {
            match (fate, answer) {
                (Fate::Plain, Ok(answer)) => assert_eq!(answer, number),
                // Whoever shared its statement shares its fate, and may ask again.
                (_, Err(LoadError::Unavailable(_))) => {}
                (_, answer) => panic!("{number}, {fate:?}: {answer:?}"),
            }
        }
        let answers = crowd(&reads, Fate::Plain).await;
        let found: BTreeSet<_> = answers.into_iter().filter_map(|(_, _, answer)| answer.ok()).collect();
        assert_eq!(found.len() as u64, CROWD);
    }
}
