-- The log. Position order is commit order, without holes. Append-only: run-time roles may read it and call append().
create table event (
    position                 bigint   not null,
    epoch                    integer  not null,
    previous_access_position bigint   not null,
    id                       uuid     not null,
    stream                   text     collate "C" not null,
    version                  bigint   not null,
    type                     text     collate "C" not null,
    schema                   smallint not null,
    company_id               uuid,
    effect                   text     collate "C" not null,
    recorded_at              bigint   not null, -- microseconds since 1970
    data                     text     not null, -- JSON, byte for byte what is published
    sealed                   bytea,             -- AES-256-GCM under the person's key
    person                   uuid,              -- whose key
    meta                     text     not null, -- JSON
    hash                     bytea    not null, -- event_hash of this row
    constraint event_pkey primary key (position),
    constraint event_effect_known check (effect in ('narrows', 'widens', 'none')),
    -- A message that JetStream refuses would stop the relay for ever.
    constraint event_body_size check (octet_length(data) + octet_length(meta) <= 65536),
    constraint event_sealed_size check (octet_length(sealed) <= 65536),
    constraint event_body_no_nul check (strpos(data, '\u0000') = 0 and strpos(meta, '\u0000') = 0),
    constraint event_sealed_person check ((sealed is null) or (person is not null))
) partition by range (position);

create index event_stream on event (stream, version);
create index event_access on event (position) where effect <> 'none';

revoke all on event from public;
grant select on event to log_writer;
-- The relay and other readers never see sealed parts, not even encrypted.
grant select (position, epoch, previous_access_position, id, stream, version, type, schema, company_id, effect,
              recorded_at, data, meta, hash) on event to log_reader;
