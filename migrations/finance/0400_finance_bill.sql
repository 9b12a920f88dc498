-- Bills of a company. Every row belongs to one company, and every access path begins with it.
create table finance_bill (
    id              uuid   not null,
    company_id      uuid   not null,
    number          text   not null,
    amount_cents    bigint not null,
    currency        text   not null, -- ISO 4217
    created_by      uuid   not null,
    created_at      bigint not null, -- microseconds since 1970
    idempotency_key uuid,
    constraint finance_bill_pkey primary key (company_id, id),
    constraint finance_bill_command unique (company_id, created_by, idempotency_key),
    constraint finance_bill_number check (char_length(number) between 1 and 64),
    constraint finance_bill_amount check (amount_cents between 0 and 100000000000000),
    constraint finance_bill_currency check (currency ~ '^[A-Z]{3}$')
);

revoke all on finance_bill from public;
grant select, insert on finance_bill to kisum_finance;
