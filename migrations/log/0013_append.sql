-- Appends a batch of independent appends in one autocommit statement, with a verdict for each.
--
-- r_*: one row an append.   s_*: streams written, with the exact version expected (-1: any, for streams without state).
-- g_*: streams only read.   c_*: claims taken or released.
-- e_*: events in order; e_s is the row in s_*, e_ordinal counts from 1 within the stream's write. On the last event of
--      a stream's write stands the new state; on the first event of an append stand its request and event count.
-- Rows name their append by its number from 1.
--
-- Verdicts: ok, duplicate (the request is known: its positions), reused (known with another body), version, guard,
-- claim (taken by `holder`; or, releasing, not held).
--
-- INVARIANT: the lock is a statement of its own, so that the next one sees everything committed before it, and it is
-- held until the commit is visible. Nothing here may wait for the client.
create function append(
    r_id uuid[], r_body bytea[],
    s_append integer[], s_name text[], s_expected bigint[],
    g_append integer[], g_name text[], g_version bigint[],
    c_append integer[], c_key text[], c_take boolean[], c_holder text[],
    e_append integer[], e_s integer[], e_stream text[], e_ordinal integer[], e_id uuid[], e_type text[],
    e_schema smallint[], e_company uuid[], e_effect text[], e_data text[], e_own_position text[], e_sealed bytea[],
    e_person uuid[], e_meta text[],
    e_state_schema smallint[], e_state text[], e_sealed_state bytea[], e_state_person uuid[],
    e_request uuid[], e_body bytea[], e_count integer[]
) returns table (append integer, verdict text, name text, actual bigint, holder text,
                 first_position bigint, last_position bigint, epoch integer)
language plpgsql volatile security definer
set search_path = public, pg_temp
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_head   bigint  := 0;
    v_access bigint  := 0;
    v_hash   bytea   := ''::bytea;
    v_time   bigint;
    v_epoch  integer;
    v_actual bigint[];
    v_ok     boolean[] := array_fill(true, array[cardinality(r_id)]);
    v_count  integer := 0;
    v_bad    record;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'append needs read committed, not %', current_setting('transaction_isolation');
    end if;

    perform pg_advisory_xact_lock(4207849484);

    v_epoch := log_epoch_check();
    select b.last_position, b.access_position, b.hash, b.recorded_at into v_head, v_access, v_hash, v_time
    from log_batch b order by b.last_position desc limit 1;
    v_head := coalesce(v_head, 0);
    v_access := coalesce(v_access, 0);
    v_hash := coalesce(v_hash, ''::bytea);
    v_time := greatest(v_time, (extract(epoch from clock_timestamp()) * 1000000)::bigint);

    -- One append a stream, and no stream both written by one append and guarded by another: two appends that guard
    -- what the other writes would both pass against the state before them.
    if exists (select 1 from unnest(s_name) n group by n having count(*) > 1) then
        raise exception 'a batch writes a stream twice';
    end if;
    if cardinality(g_name) > 0 and exists (
        select 1 from unnest(g_append, g_name) g(a, n) join unnest(s_append, s_name) s(a, n) on s.n = g.n and s.a <> g.a
    ) then
        raise exception 'a batch guards a stream in one append and writes it in another';
    end if;

    select coalesce(array_agg(coalesce(t.version, 0) order by s.i), array[]::bigint[]) into v_actual
    from unnest(s_name) with ordinality s(n, i) left join stream t on t.name = s.n;

    for v_bad in
        select r.i::integer as append, 1 as rank,
               case when q.body_hash is distinct from r.body then 'reused' else 'duplicate' end as verdict,
               null::text as name, null::bigint as actual, null::text as holder, q.first_position, q.last_position
        from unnest(r_id, r_body) with ordinality r(id, body, i) join request q on q.id = r.id
        union all
        select s.a, 2, 'version', s.n, v_actual[s.i], null, null, null
        from unnest(s_append, s_name, s_expected) with ordinality s(a, n, v, i)
        where s.v >= 0 and s.v <> v_actual[s.i]
        union all
        select g.a, 3, 'guard', g.n, coalesce(t.version, 0), null, null, null
        from unnest(g_append, g_name, g_version) g(a, n, v) left join stream t on t.name = g.n
        where g.v <> coalesce(t.version, 0)
        union all
        select c.a, 4, 'claim', c.k, null, t.holder, null, null
        from unnest(c_append, c_key, c_take, c_holder) c(a, k, take, h) left join claim t on t.key = c.k
        where case when c.take then t.key is not null else t.holder is distinct from c.h end
        order by 1, 2
    loop
        if v_ok[v_bad.append] then
            v_ok[v_bad.append] := false;
            append := v_bad.append;
            verdict := v_bad.verdict;
            name := v_bad.name;
            actual := v_bad.actual;
            holder := v_bad.holder;
            first_position := v_bad.first_position;
            last_position := v_bad.last_position;
            epoch := v_epoch;
            return next;
        end if;
    end loop;

    if not (true = any (v_ok)) then
        return;
    end if;

    return query
    with chosen as (
        select x.*, v_head + row_number() over (order by x.i) as position
        from unnest(e_append, e_s, e_stream, e_ordinal, e_id, e_type, e_schema, e_company, e_effect, e_data,
                    e_own_position, e_sealed, e_person, e_meta, e_state_schema, e_state, e_sealed_state,
                    e_state_person, e_request, e_body, e_count)
             with ordinality as x(append, s, stream, ordinal, id, type, schema, company, effect, data,
                    own_position, sealed, person, meta, state_schema, state, sealed_state,
                    state_person, request, body, count, i)
        where v_ok[x.append]
    ), placed as (
        select c.*, v_actual[c.s] + c.ordinal as version,
               coalesce(max(c.position) filter (where c.effect <> 'none')
                   over (order by c.position rows between unbounded preceding and 1 preceding), v_access) as previous_access,
               case when c.own_position is null then c.data
                    else replace(c.data, '"' || c.own_position || '":0', '"' || c.own_position || '":' || c.position)
               end as body_text
        from chosen c
    ), hashed as materialized (
        select p.*, event_hash(p.position, v_epoch, p.previous_access, p.id, p.stream, p.version, p.type, p.schema,
                               p.company, p.effect, v_time, p.body_text, p.sealed, p.person, p.meta) as hash
        from placed p
    ), events as (
        insert into event (position, epoch, previous_access_position, id, stream, version, type, schema, company_id,
                           effect, recorded_at, data, sealed, person, meta, hash)
        select h.position, v_epoch, h.previous_access, h.id, h.stream, h.version, h.type, h.schema, h.company,
               h.effect, v_time, h.body_text, h.sealed, h.person, h.meta, h.hash
        from hashed h
    ), streams as (
        insert into stream (name, version, position, schema, state, sealed_state, person)
        select h.stream, h.version, h.position, h.state_schema, h.state, h.sealed_state, h.state_person
        from hashed h where h.state is not null
        on conflict (name) do update set version = excluded.version, position = excluded.position,
            schema = excluded.schema, state = excluded.state, sealed_state = excluded.sealed_state,
            person = excluded.person
    ), taken as (
        insert into claim (key, holder)
        select c.k, c.h from unnest(c_append, c_key, c_take, c_holder) c(a, k, take, h) where c.take and v_ok[c.a]
    ), released as (
        delete from claim t using unnest(c_append, c_key, c_take, c_holder) c(a, k, take, h)
        where not c.take and v_ok[c.a] and t.key = c.k and t.holder = c.h
    ), requests as (
        insert into request (id, body_hash, first_position, last_position)
        select h.request, h.body, h.position, h.position + h.count - 1 from hashed h where h.request is not null
    ), batch as (
        insert into log_batch (last_position, first_position, epoch, access_position, recorded_at, previous_hash, hash)
        select max(h.position), min(h.position), v_epoch,
               coalesce(max(h.position) filter (where h.effect <> 'none'), v_access), v_time, v_hash,
               batch_hash(v_hash, min(h.position), max(h.position), v_epoch, v_time,
                          string_agg(h.hash, ''::bytea order by h.position))
        from hashed h
    )
    select h.append, 'ok'::text, null::text, null::bigint, null::text, h.position, h.position + h.count - 1, v_epoch
    from hashed h where h.request is not null;
end
$$;

revoke all on function append(
    uuid[], bytea[], integer[], text[], bigint[], integer[], text[], bigint[], integer[], text[], boolean[], text[],
    integer[], integer[], text[], integer[], uuid[], text[], smallint[], uuid[], text[], text[], text[], bytea[],
    uuid[], text[], smallint[], text[], bytea[], uuid[], uuid[], bytea[], integer[]) from public;
grant execute on function append(
    uuid[], bytea[], integer[], text[], bigint[], integer[], text[], bigint[], integer[], text[], boolean[], text[],
    integer[], integer[], text[], integer[], uuid[], text[], smallint[], uuid[], text[], text[], text[], bytea[],
    uuid[], text[], smallint[], text[], bytea[], uuid[], uuid[], bytea[], integer[]) to log_writer;
