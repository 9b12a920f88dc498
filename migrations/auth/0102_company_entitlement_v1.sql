-- What each company owns and when: the schedule of its last entitlement.changed, future entries included. Who is
-- active is evaluated by the reader at its own instant; nothing here goes stale by the passing of time.
create table company_entitlement_v1 (
    company_id uuid constraint company_entitlement_v1_key primary key,
    -- JSON array of entitlements, as in the event.
    schedule text not null,
    -- Position, in the core log, of the event that gave this schedule.
    entitlement_version bigint not null,
    epoch integer not null
);

grant select, insert, update, delete on company_entitlement_v1 to kisum_auth;
