-- Mails are sent by lane: 0 and 1 are mails that were not tried yet, 2 and 3 those that were; 1 and 3 are what anybody can
-- have sent to any address, 0 and 2 all others. What many strangers ask for, or a server answers slowly, delays nobody else.
alter table mail_work
    add column lane smallint not null default 1 constraint mail_work_lane check (lane between 0 and 3);

update mail_work
set lane = case when kind in ('email_verification', 'registration_attempted') then 1 else 0 end
         + case when attempts > 0 then 2 else 0 end;

create index mail_work_lane_due on mail_work (lane, due_at);
drop index mail_work_due;
