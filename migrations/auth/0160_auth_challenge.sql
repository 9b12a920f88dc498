-- Proofs of who somebody is that have begun and are not finished: a sign-in that waits for its second factor, the
-- registration of a factor, a passkey that was asked for. Each is open for minutes, and good once.
-- Unlogged: after a crash they are gone, which lets nobody in; whoever was in the middle begins again.
create unlogged table auth_challenge (
    -- SHA-256 of the secret that the client holds.
    id bytea constraint auth_challenge_key primary key check (octet_length(id) = 32),
    purpose text not null,
    attempts_left smallint not null check (attempts_left >= 0),
    expires_at bigint not null, -- microseconds since 1970
    -- What it is about, under a key that is made of the client's secret: the row alone opens nothing.
    sealed bytea not null
);

create index auth_challenge_expires_at on auth_challenge (expires_at);

revoke all on auth_challenge from public;
grant select, insert, update, delete on auth_challenge to kisum_auth;
