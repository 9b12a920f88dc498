-- Invitations of each company: what the list of them is made from, how many are pending, and which have expired. The
-- address is sealed and stands in the invitation's state alone.
create table invitation_list_v1 (
    invitation_id uuid constraint invitation_list_v1_key primary key,
    company_id uuid not null,
    status text collate "C" not null constraint invitation_list_v1_status
        check (status in ('pending', 'accepted', 'withdrawn', 'expired')),
    -- Microseconds since 1970.
    expires_at bigint not null,
    -- Position of the event that sent it first: the list's order.
    position bigint not null
);

create index invitation_list_v1_company on invitation_list_v1 (company_id, status, position);
create index invitation_list_v1_due on invitation_list_v1 (expires_at, invitation_id) where status = 'pending';

grant select, insert, update, delete on invitation_list_v1 to kisum_auth;
