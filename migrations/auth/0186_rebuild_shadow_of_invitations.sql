-- The shadow of the invitations, as in 0112.
create unlogged table if not exists rebuild.invitation_list_v1 (like public.invitation_list_v1 including all);

grant select, insert, update, delete, truncate on rebuild.invitation_list_v1 to kisum_auth;
