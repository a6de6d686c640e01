-- Guild state, as the tables of tatsuworks/gateway name it (docs/architecture.md#the-life-of-an-event), and the gateway's own tables beside it.
-- Runs on Postgres 15 and later and on PGlite. Migrations only add: two versions of the program run side by side during a deploy.
-- Every table is logged, so that state and sequences come back from a crash together. No row is written by two shards:
-- a guild's rows belong to the guild's shard, and users have no table of their own (a user is read from member rows).

-- `data` is the GUILD_CREATE object without channels, emojis, members, presences, roles, voice_states, threads.
create table guilds (
  id int8 primary key,
  data jsonb not null,
  -- An outage (GUILD_DELETE with `unavailable`) keeps the data and marks it.
  unavailable boolean not null default false,
  -- The last event that set or moved data->'member_count'; an event moves it only from a higher sequence of this session.
  count_session_id text not null default '',
  count_sequence int8 not null default 0
) with (fillfactor = 85);

-- Membership, on which the class of a GUILD_CREATE depends (docs/architecture.md#guild-lifecycle). Independent of the shard count.
create table guilds_persistent (
  id int8 primary key,
  state text not null default 'present' check (state in ('present', 'joining', 'unavailable', 'backfill')),
  -- The event that made the guild present: its replay keeps the class `joined`.
  session_id text not null default '',
  sequence int8 not null default 0,
  since timestamptz not null default now()
);

create table channels (
  id int8 not null,
  guild_id int8 not null,
  data jsonb not null,
  primary key (id, guild_id)
);
create index channels_guild_id_idx on channels (guild_id);

create table threads (
  id int8 primary key,
  owner_id int8,
  parent_id int8,
  guild_id int8 not null,
  data jsonb not null
);
create index threads_guild_id_idx on threads (guild_id);
create index threads_parent_id_idx on threads (parent_id);

create table roles (
  id int8 not null,
  guild_id int8 not null,
  data jsonb not null,
  primary key (id, guild_id)
);
create index roles_guild_id_idx on roles (guild_id);

create table emojis (
  id int8 not null,
  guild_id int8 not null,
  data jsonb not null,
  primary key (id, guild_id)
);
create index emojis_guild_id_idx on emojis (guild_id);

-- `data` is the member object with `user` inside.
create table members (
  guild_id int8 not null,
  user_id int8 not null,
  data jsonb not null,
  -- Set by the statement that changes the row, in UTC as the ancestor's trigger did on a UTC server.
  last_updated timestamp not null default (now() at time zone 'utc'),
  primary key (guild_id, user_id)
) with (fillfactor = 85);
create index members_guild_id_idx on members (guild_id);
create index members_user_id_idx on members (user_id);

create table presence (
  user_id int8 not null,
  guild_id int8 not null,
  data jsonb not null,
  primary key (user_id, guild_id)
) with (fillfactor = 85);
create index presence_guild_id_idx on presence (guild_id);

create table voice_states (
  guild_id int8 not null,
  user_id int8 not null,
  data jsonb not null,
  primary key (guild_id, user_id)
) with (fillfactor = 85);

create table bans (
  guild_id int8 not null,
  user_id int8 not null,
  data jsonb not null,
  primary key (guild_id, user_id)
);

create table messages (
  id int8 primary key,
  data jsonb not null
);

-- One row: the database belongs to one bot and one fleet.
create table gateway_fleet (
  is_only boolean primary key default true check (is_only),
  name text not null,
  bot_user_id int8 not null,
  cluster_kind text not null default '',
  -- First half of every fence; raised by compare-and-set.
  epoch int8 not null default 0,
  shard_count int4,
  intents int4,
  created_at timestamptz not null default now()
);

-- One row per shard, inserted by its first take-over. Whoever has the highest fence may write for the shard.
create table gateway_sessions (
  name text not null,
  shard int4 not null,
  shard_count int4,
  session_id text,
  resume_gateway_url text,
  -- Acknowledged: accepted by every destination and committed here.
  sequence int8,
  v int4,
  encoding text,
  compress text,
  intents int4,
  bot_user_id int8,
  fence_epoch int8 not null,
  fence_revision int8 not null,
  owner text not null default '',
  -- The first READY of the shard was committed: guilds_persistent holds its guilds.
  is_membership_filled boolean not null default false,
  updated_at timestamptz not null default now(),
  primary key (name, shard)
) with (fillfactor = 50);

-- The ancestor's sessions table, read only. `offset 0` keeps Postgres from letting a delete through to the fences.
create view shards as
  select shard as id, name, sequence as seq, session_id as sess, ''::text as status, resume_gateway_url as resume_url
  from gateway_sessions
  where session_id is not null
  offset 0;

-- Every identify, recorded before it is sent: budget and breaker are computed from these rows.
create table gateway_identifies (
  id int8 generated always as identity primary key,
  bot_user_id int8 not null,
  shard int4 not null,
  sent_at timestamptz not null,
  worker text not null,
  why text not null
);
create index gateway_identifies_bot_idx on gateway_identifies (bot_user_id, sent_at);
