-- Who has registered by themselves and when their link is good no more: whoever has not verified by then is erased. Work, not
-- a fold; a row is written before the registration, so that none is missed, and one without a registration is dropped.
create table unverified_person (
    person uuid constraint unverified_person_key primary key,
    due_at bigint not null -- microseconds since 1970
);

create index unverified_person_due on unverified_person (due_at);

revoke all on unverified_person from public;
grant select, insert, update, delete on unverified_person to kisum_auth;
