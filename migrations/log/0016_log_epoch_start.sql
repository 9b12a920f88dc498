-- Begins the epoch after `p_seen`, the newest one that the caller saw, with a number above every epoch that a stream
-- ever carried (`p_above`): a database restored from before an epoch must not use that epoch's number again.
-- Where another epoch than `p_seen` is the newest, somebody was faster and nothing is begun.
-- The caller appends `log.epoch_started` in the same transaction: no epoch without its event.
--
-- With the caller's rights on purpose: only the owner may write log_epoch. The lock is a statement of its own, so that
-- the next one sees everything committed before it, as in append().
create function log_epoch_start(
    p_seen integer, p_above integer, p_reason text, out number integer, out begun boolean
)
language plpgsql volatile set search_path = public, pg_temp set lock_timeout = '30s'
as $$
declare
    v_newest integer;
begin
    perform pg_advisory_xact_lock(4207849484);
    select max(e.number) into v_newest from log_epoch e;
    begun := v_newest = p_seen;
    number := v_newest;
    if not begun then
        return;
    end if;
    number := greatest(v_newest, p_above) + 1;
    insert into log_epoch (number, system_identifier, timeline, database_oid, started_at, reason)
    select log_epoch_start.number, i.system_identifier, i.timeline, i.database_oid,
           (extract(epoch from clock_timestamp()) * 1000000)::bigint, p_reason
    from log_identity() i;
end
$$;

revoke all on function log_epoch_start(integer, integer, text) from public;
