-- A projection that begins an epoch is empty and folds the log anew, in many transactions. Until it has seen the log's
-- end once, what its rows lack says nothing.
-- `if not exists`, because queries are compiled against one database that has the migrations of all.
alter table projection_checkpoint add column if not exists starting_over boolean not null default false;

comment on column projection_checkpoint.starting_over is 'its epoch''s log is not folded to its end yet: what is not in the rows may well exist';
