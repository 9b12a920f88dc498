-- Appends a batch of independent appends in one autocommit statement, with a verdict for each.
--
-- r_*: one row an append: its request, its meta, how many events it has, and which of them (from 1) is its last access
--      event, 0 for none.
-- s_*: streams written, with the exact version expected (-1: any, for streams without state), how many events it gets,
--      which event of the batch is its last one, and its new state.
-- g_*: streams only read.   c_*: claims taken or released.
-- e_*: events in order, those of an append together and within it those of a stream. e_s is the row in s_*, e_ordinal
--      counts from 1 within the stream's write; e_access is the event of the batch (from 1) that is the access event
--      before it in the same append, 0 when there is none.
-- Rows name their append by its number from 1.
--
-- Answers with `first`: each append's first position, null where it was not made. The others stand in bad_*, one row
-- each: duplicate (the request is known: its positions), reused (known with another body), version, guard, claim
-- (taken by `holder`; or, releasing, not held).
--
-- Values are taken out of the arrays by subscript: PL/pgSQL keeps its arguments expanded, and unnesting twenty arrays
-- side by side costs a tuple store each.
--
-- Every look-up is a lateral one by key. A plan is kept for the life of a connection, and one made while the tables were
-- small would join with a whole index for ever: no setting forbids that.
--
-- INVARIANT: the lock is a statement of its own, so that the next one sees everything committed before it, and it is
-- held until the commit is visible. Nothing here may wait for the client.
drop function append(
    uuid[], bytea[], integer[], text[], bigint[], integer[], text[], bigint[], integer[], text[], boolean[], text[],
    integer[], integer[], text[], integer[], uuid[], text[], smallint[], uuid[], text[], text[], text[], bytea[],
    uuid[], text[], smallint[], text[], bytea[], uuid[], uuid[], bytea[], integer[]);

create function append(
    r_id uuid[], r_body bytea[], r_meta text[], r_events integer[], r_access integer[],
    s_append integer[], s_name text[], s_expected bigint[], s_events integer[], s_last integer[], s_schema smallint[],
    s_state text[], s_sealed bytea[], s_person uuid[],
    g_append integer[], g_name text[], g_version bigint[],
    c_append integer[], c_key text[], c_take boolean[], c_holder text[],
    e_append integer[], e_s integer[], e_ordinal integer[], e_access integer[], e_id uuid[], e_type text[],
    e_schema smallint[], e_company uuid[], e_effect text[], e_data text[], e_own_position text[], e_sealed bytea[],
    e_person uuid[],
    out epoch integer, out first bigint[], out bad_append integer[], out bad_verdict text[], out bad_name text[],
    out bad_actual bigint[], out bad_holder text[], out bad_first bigint[], out bad_last bigint[]
)
language plpgsql volatile security definer
set search_path = public, pg_temp
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_count    constant integer := cardinality(r_id);
    v_head     bigint;
    v_access   bigint;
    v_hash     bytea;
    v_time     bigint;
    v_first    bigint;
    v_epoch    integer;
    v_actual   bigint[];   -- of each stream written: its version, 0 when it is new,
    v_position bigint[];   -- the position of its last event,
    v_row      tid[];      -- and where its row lies. Nobody else writes it while the lock is held.
    v_ok       boolean[] := array_fill(true, array[v_count]);
    v_base     bigint[]  := array_fill(null::bigint, array[v_count]); -- event i of the batch gets position base + i
    v_before   bigint[]  := v_base;                                   -- the last access event before the append
    v_offset   integer   := 0;
    v_old      integer;
    v_updated  integer;
    v_hashes   bytea;
    v_bad      record;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'append needs read committed, not %', current_setting('transaction_isolation');
    end if;

    perform pg_advisory_xact_lock(4207849484);

    v_epoch := log_epoch_check();
    epoch := v_epoch;
    select b.last_position, b.access_position, b.hash, b.recorded_at into v_head, v_access, v_hash, v_time
    from log_batch b order by b.last_position desc limit 1;
    v_head := coalesce(v_head, 0);
    v_access := coalesce(v_access, 0);
    v_hash := coalesce(v_hash, ''::bytea);
    v_time := greatest(v_time, (extract(epoch from clock_timestamp()) * 1000000)::bigint);
    v_first := v_head + 1;

    select array_agg(coalesce(t.version, 0) order by s.i), array_agg(coalesce(t.position, 0) order by s.i),
           array_agg(t.ctid order by s.i), count(t.ctid)
    into v_actual, v_position, v_row, v_old
    from unnest(s_name) with ordinality s(n, i)
    left join lateral (select x.version, x.position, x.ctid from stream x where x.name = s.n offset 0) t on true;

    if v_actual <> s_expected or cardinality(g_name) > 0 or cardinality(c_key) > 0
       or exists (select from unnest(r_id) r(id) where (select true from request q where q.id = r.id)) then
        -- Two appends that guard what the other writes would both pass against the state before them.
        if exists (select from unnest(g_append, g_name) g(a, n)
                   join unnest(s_append, s_name) s(a, n) on s.n = g.n and s.a <> g.a) then
            raise exception 'a batch guards a stream in one append and writes it in another';
        end if;
        for v_bad in
            select r.i::integer as append, 1 as rank,
                   case when q.body_hash is distinct from r.body then 'reused' else 'duplicate' end as verdict,
                   null::text as name, null::bigint as actual, null::text as holder, q.first_position, q.last_position
            from unnest(r_id, r_body) with ordinality r(id, body, i)
            join lateral (select x.* from request x where x.id = r.id offset 0) q on true
            union all
            select s.a, 2, 'version', s.n, s.x, null, null, null
            from unnest(s_append, s_name, s_expected, v_actual) s(a, n, v, x)
            where s.v >= 0 and s.v <> s.x
            union all
            select g.a, 3, 'guard', g.n, coalesce(t.version, 0), null, null, null
            from unnest(g_append, g_name, g_version) g(a, n, v)
            left join lateral (select x.version from stream x where x.name = g.n offset 0) t on true
            where g.v <> coalesce(t.version, 0)
            union all
            select c.a, 4, 'claim', c.k, null, t.holder, null, null
            from unnest(c_append, c_key, c_take, c_holder) c(a, k, take, h)
            left join lateral (select x.* from claim x where x.key = c.k offset 0) t on true
            where case when c.take then t.key is not null else t.holder is distinct from c.h end
            order by 1, 2
        loop
            if v_ok[v_bad.append] then
                v_ok[v_bad.append] := false;
                bad_append := bad_append || v_bad.append;
                bad_verdict := bad_verdict || v_bad.verdict;
                bad_name := bad_name || v_bad.name;
                bad_actual := bad_actual || v_bad.actual;
                bad_holder := bad_holder || v_bad.holder;
                bad_first := bad_first || v_bad.first_position;
                bad_last := bad_last || v_bad.last_position;
            end if;
        end loop;
    end if;

    first := v_base;
    for a in 1 .. v_count loop
        if v_ok[a] then
            first[a] := v_head + 1;
            v_base[a] := v_head - v_offset;
            v_before[a] := v_access;
            if r_access[a] > 0 then
                v_access := v_head + r_access[a];
            end if;
            v_head := v_head + r_events[a];
        end if;
        v_offset := v_offset + r_events[a];
    end loop;
    if v_head < v_first then
        return;
    end if;

    with written as (
        insert into event (position, epoch, previous_access_position, previous_in_stream, id, stream, version, type,
                           schema, company_id, effect, recorded_at, data, sealed, person, meta, hash)
        select p.position, v_epoch, p.previous_access, p.previous_in_stream, p.id, p.stream, p.version, p.type,
               p.schema, p.company, p.effect, v_time, p.body_text, p.sealed, p.person, p.meta,
               event_hash(p.position, v_epoch, p.previous_access, p.id, p.stream, p.version, p.type, p.schema,
                          p.company, p.effect, v_time, p.body_text, p.sealed, p.person, p.meta)
        from (
            select v_base[e_append[i]] + i as position,
                   case when e_access[i] > 0 then v_base[e_append[i]] + e_access[i] else v_before[e_append[i]] end
                       as previous_access,
                   case when e_ordinal[i] > 1 then v_base[e_append[i]] + i - 1 else v_position[e_s[i]] end
                       as previous_in_stream,
                   e_id[i] as id, s_name[e_s[i]] as stream, v_actual[e_s[i]] + e_ordinal[i] as version,
                   e_type[i] as type, e_schema[i] as schema, e_company[i] as company, e_effect[i] as effect,
                   case when e_own_position[i] is null then e_data[i]
                        else replace(e_data[i], '"' || e_own_position[i] || '":0',
                                     '"' || e_own_position[i] || '":' || v_base[e_append[i]] + i)
                   end as body_text,
                   e_sealed[i] as sealed, e_person[i] as person, r_meta[e_append[i]] as meta
            from generate_series(1, cardinality(e_id)) i
            where v_ok[e_append[i]]
            offset 0 -- keeps each value computed once: the hash names them again
        ) p
        returning position, hash)
    select string_agg(w.hash, ''::bytea order by w.position) into v_hashes from written w;

    if v_old > 0 then
        -- By the row's place, which the look-up found: a second search by name cost as much as the first.
        update stream t set version = s.version, position = s.position, schema = s.schema, state = s.state,
               sealed_state = s.sealed, person = s.person
        from (select v_row[i] as ctid, v_actual[i] + s_events[i] as version, v_base[s_append[i]] + s_last[i] as position,
                     s_schema[i] as schema, s_state[i] as state, s_sealed[i] as sealed, s_person[i] as person
              from generate_series(1, cardinality(s_name)) i
              where v_actual[i] > 0 and v_ok[s_append[i]]) s
        where t.ctid = s.ctid;
        get diagnostics v_updated = row_count;
        if v_updated <> (select count(*) from generate_series(1, cardinality(s_name)) i
                         where v_actual[i] > 0 and v_ok[s_append[i]]) then
            raise exception 'a batch writes a stream twice';
        end if;
    end if;
    if v_old < cardinality(s_name) then
        insert into stream (name, version, position, schema, state, sealed_state, person)
        select s_name[i], s_events[i], v_base[s_append[i]] + s_last[i], s_schema[i], s_state[i], s_sealed[i], s_person[i]
        from generate_series(1, cardinality(s_name)) i
        where v_actual[i] = 0 and v_ok[s_append[i]];
    end if;

    if cardinality(c_key) > 0 then
        insert into claim (key, holder)
        select c.k, c.h from unnest(c_append, c_key, c_take, c_holder) c(a, k, take, h) where c.take and v_ok[c.a];
        delete from claim t using unnest(c_append, c_key, c_take, c_holder) c(a, k, take, h)
        where not c.take and v_ok[c.a] and t.key = c.k and t.holder = c.h;
    end if;

    insert into request (id, body_hash, first_position, last_position)
    select r_id[i], r_body[i], first[i], first[i] + r_events[i] - 1
    from generate_series(1, v_count) i where v_ok[i];

    insert into log_batch (last_position, first_position, epoch, access_position, recorded_at, previous_hash, hash)
    values (v_head, v_first, v_epoch, v_access, v_time, v_hash,
            batch_hash(v_hash, v_first, v_head, v_epoch, v_time, v_hashes));
end
$$;

revoke all on function append(
    uuid[], bytea[], text[], integer[], integer[], integer[], text[], bigint[], integer[], integer[], smallint[], text[],
    bytea[], uuid[], integer[], text[], bigint[], integer[], text[], boolean[], text[], integer[], integer[], integer[],
    integer[], uuid[], text[], smallint[], uuid[], text[], text[], text[], bytea[], uuid[]) from public;
grant execute on function append(
    uuid[], bytea[], text[], integer[], integer[], integer[], text[], bigint[], integer[], integer[], smallint[], text[],
    bytea[], uuid[], integer[], text[], bigint[], integer[], text[], boolean[], text[], integer[], integer[], integer[],
    integer[], uuid[], text[], smallint[], uuid[], text[], text[], text[], bytea[], uuid[]) to log_writer;
