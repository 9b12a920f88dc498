-- Permissions that can be granted, as Core defined them. A retired one stays with whoever holds it and can no longer
-- be granted.
create table catalog_permission_v1 (
    key text constraint catalog_permission_v1_key primary key,
    module text not null,
    retired boolean not null
);

grant select, insert, update, delete on catalog_permission_v1 to kisum_auth;
