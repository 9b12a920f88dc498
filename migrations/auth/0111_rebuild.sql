-- Where projections are folded anew beside the running ones: tables of the same names and columns. Whoever folds there
-- has this schema before `public` in the search path; nobody else ever has it. Tables never move between schemas:
-- rows that differ are copied.
-- `if not exists`, because queries are compiled against one database that has the migrations of all.
create schema if not exists rebuild;

grant usage on schema rebuild to kisum_auth;
