-- A stream's state: the fold of its events at its version. The transactional truth that access is resolved from.
create table stream (
    name         text     collate "C" primary key,
    version      bigint   not null,
    position     bigint   not null, -- of its last event
    schema       smallint not null, -- of the state; another one is folded anew from events
    state        text     not null, -- JSON without sealed fields
    sealed_state bytea,             -- the sealed fields, AES-256-GCM under the person's key
    person       uuid,
    constraint stream_sealed_person check ((sealed_state is null) or (person is not null))
) with (fillfactor = 70);

revoke all on stream from public;
grant select on stream to log_writer;
