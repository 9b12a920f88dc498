-- One key for each person, wrapped by a key of DATA_ENCRYPTION_KEYS. Erasing a person deletes the row.
create table person_key (
    person     uuid  primary key,
    key_id     uuid  not null unique,
    wrapped    bytea not null,
    wrapped_by text  not null
);

revoke all on person_key from public;
grant select, insert on person_key to log_writer;
