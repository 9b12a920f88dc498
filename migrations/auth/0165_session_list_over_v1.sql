-- A session that began before all of its person's were ended is over, although nobody has ended it itself: whoever looks
-- for such ones finds them here, and ends them.
-- `if not exists`, because queries are compiled against one database that has the migrations of all.
alter table session_list_v1 add column if not exists is_over boolean not null default false;
alter table rebuild.session_list_v1 add column if not exists is_over boolean not null default false;

create index if not exists session_list_v1_over on session_list_v1 (session_id) where is_over and ended_at is null;
