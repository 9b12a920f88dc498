-- Commands that were sent under an idempotency key, for as long as the key counts (contract, *HTTP*: 24 h). A key belongs to
-- one person, one company and one command.
-- `if not exists`, because queries are compiled against one database that has the migrations of all.
create table if not exists business_command (
    company_id uuid not null,
    actor uuid not null,
    command text collate "C" not null,
    key uuid not null,
    -- SHA-256 of the body; null where it was not kept, and any body counts as the same.
    body_hash bytea,
    -- What the command made.
    record uuid not null,
    sent_at bigint not null, -- microseconds since 1970
    constraint business_command_key primary key (company_id, actor, command, key)
);

-- Keys that count no more are found, and taken away, by it.
create index if not exists business_command_sent_at on business_command (sent_at);

-- Until now a key stood beside what it made. The column stays for those who still write it.
insert into business_command (company_id, actor, command, key, record, sent_at)
select company_id, created_by, 'events.create', idempotency_key, id, created_at from basic_event where idempotency_key is not null
on conflict do nothing;

revoke all on business_command from public;
grant select, insert, update, delete on business_command to kisum_basic;
