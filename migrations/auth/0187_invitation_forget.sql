-- What is sealed of an invitation stands under a key of its own, as if it were a person. The key goes with the event that
-- ends it, and it never gets another: of whoever was invited nothing is left but what they have given since.
create function invitation_forget() returns trigger
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    v_invitation constant uuid := substr(new.stream, length('invitation-') + 1)::uuid;
begin
    delete from person_key k where k.person = v_invitation;
    insert into erased_person (person, position) values (v_invitation, new.position)
    on conflict on constraint erased_person_key do nothing;
    return null;
end
$$;

revoke all on function invitation_forget() from public;

create trigger event_forgets_invitation after insert on event
for each row when (new.type in ('invitation.accepted', 'invitation.withdrawn', 'invitation.expired'))
execute function invitation_forget();
