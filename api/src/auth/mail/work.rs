//! Which events want a mail, and the rows that say so until it is sent.

use kisum_events::{
    AnyEvent, DecodeError, Envelope, EventId, InvitationEvent, PasswordCause, SecretId, SecretPurpose, Timestamp,
    UserEvent, UserId,
};
use sqlx::{PgConnection, PgPool};
use std::time::Duration;

/// How long somebody wants to hear of what happened to their account.
const NOTICE_WANTED: Duration = Duration::from_secs(3 * 24 * 3600);

/// What a mail says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Here is the secret that was asked for.
    Secret(SecretPurpose),
    /// Somebody tried to register with the address.
    RegistrationAttempted,
    /// The password is another.
    PasswordSet,
    /// There is another second factor.
    FactorAdded,
    /// There is one second factor less.
    FactorRemoved,
    /// There are other recovery codes.
    RecoveryCodesIssued,
    /// One of them was used.
    RecoveryCodeUsed,
    /// A company wants them as a member.
    Invitation,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Secret(SecretPurpose::EmailVerification),
        Self::Secret(SecretPurpose::PasswordReset),
        Self::RegistrationAttempted,
        Self::PasswordSet,
        Self::FactorAdded,
        Self::FactorRemoved,
        Self::RecoveryCodesIssued,
        Self::RecoveryCodeUsed,
        Self::Invitation,
    ];

    /// Its name, in rows and metrics.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Secret(purpose) => purpose.name(),
            Self::RegistrationAttempted => "registration_attempted",
            Self::PasswordSet => "password_set",
            Self::FactorAdded => "factor_added",
            Self::FactorRemoved => "factor_removed",
            Self::RecoveryCodesIssued => "recovery_codes_issued",
            Self::RecoveryCodeUsed => "recovery_code_used",
            Self::Invitation => "invitation",
        }
    }

    /// Where it waits until it was tried.
    const fn lane(self) -> Lane {
        match self {
            Self::Secret(SecretPurpose::EmailVerification) | Self::RegistrationAttempted => Lane::Strangers,
            Self::Secret(SecretPurpose::PasswordReset)
            | Self::PasswordSet
            | Self::FactorAdded
            | Self::FactorRemoved
            | Self::RecoveryCodesIssued
            | Self::RecoveryCodeUsed
            // Not anybody's asking: companies that were approved send them, so many in an hour.
            | Self::Invitation => Lane::First,
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Which mails go before which. A row's number follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Somebody with an account waits for it, and it was not tried yet.
    First,
    /// Anybody can have it sent to any address, and it was not tried yet.
    Strangers,
    /// As `First`, after an attempt.
    FirstAgain,
    /// As `Strangers`, after an attempt.
    StrangersAgain,
}

impl Lane {
    const fn number(self) -> i16 {
        match self {
            Self::First => 0,
            Self::Strangers => 1,
            Self::FirstAgain => 2,
            Self::StrangersAgain => 3,
        }
    }
}

/// What stands between a lane's number and that of the same mails after an attempt.
const AGAIN: i16 = 2;

/// Mails waiting that anybody can have sent to any address; whoever asks for one more asks again later.
const STRANGERS_MAX: i64 = 5_000;

/// A mail that an event wants.
struct Wanted {
    kind: Kind,
    secret: Option<SecretId>,
    /// Nobody wants it from then on.
    until: Timestamp,
}

/// What an event wants to be sent to its person. Every kind of event is placed here on purpose.
fn wanted(event: &UserEvent, recorded_at: Timestamp) -> Option<Wanted> {
    let notice = |kind| Some(Wanted { kind, secret: None, until: recorded_at.plus(NOTICE_WANTED) });
    match event {
        UserEvent::SecretIssued { id, purpose, hash: _, expires_at } => {
            Some(Wanted { kind: Kind::Secret(*purpose), secret: Some(*id), until: *expires_at })
        }
        UserEvent::RegistrationAttempted => notice(Kind::RegistrationAttempted),
        UserEvent::PasswordSet { cause: PasswordCause::Changed | PasswordCause::Reset, .. } => {
            notice(Kind::PasswordSet)
        }
        UserEvent::FactorAdded { .. } => notice(Kind::FactorAdded),
        UserEvent::FactorRemoved { .. } => notice(Kind::FactorRemoved),
        UserEvent::RecoveryCodesIssued { .. } => notice(Kind::RecoveryCodesIssued),
        UserEvent::RecoveryCodeUsed { .. } => notice(Kind::RecoveryCodeUsed),
        UserEvent::PasswordSet { cause: PasswordCause::Initial | PasswordCause::Upgraded, .. }
        | UserEvent::Registered { .. }
        | UserEvent::EmailVerified
        | UserEvent::Suspended
        | UserEvent::Reactivated
        | UserEvent::SessionsEnded
        | UserEvent::SecretUsed { .. }
        | UserEvent::FactorUsed { .. }
        | UserEvent::CompanyRequested { .. }
        | UserEvent::Erased => None,
    }
}

/// What an event wants to be sent to whoever is invited.
fn wanted_of_invitation(event: &InvitationEvent) -> Option<Wanted> {
    match event {
        InvitationEvent::Sent { secret_id, expires_at, .. } | InvitationEvent::Resent { secret_id, expires_at, .. } => {
            Some(Wanted { kind: Kind::Invitation, secret: Some(*secret_id), until: *expires_at })
        }
        InvitationEvent::Withdrawn | InvitationEvent::Accepted { .. } | InvitationEvent::Expired => None,
    }
}

/// Why events were not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum TakeError {
    /// An event that this program cannot read may want a mail: one that can must take it.
    #[error("an event cannot be read")]
    Unreadable(#[from] DecodeError),
    /// The database is not there.
    #[error("the database is unavailable")]
    Database(#[from] sqlx::Error),
}

/// Notes what events want, and that they were read, in one transaction. Answers whether there is new work. What strangers
/// want beyond what may wait is dropped.
///
/// # Errors
/// [`TakeError`]; then nothing of it is noted.
pub(super) async fn take(pool: &PgPool, events: &[Envelope], now: Timestamp) -> Result<bool, TakeError> {
    let Some(last) = events.last() else { return Ok(false) };
    let mut wants = Vec::new();
    for envelope in events.iter().filter(|envelope| is_concerned(envelope)) {
        let wanted = match envelope.decode()? {
            AnyEvent::User(event) => wanted(&event, envelope.recorded_at),
            AnyEvent::Invitation(event) => wanted_of_invitation(&event),
            _ => None,
        };
        let Ok(person) = envelope.stream.id().parse::<UserId>() else { continue };
        // What has expired when it is first read was written long ago: this reads the log for the first time.
        if let Some(wanted) = wanted.filter(|wanted| now < wanted.until) {
            wants.push((envelope, person, wanted));
        }
    }
    let mut tx = pool.begin().await?;
    let position = sqlx::query_scalar!("select position from mail_checkpoint for update").fetch_one(&mut *tx).await?;
    let read = u64::try_from(position).unwrap_or(0);
    wants.retain(|(envelope, _, _)| read < envelope.position);
    let room = if wants.iter().any(|(_, _, wanted)| wanted.kind.lane() == Lane::Strangers) {
        usize::try_from(strangers_room(&mut tx).await?).unwrap_or(0)
    } else {
        0
    };
    let (mut left, wanting) = (room, wants.len());
    wants.retain(|(_, _, wanted)| {
        let is_strangers = wanted.kind.lane() == Lane::Strangers;
        let fits = !is_strangers || left > 0;
        left = left.saturating_sub(usize::from(is_strangers));
        fits
    });
    let dropped = wanting.saturating_sub(wants.len());
    for (envelope, person, wanted) in &wants {
        sqlx::query!(
            "insert into mail_work (event_id, person, kind, secret_id, recorded_at, until, due_at, lane)
             values ($1, $2, $3, $4, $5, $6, $5, $7) on conflict (event_id) do nothing",
            envelope.id.uuid(),
            person.uuid(),
            wanted.kind.name(),
            wanted.secret.map(SecretId::uuid),
            envelope.recorded_at.micros(),
            wanted.until.micros(),
            wanted.kind.lane().number()
        )
        .execute(&mut *tx)
        .await?;
    }
    let through = i64::try_from(last.position).unwrap_or(i64::MAX);
    sqlx::query!("update mail_checkpoint set position = $1 where position < $1", through).execute(&mut *tx).await?;
    tx.commit().await?;
    if dropped > 0 {
        let count = u64::try_from(dropped).unwrap_or(u64::MAX);
        metrics::counter!("kisum_mail_given_up_total", "reason" => "too_many").increment(count);
        tracing::warn!(event = "mail.given_up", reason = "too_many", dropped, "too many mails to strangers wait");
    }
    Ok(!wants.is_empty())
}

/// How many more mails to strangers may wait. At most as many rows are counted as there may be.
async fn strangers_room(conn: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let lanes = [Lane::Strangers.number(), Lane::StrangersAgain.number()];
    let waiting = sqlx::query_scalar!(
        r#"select count(*) as "count!" from (select from mail_work where lane = any($1) limit $2) waiting"#,
        lanes.as_slice(),
        STRANGERS_MAX
    )
    .fetch_one(conn)
    .await?;
    Ok(STRANGERS_MAX.saturating_sub(waiting))
}

/// Whether any of the events could want a mail, before anything is decoded.
pub(super) fn concerns(events: &[Envelope]) -> bool {
    events.iter().any(is_concerned)
}

fn is_concerned(envelope: &Envelope) -> bool {
    matches!(envelope.stream.kind(), "user" | "invitation")
}

/// How far the log was read.
///
/// # Errors
/// Whatever the database says.
pub(super) async fn read_to(pool: &PgPool) -> Result<u64, sqlx::Error> {
    let position = sqlx::query_scalar!("select position from mail_checkpoint").fetch_one(pool).await?;
    Ok(u64::try_from(position).unwrap_or(0))
}

/// A mail to send.
#[derive(Debug)]
pub(super) struct Due {
    /// The event that it follows from.
    pub(super) event: EventId,
    /// To whom; of an invitation, its own id.
    pub(super) person: UserId,
    /// What it says; none where a later program wrote it.
    pub(super) kind: Option<Kind>,
    /// The secret in it.
    pub(super) secret: Option<SecretId>,
    /// When the event was recorded.
    pub(super) recorded_at: Timestamp,
    /// From then on nobody wants it.
    pub(super) until: Timestamp,
    /// How often sending was tried.
    pub(super) attempts: u32,
}

impl Due {
    /// The person whose mail it is, where it is somebody's.
    pub(super) fn user_id(&self) -> Option<UserId> {
        (self.kind != Some(Kind::Invitation)).then_some(self.person)
    }
}

/// Locks the mail that is due the longest in the first of these lanes that has one no other sender holds, until the
/// transaction ends: a sender that dies lets go of it at once.
///
/// # Errors
/// Whatever the database says.
pub(super) async fn lock_due(
    conn: &mut PgConnection,
    lanes: &[Lane],
    now: Timestamp,
) -> Result<Option<Due>, sqlx::Error> {
    for lane in lanes {
        let due = lock_due_of(conn, *lane, now).await?;
        if due.is_some() {
            return Ok(due);
        }
    }
    Ok(None)
}

async fn lock_due_of(conn: &mut PgConnection, lane: Lane, now: Timestamp) -> Result<Option<Due>, sqlx::Error> {
    let row = sqlx::query!(
        "select event_id, person, kind, secret_id, recorded_at, until, attempts from mail_work
         where lane = $2 and due_at <= $1 order by due_at limit 1 for update skip locked",
        now.micros(),
        lane.number()
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Due {
        event: EventId::new(row.event_id),
        person: UserId::new(row.person),
        kind: Kind::from_name(&row.kind),
        secret: row.secret_id.map(SecretId::new),
        recorded_at: Timestamp::from_micros(row.recorded_at),
        until: Timestamp::from_micros(row.until),
        attempts: u32::try_from(row.attempts).unwrap_or(0),
    }))
}

/// Nothing is left to do about a mail.
///
/// # Errors
/// Whatever the database says.
pub(super) async fn done(conn: &mut PgConnection, event: EventId) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from mail_work where event_id = $1", event.uuid()).execute(conn).await.map(drop)
}

/// A mail is tried again then, behind those that were not tried yet.
///
/// # Errors
/// Whatever the database says.
pub(super) async fn postpone(conn: &mut PgConnection, event: EventId, to: Timestamp) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update mail_work
         set attempts = attempts + 1, due_at = $2, lane = case when lane < $3 then lane + $3 else lane end
         where event_id = $1",
        event.uuid(),
        to.micros(),
        AGAIN
    )
    .execute(conn)
    .await
    .map(drop)
}

/// When the next mail of these lanes is due.
///
/// # Errors
/// Whatever the database says.
pub(super) async fn next_due(conn: &mut PgConnection, lanes: &[Lane]) -> Result<Option<Timestamp>, sqlx::Error> {
    let lanes: Vec<i16> = lanes.iter().map(|lane| lane.number()).collect();
    let due = sqlx::query_scalar!(
        "select min(next.due_at) from unnest($1::smallint[]) as of(lane)
         cross join lateral (select due_at from mail_work w where w.lane = of.lane order by due_at limit 1) next",
        &lanes
    )
    .fetch_one(conn)
    .await?;
    Ok(due.map(Timestamp::from_micros))
}

/// When the event of the oldest mail that waits was recorded.
///
/// # Errors
/// Whatever the database says.
pub(super) async fn oldest(conn: &mut PgConnection) -> Result<Option<Timestamp>, sqlx::Error> {
    let recorded_at = sqlx::query_scalar!("select recorded_at from mail_work order by recorded_at limit 1")
        .fetch_optional(conn)
        .await?;
    Ok(recorded_at.map(Timestamp::from_micros))
}
