-- Where the events of a company, of a person and of an actor stand in this log. A projection, not part of the append:
-- whoever reads it scans what lies behind its checkpoint. Every log's database has one of its own.
create table event_index_v1 (
    kind text collate "C" not null constraint event_index_v1_kind check (kind in ('company', 'person', 'actor')),
    -- The company's or the person's UUID; the actor as in the event's meta, such as user:{uuid} or service:core.
    key text collate "C" not null,
    position bigint not null,
    constraint event_index_v1_key primary key (kind, key, position)
);

grant select, insert, update, delete on event_index_v1 to kisum_auth;
