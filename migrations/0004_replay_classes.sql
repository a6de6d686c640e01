-- Classes of guild events that a replay could not tell again, because membership is ahead of the acknowledged sequence
-- (docs/architecture.md#guild-lifecycle). Written with membership; gone when the sequence is acknowledged or the session has another after it.
create table gateway_replay_classes (
  shard int4 not null,
  guild_id int8 not null,
  session_id text not null,
  sequence int8 not null,
  class text not null check (class in ('joined', 'joining', 'left')),
  primary key (shard, session_id, sequence)
);
