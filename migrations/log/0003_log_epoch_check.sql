-- The current epoch's number; an error when this database is not the one that the epoch was started on.
create function log_epoch_check() returns integer
language plpgsql stable security definer set search_path = public, pg_temp
as $$
declare
    v_epoch log_epoch;
    v_here  record;
begin
    select * into v_epoch from log_epoch order by number desc limit 1;
    select * into v_here from log_identity();
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

revoke all on function log_epoch_check() from public;
grant execute on function log_epoch_check() to log_reader, log_writer;
