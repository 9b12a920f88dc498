-- Keeps partitions ready for at least `ahead` more positions. Run by `kisum migrate`, as the owner.
-- No default partition: with one, reading by position order would have to sort.
create function log_partitions_ensure(ahead bigint) returns integer
language plpgsql
as $$
declare
    c_size  constant bigint := 20000000;
    v_head  bigint := coalesce((select max(last_position) from log_batch), 0);
    v_next  integer := (select count(*) from pg_inherits where inhparent = 'event'::regclass);
    v_added integer := 0;
begin
    while v_next * c_size < v_head + ahead loop
        execute format('create table event_p%s partition of event for values from (%s) to (%s)',
            lpad(v_next::text, 4, '0'), v_next * c_size + 1, (v_next + 1) * c_size + 1);
        v_next := v_next + 1;
        v_added := v_added + 1;
    end loop;
    return v_added;
end
$$;

revoke all on function log_partitions_ensure(bigint) from public;
