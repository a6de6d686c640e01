-- What lies on the disks of workers: acknowledged, and not delivered. Written in the transaction that raises the acknowledged
-- sequences, so that what a disk takes with it can be counted. No fence: only the process that holds the file writes its rows.
create table gateway_spills (
  name text not null,
  -- Of the file, for its life.
  spill_id uuid not null,
  shard int4 not null,
  session_id text not null,
  destination text not null,
  -- Who had the file last, for people.
  worker text not null,
  -- Within these, `events` of them.
  first_sequence int8 not null,
  last_sequence int8 not null,
  events int8 not null,
  updated_at timestamptz not null default now(),
  primary key (name, spill_id, shard, session_id)
);
