-- What identifies the running database: the timeline changes at the moment of a promotion, the system identifier and
-- the oid change with a restore into another cluster or database.
create function log_identity(out system_identifier bigint, out timeline text, out database_oid oid)
language sql stable security definer set search_path = pg_catalog
as $$
    select c.system_identifier,
           case when pg_is_in_recovery() then 'standby' else substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) end,
           d.oid
    from pg_control_system() c, pg_database d
    where d.datname = current_database()
$$;

revoke all on function log_identity() from public;
grant execute on function log_identity() to log_reader, log_writer;

insert into log_epoch (number, system_identifier, timeline, database_oid, started_at, reason)
select 1, system_identifier, timeline, database_oid, (extract(epoch from clock_timestamp()) * 1000000)::bigint, 'created'
from log_identity();
