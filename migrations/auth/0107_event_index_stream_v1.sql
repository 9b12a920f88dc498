-- Whom a session or a membership belongs to, as far as its events say: later events of the stream do not repeat it.
create table event_index_stream_v1 (
    stream text collate "C" not null,
    person uuid not null,
    constraint event_index_stream_v1_key primary key (stream, person)
);

create index event_index_stream_v1_person on event_index_stream_v1 (person);

grant select, insert, update, delete on event_index_stream_v1 to kisum_auth;
