-- What -members asks for: with every list complete it is empty.
create index guilds_incomplete_idx on guilds (id) where not members_complete and not unavailable;
