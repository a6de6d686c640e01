-- Identifies that an operator lets pass reserve and breaker (gatewayctl identifies -allow n). One row per bot,
-- because budget and breaker are the bot's; whichever worker asks first uses one up.
create table gateway_identify_allowance (
  bot_user_id int8 primary key,
  remaining int4 not null check (remaining >= 0),
  updated_at timestamptz not null default now()
);
