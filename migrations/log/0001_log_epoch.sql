-- An epoch is one unbroken history of this log. A restored or promoted database can use positions again, and a copied
-- row proves nothing: so the row records what only this very database on this very timeline has.
create table log_epoch (
    number            integer primary key check (number >= 1),
    system_identifier bigint  not null,
    timeline          text    not null,
    database_oid      oid     not null,
    started_at        bigint  not null, -- microseconds since 1970
    reason            text    not null
);

revoke all on log_epoch from public;
grant select on log_epoch to log_reader, log_writer;
