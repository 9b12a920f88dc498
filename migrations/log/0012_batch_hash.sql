-- The hash of one batch, chained to the one before. INVARIANT: as event_hash.
create function batch_hash(
    p_previous bytea, p_first bigint, p_last bigint, p_epoch integer, p_recorded_at bigint, p_event_hashes bytea
) returns bytea
language sql stable
as $$
    select sha256(p_previous || int8send(p_first) || int8send(p_last) || int4send(p_epoch) || int8send(p_recorded_at)
                  || p_event_hashes)
$$;
