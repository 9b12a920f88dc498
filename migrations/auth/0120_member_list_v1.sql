-- Who is a member of which company, with which standing: what lists of members, and of a person's companies, are made
-- from. Names and addresses are sealed and stand in the persons' states alone.
create table member_list_v1 (
    membership_id uuid constraint member_list_v1_key primary key,
    company_id uuid not null,
    user_id uuid not null,
    tenant_role text collate "C" not null constraint member_list_v1_tenant_role
        check (tenant_role in ('USER', 'MANAGER', 'ADMIN', 'TENANT_SUPERADMIN')),
    status text collate "C" not null constraint member_list_v1_status
        check (status in ('active', 'suspended', 'revoked')),
    -- Microseconds since 1970, by the log's clock.
    joined_at bigint not null,
    -- Position of the event that made them a member. The list's order: whoever joins while it is paged through comes
    -- behind everybody who was there.
    position bigint not null
);

-- Neither holds what changes, so that changes of role and standing stay in the heap's page.
create index member_list_v1_company on member_list_v1 (company_id, position);
create index member_list_v1_user on member_list_v1 (user_id, position);

grant select, insert, update, delete on member_list_v1 to kisum_auth;
