-- A person's sessions, until their time has run out whatever happens. Whether one is live is evaluated by the reader at
-- its own instant. Times are microseconds since 1970.
create table session_list_v1 (
    session_id uuid constraint session_list_v1_key primary key,
    user_id uuid not null,
    -- JSON array of methods (RFC 8176), as in the event.
    amr text not null,
    started_at bigint not null,
    -- When the refresh token was last rotated.
    refreshed_at bigint,
    idle_until bigint not null,
    absolute_until bigint not null,
    -- When somebody ended it.
    ended_at bigint
);

create index session_list_v1_user on session_list_v1 (user_id) where ended_at is null;
create index session_list_v1_absolute_until on session_list_v1 (absolute_until);

grant select, insert, update, delete on session_list_v1 to kisum_auth;
