-- Mails that are to be sent: work that follows from events of this log, one row an event, until it is sent or given up.
-- It holds no address and no token: both come from the person's state when the mail is sent. No projection: what was sent is
-- gone from here, and folding the log anew must not send it again (mail_checkpoint).
create table mail_work (
    -- The event that the mail follows from; its Message-ID is made of it.
    event_id uuid constraint mail_work_key primary key,
    person uuid not null,
    kind text not null,
    -- The secret that the mail carries, where it carries one.
    secret_id uuid,
    -- Times are microseconds since 1970. When the event was recorded.
    recorded_at bigint not null,
    -- From then on nobody wants the mail any more.
    until bigint not null,
    -- Sending was tried so often.
    attempts integer not null default 0,
    -- It is tried next then.
    due_at bigint not null
);

create index mail_work_due on mail_work (due_at);
create index mail_work_recorded on mail_work (recorded_at);

grant select, insert, update, delete on mail_work to kisum_auth;
