-- How far each projection in this database has folded its log. Rows of a projection and its checkpoint change in one
-- transaction, under a lock on the checkpoint's row: a reader that sees both in one snapshot knows exactly which
-- events the rows stand for.
-- `if not exists`, because queries are compiled against one database that has the migrations of all.
create table if not exists projection_checkpoint (
    name text constraint projection_checkpoint_key primary key,
    epoch integer not null constraint projection_checkpoint_epoch check (epoch >= 0),
    position bigint not null constraint projection_checkpoint_position check (position >= 0),
    updated_at bigint not null,
    -- The event that could not be applied, and why. Set: the projection stands still until its process restarts.
    poison_position bigint,
    poison_error text,
    constraint projection_checkpoint_poison check ((poison_position is null) = (poison_error is null))
);

comment on column projection_checkpoint.epoch is 'epoch of the followed log; 0 before anything was applied';
comment on column projection_checkpoint.position is 'everything up to here is applied';
comment on column projection_checkpoint.updated_at is 'microseconds since 1970, by this database''s clock';

grant select, insert, update on projection_checkpoint to kisum_core;
