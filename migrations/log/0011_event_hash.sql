-- The hash of one event: every column, in one canonical text, and the ciphertext. INVARIANT: never change this
-- function; a new form is a new function, and the batch says which one it used.
create function event_hash(
    p_position bigint, p_epoch integer, p_previous_access bigint, p_id uuid, p_stream text, p_version bigint,
    p_type text, p_schema smallint, p_company uuid, p_effect text, p_recorded_at bigint, p_data text,
    p_sealed bytea, p_person uuid, p_meta text
) returns bytea
language sql stable
as $$
    select sha256(convert_to(concat_ws(E'\x1f',
        p_position::text, p_epoch::text, p_previous_access::text, p_id::text, p_stream, p_version::text, p_type,
        p_schema::text, coalesce(p_company::text, '-'), p_effect, p_recorded_at::text, coalesce(p_person::text, '-'),
        length(p_data)::text, p_data, p_meta), 'UTF8') || coalesce(p_sealed, ''::bytea))
$$;
