-- Refuses a key for somebody who was erased.
create function person_key_of_the_living() returns trigger
language plpgsql stable
set search_path = public, pg_temp
as $$
begin
    if exists (select from erased_person e where e.person = new.person) then
        raise exception 'person % was erased', new.person using errcode = 'check_violation';
    end if;
    return new;
end
$$;

revoke all on function person_key_of_the_living() from public;

create trigger person_key_of_the_living before insert on person_key
for each row execute function person_key_of_the_living();
