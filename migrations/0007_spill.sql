-- Tells fleets apart whose names are the same: the folder of what a worker keeps on its disk has it in its path.
alter table gateway_fleet add column fleet_id uuid not null default gen_random_uuid();
