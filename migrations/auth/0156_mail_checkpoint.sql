-- How far the log was read for mails. One row; it moves with the rows of mail_work in one transaction. It knows no epoch:
-- it stands in the log's own database, is restored with it, and so always means this database's history.
create table mail_checkpoint (
    only_one boolean constraint mail_checkpoint_key primary key default true constraint mail_checkpoint_only_one check (only_one),
    position bigint not null constraint mail_checkpoint_position check (position >= 0)
);

insert into mail_checkpoint (position) values (0);

grant select, update on mail_checkpoint to kisum_auth;
