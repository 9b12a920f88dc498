-- The current epoch's number; an error when this database is not the one that the epoch was started on. As before, but
-- the identity is read here: a function in SQL is planned anew by every call, which cost every append a quarter of the
-- time that it takes alone.
create or replace function log_epoch_check() returns integer
language plpgsql stable security definer set search_path = public, pg_temp
as $$
declare
    v_epoch log_epoch;
    v_here  record;
begin
    select * into v_epoch from log_epoch order by number desc limit 1;
    select c.system_identifier,
           case when pg_is_in_recovery() then 'standby' else substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) end
               as timeline,
           d.oid as database_oid
    into v_here from pg_control_system() c, pg_database d where d.datname = current_database();
    if v_epoch.system_identifier is distinct from v_here.system_identifier
       or v_epoch.timeline is distinct from v_here.timeline
       or v_epoch.database_oid is distinct from v_here.database_oid then
        raise exception using
            errcode = 'KLEPO',
            message = format('epoch %s of this log was started on another history: system %s timeline %s database %s, but this is system %s timeline %s database %s',
                v_epoch.number, v_epoch.system_identifier, v_epoch.timeline, v_epoch.database_oid,
                v_here.system_identifier, v_here.timeline, v_here.database_oid),
            hint = 'The database was restored or promoted. Make sure no other copy is written to, then run: kisum log epoch new';
    end if;
    return v_epoch.number;
end
$$;
