-- Who was erased. Their key goes in the transaction of the event that says so, whoever appends it, and they never get
-- another: what is sealed for them afterwards would be readable.
-- `if not exists`, because queries are compiled against one database that has the migrations of all.
create table if not exists erased_person (
    person   uuid   constraint erased_person_key primary key,
    position bigint not null
);

revoke all on erased_person from public;
grant select on erased_person to log_writer;
