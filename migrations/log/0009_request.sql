-- One row for each append: the same request id is the same append, so that it may be sent again after a lost answer.
create table request (
    id             uuid   primary key,
    body_hash      bytea,
    first_position bigint not null,
    last_position  bigint not null
);

revoke all on request from public;
grant select on request to log_writer;
