-- Deletes a person's key with the event that erases them. The run-time role may neither delete keys nor write events but
-- by append(), so nothing else deletes one.
create function person_erase() returns trigger
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    v_person constant uuid := substr(new.stream, length('user-') + 1)::uuid;
begin
    delete from person_key k where k.person = v_person;
    insert into erased_person (person, position) values (v_person, new.position)
    on conflict on constraint erased_person_key do nothing;
    return null;
end
$$;

revoke all on function person_erase() from public;

create trigger event_erases_person after insert on event
for each row when (new.type = 'user.erased') execute function person_erase();
