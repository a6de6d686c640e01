-- The bot's last VOICE_STATE_UPDATE and VOICE_SERVER_UPDATE per guild, so that a voice backend survives its own restart, whichever worker
-- has the shard by then. They hold a token: each is JSON, encrypted with a key that is made from the bot's token, which is in no table.
-- Written by src/cache/voice; read by gRPC GetVoiceConnections, never by State.
create table gateway_voice (
  guild_id int8 primary key,
  state bytea,
  server bytea,
  updated_at timestamptz not null default now()
);
