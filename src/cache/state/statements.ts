import type { LookupStatement } from './merged-lookup.ts'
import type { ListStatement } from './row-pages.ts'

// `n` is int4: an int8 would reach JavaScript as a string.
const KEY = 'unnest($1::int8[]) with ordinality as k(id, n)'
const PAIR = 'unnest($1::int8[], $2::int8[]) with ordinality as k(a, b, n)'
/** The stored object lacks it where Discord leaves it out: inside GUILD_CREATE. */
const CHANNEL = "(t.data || jsonb_build_object('guild_id', t.guild_id::text))::text"

export const LOOKUPS = {
  user: lookup(
    'user',
    `${KEY} cross join lateral (
       select m.data->'user' as data from members m
       where m.user_id = k.id and m.data ? 'user' order by m.last_updated desc limit 1
     ) as t`,
  ),
  channel: lookup('channel', `${KEY} join channels t on t.id = k.id`, CHANNEL),
  message: lookup(
    'message',
    `${PAIR} join messages t on t.id = k.b where t.data->>'channel_id' = k.a::text`,
  ),
  guild: lookup('guild', `${KEY} join guilds t on t.id = k.id`),
  member: lookup('member', `${PAIR} join members t on t.guild_id = k.a and t.user_id = k.b`),
  presence: lookup('presence', `${PAIR} join presence t on t.guild_id = k.a and t.user_id = k.b`),
  role: lookup('role', `${PAIR} join roles t on t.guild_id = k.a and t.id = k.b`),
  emoji: lookup('emoji', `${PAIR} join emojis t on t.guild_id = k.a and t.id = k.b`),
  thread: lookup('thread', `${KEY} join threads t on t.id = k.id`),
} as const

export const LISTS = {
  guildChannels: list('guild_channels', 'channels', 'id', 't.guild_id = $3::int8', CHANNEL),
  guildMembers: list('guild_members', 'members', 'user_id', 't.guild_id = $3::int8'),
  membersMatching: list(
    'members_matching',
    'members',
    'user_id',
    `t.guild_id = $3::int8 and (${[
      "t.data->'user'->>'global_name'",
      "t.data->'user'->>'display_name'",
      "t.data->'user'->>'username'",
      "t.data->>'nick'",
    ]
      .map((name) => `${name} ilike $4::text or ${name} ilike $5::text`)
      .join(' or ')})`,
  ),
  membersWithRole: list(
    'members_with_role',
    'members',
    'user_id',
    "t.guild_id = $3::int8 and t.data->'roles' ? $4::text",
    "jsonb_build_object('id', t.user_id::text)::text",
  ),
  guildRoles: list('guild_roles', 'roles', 'id', 't.guild_id = $3::int8'),
  guildEmojis: list('guild_emojis', 'emojis', 'id', 't.guild_id = $3::int8'),
  guildThreads: list('guild_threads', 'threads', 'id', 't.guild_id = $3::int8'),
  channelThreads: list('channel_threads', 'threads', 'id', 't.parent_id = $3::int8'),
  threads: list('threads', 'threads', 'id', 'true'),
} as const

/**
 * The keys as the ancestor's struct writes them. `offset 0` holds the planner to one index scan per id:
 * without statistics it would read all members.
 */
export const USER_NAMES = {
  name: 'state_user_names',
  text: `select string_agg(jsonb_build_object('UserID', t.user_id::text, 'Username', t.username)::text,
      ',' order by k.n, t.guild_id) as bodies
    from ${KEY} cross join lateral (
      select m.user_id, m.guild_id, m.data->'user'->>'username' as username
      from members m where m.user_id = k.id offset 0
    ) as t`,
} as const

export const USER_IN_GUILDS = {
  name: 'state_user_in_guilds',
  text: 'select 1 from members where user_id = $1::int8 and guild_id = any($2::int8[]) limit 1',
} as const

export const USER_WITH_ROLE = {
  name: 'state_user_with_role',
  text: `select 1 from members where user_id = $1::int8 and guild_id = any($2::int8[])
    and data->'roles' ?| $3::text[] limit 1`,
} as const

function lookup(name: string, from: string, body = 't.data::text'): LookupStatement {
  return { name: `state_${name}`, text: `select k.n::int4 as n, ${body} as body from ${from}` }
}

function list(
  name: string,
  table: string,
  key: string,
  condition: string,
  body = 't.data::text',
): ListStatement {
  const rows = `select t.${key} as after, ${body} as body from ${table} t
    where t.${key} > $1::int8 and ${condition}`
  return { name: `state_${name}`, rows }
}
