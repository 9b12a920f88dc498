-- Proves that this primary can still commit: it waits for the synchronous standby, so a primary that was cut off
-- proves nothing. A transactional message of no size; nothing is kept.
create function log_head_barrier() returns void
language sql volatile security definer set search_path = pg_catalog
as $$ select pg_logical_emit_message(true, 'head', '') $$;

revoke all on function log_head_barrier() from public;
grant execute on function log_head_barrier() to log_reader, log_writer;
