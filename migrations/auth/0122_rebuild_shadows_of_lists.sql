-- Shadows of the lists, as in 0112.
create unlogged table if not exists rebuild.member_list_v1 (like public.member_list_v1 including all);
create unlogged table if not exists rebuild.session_list_v1 (like public.session_list_v1 including all);

grant select, insert, update, delete, truncate on rebuild.member_list_v1, rebuild.session_list_v1 to kisum_auth;
