-- Sessions that ended while an access token of theirs may still be alive: what a guard must know at a cold start.
create table ended_session_v1 (
    session_id uuid constraint ended_session_v1_key primary key,
    user_id uuid not null,
    -- The session's last access token has expired by then; microseconds since 1970.
    until bigint not null,
    -- Position, in the auth log, of the event that ended it.
    position bigint not null
);

create index ended_session_v1_position on ended_session_v1 (position);
create index ended_session_v1_until on ended_session_v1 (until);

grant select, insert, update, delete on ended_session_v1 to kisum_auth;
