-- The position of the event before it in its stream, 0 for the first: a stream is read backwards from `stream.position`,
-- one row by primary key for each event. An index by stream cost a quarter of every append (docs/adr/0009).
alter table event add column previous_in_stream bigint;

update event e set previous_in_stream = p.previous
from (select position, coalesce(lag(position) over (partition by stream order by position), 0) as previous from event) p
where p.position = e.position;

alter table event alter column previous_in_stream set not null;
alter table event add constraint event_previous_in_stream_before check (previous_in_stream < position);
drop index event_stream;

grant select (previous_in_stream) on event to log_reader;
