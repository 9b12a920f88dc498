-- The roles of every database, without passwords: an operator, `kisum up` and `./dev sqlx` all start from this file.
-- Running it again changes nothing.
--
-- An owner role owns one database and runs its migrations; a run-time role owns nothing. `log_writer` and
-- `log_reader` carry the rights on a log's tables, so that the log's migrations name no service.
DO $$
DECLARE
  wanted text;
BEGIN
  FOREACH wanted IN ARRAY ARRAY['auth_owner', 'core_owner', 'basic_owner', 'finance_owner',
                                'kisum_auth', 'kisum_core', 'kisum_basic', 'kisum_finance',
                                'kisum_relay_auth', 'kisum_relay_core'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
      EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION', wanted);
    END IF;
  END LOOP;
  FOREACH wanted IN ARRAY ARRAY['log_writer', 'log_reader'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
      EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION', wanted);
    END IF;
  END LOOP;
END
$$;

GRANT log_writer TO kisum_auth, kisum_core;
GRANT log_reader TO kisum_auth, kisum_core, kisum_relay_auth, kisum_relay_core;

-- A request that the database keeps waiting is refused in time by the database itself. The relays read long batches.
ALTER ROLE kisum_auth SET statement_timeout = '5s';
ALTER ROLE kisum_auth SET lock_timeout = '2s';
ALTER ROLE kisum_auth SET idle_in_transaction_session_timeout = '5s';
ALTER ROLE kisum_core SET statement_timeout = '5s';
ALTER ROLE kisum_core SET lock_timeout = '2s';
ALTER ROLE kisum_core SET idle_in_transaction_session_timeout = '5s';
ALTER ROLE kisum_basic SET statement_timeout = '5s';
ALTER ROLE kisum_basic SET lock_timeout = '2s';
ALTER ROLE kisum_basic SET idle_in_transaction_session_timeout = '5s';
ALTER ROLE kisum_finance SET statement_timeout = '5s';
ALTER ROLE kisum_finance SET lock_timeout = '2s';
ALTER ROLE kisum_finance SET idle_in_transaction_session_timeout = '5s';
ALTER ROLE kisum_relay_auth SET statement_timeout = '15s';
ALTER ROLE kisum_relay_auth SET lock_timeout = '2s';
ALTER ROLE kisum_relay_auth SET idle_in_transaction_session_timeout = '15s';
ALTER ROLE kisum_relay_core SET statement_timeout = '15s';
ALTER ROLE kisum_relay_core SET lock_timeout = '2s';
ALTER ROLE kisum_relay_core SET idle_in_transaction_session_timeout = '15s';
