-- Unique values that streams hold: e-mail → user, company and person → membership, slug → company.
create table claim (
    key    text collate "C" primary key,
    holder text collate "C" not null
);

revoke all on claim from public;
grant select on claim to log_writer;
