-- The shadow of the audit, as in 0112.
create unlogged table if not exists rebuild.audit_v1 (like public.audit_v1 including all);

grant select, insert, update, delete, truncate on rebuild.audit_v1 to kisum_auth;
