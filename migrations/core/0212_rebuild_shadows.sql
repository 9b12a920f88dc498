-- A shadow of every table that projections of this database write, and of their checkpoints: a table that a projection
-- gains needs one here, a column that one gains too. What they hold is derived and of no use after a crash: unlogged.
-- `if not exists`, because queries are compiled against one database that has the migrations of all.
create unlogged table if not exists rebuild.projection_checkpoint (like public.projection_checkpoint including all);
create unlogged table if not exists rebuild.event_index_v1 (like public.event_index_v1 including all);
create unlogged table if not exists rebuild.event_index_stream_v1 (like public.event_index_stream_v1 including all);

grant select, insert, update, delete, truncate on all tables in schema rebuild to kisum_core;
