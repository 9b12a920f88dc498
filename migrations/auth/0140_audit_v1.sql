-- What happened in which company, by what an audit is searched by: positions of events, not copies. What an event says is
-- read from the log beside it, so that nothing is told here that the log does not hold.
create table audit_v1 (
    company_id uuid not null,
    -- Microseconds since 1970, by the log's clock; never less than that of an earlier position.
    recorded_at bigint not null,
    position bigint not null,
    type text collate "C" not null,
    -- As in the event's meta, such as user:{uuid} or service:core.
    actor text collate "C" not null,
    -- The event's stream, such as membership-{uuid}.
    target text collate "C" not null,
    -- Every index is in the list's order behind what it filters by, so that a page and a span of time are one range.
    constraint audit_v1_key primary key (company_id, recorded_at, position)
);

create index audit_v1_type on audit_v1 (company_id, type, recorded_at, position);
create index audit_v1_actor on audit_v1 (company_id, actor, recorded_at, position);
-- One person may have done nearly everything in a company, and one kind of it hardly ever.
create index audit_v1_actor_type on audit_v1 (company_id, actor, type, recorded_at, position);
create index audit_v1_target on audit_v1 (company_id, target, recorded_at, position);

grant select, insert, update, delete on audit_v1 to kisum_auth;
