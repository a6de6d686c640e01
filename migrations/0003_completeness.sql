-- What a reader may trust: which lists of a guild are whole, and since when; and tables for the children of a guild that
-- change one by one. Written by src/cache; whoever reads the columns: docs/architecture.md#what-a-client-can-know.

-- Discord repeats with each GUILD_CREATE: channels, threads, roles, emojis, stickers, voice states, scheduled events, stage instances,
-- soundboard sounds. They are whole while `gap_at` is null. It does not repeat all members and presences of larger guilds, nor any ban.
alter table guilds
  -- Every member has a row, and every change since was seen. `members_as_of`: when the list that made it so was read (null: never);
  -- it stays when the mark goes, as the time of the last whole list.
  add column members_complete boolean not null default false,
  add column members_as_of timestamptz,
  add column presences_complete boolean not null default false,
  add column presences_as_of timestamptz,
  -- Bans are never listed, so they are never complete: the rows are those that were told without a gap since this time. Null: nothing was.
  add column bans_since timestamptz,
  -- The shard lost events at this time, and the guild was not sent again since. Null: it has missed nothing since its last GUILD_CREATE.
  add column gap_at timestamptz;

-- What -cache chose at the last start, null before it: a list that is not kept is empty, not known to be empty.
alter table gateway_fleet add column cached text[];

create table scheduled_events (
  id int8 not null,
  guild_id int8 not null,
  data jsonb not null,
  primary key (id, guild_id)
);
create index scheduled_events_guild_id_idx on scheduled_events (guild_id);

create table stage_instances (
  id int8 not null,
  guild_id int8 not null,
  data jsonb not null,
  primary key (id, guild_id)
);
create index stage_instances_guild_id_idx on stage_instances (guild_id);

-- `id` is the sound's `sound_id`.
create table soundboard_sounds (
  id int8 not null,
  guild_id int8 not null,
  data jsonb not null,
  primary key (id, guild_id)
);
create index soundboard_sounds_guild_id_idx on soundboard_sounds (guild_id);
