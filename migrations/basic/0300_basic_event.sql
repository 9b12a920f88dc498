-- Events that a company plans. Every row belongs to one company, and every access path begins with it.
create table basic_event (
    id              uuid   not null,
    company_id      uuid   not null,
    title           text   not null,
    starts_at       bigint, -- microseconds since 1970; null while undecided
    created_by      uuid   not null,
    created_at      bigint not null, -- microseconds since 1970
    idempotency_key uuid,
    constraint basic_event_pkey primary key (company_id, id),
    constraint basic_event_command unique (company_id, created_by, idempotency_key),
    constraint basic_event_title check (char_length(title) between 1 and 200)
);

revoke all on basic_event from public;
grant select, insert on basic_event to kisum_basic;
