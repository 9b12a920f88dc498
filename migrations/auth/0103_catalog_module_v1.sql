-- Modules that can be granted, as Core defined them.
create table catalog_module_v1 (
    key text constraint catalog_module_v1_key primary key,
    name text not null
);

grant select, insert, update, delete on catalog_module_v1 to kisum_auth;
