-- One row for each commit of the log: the newest is the head. Hashes are chained from batch to batch.
create table log_batch (
    last_position   bigint  primary key,
    first_position  bigint  not null,
    epoch           integer not null,
    access_position bigint  not null, -- of the last access event up to here, 0 when there is none
    recorded_at     bigint  not null,
    previous_hash   bytea   not null,
    hash            bytea   not null,
    constraint log_batch_not_empty check (first_position <= last_position)
);

revoke all on log_batch from public;
grant select on log_batch to log_reader, log_writer;

