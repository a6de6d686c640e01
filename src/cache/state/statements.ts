import { TABLES } from '../tables.ts'
import type { LookupStatement } from './merged-lookup.ts'
import type { ListStatement } from './row-pages.ts'

// `n` is int4: an int8 would reach JavaScript as a string. The inner `select` hides how many keys there are: a plan for one key
// looks so much cheaper than the plan for any number that Postgres would plan anew for each query, for longer than it then works.
const KEY = 'unnest((select $1::int8[])) with ordinality as k(id, n)'
const PAIR = 'unnest((select $1::int8[]), (select $2::int8[])) with ordinality as k(a, b, n)'
/** The stored object lacks it where Discord leaves it out: inside GUILD_CREATE. */
const CHANNEL = "(t.data || jsonb_build_object('guild_id', t.guild_id::text))::text"

/** What `?with=` adds to a guild: key in the answer → its select, of one text; bit = place. */
const WITH: Readonly<Record<string, string>> = {
  channels: children('channels', 'id', CHANNEL),
  emojis: children('emojis', 'id'),
  me: `coalesce((select m.data::text from gateway_fleet f
    cross join ${memberOf('t.id', 'f.bot_user_id')} as m), 'null')`,
  roles: children('roles', 'id'),
  scheduled_events: children('scheduled_events', 'id'),
  soundboard_sounds: children('soundboard_sounds', 'id'),
  stage_instances: children('stage_instances', 'id'),
  threads: children('threads', 'id'),
  voice_states: children('voice_states', 'user_id'),
}
/** 'l', 'm' and 'p' for what is whole; of a guild in an outage nothing is told. */
const WHOLE = `case when t.unavailable then '' else
  (case when t.gap_at is null then 'l' else '' end) || (case when t.members_complete then 'm' else '' end)
  || (case when t.presences_complete then 'p' else '' end) end`
/** What may stand in `?with=`. */
export const GUILD_CHILDREN: readonly string[] = Object.keys(WITH)

export const LOOKUPS = {
  user: lookup(
    'user',
    `${KEY} cross join lateral (
       select m.data->'user' as data from members m
       where m.user_id = k.id and m.data ? 'user' order by m.last_updated desc limit 1
     ) as t`,
  ),
  channel: lookup('channel', `${KEY} ${rowOf('channels', 't.id = k.id')}`, CHANNEL),
  message: lookup(
    'message',
    `${PAIR} ${rowOf('messages', 't.id = k.b')} where t.data->>'channel_id' = k.a::text`,
  ),
  guild: lookup('guild', `${KEY} ${rowOf('guilds', 't.id = k.id')}`),
  /** The second key holds the bits of GUILD_CHILDREN that are asked for. */
  guildWith: lookup(
    'guild_with',
    `${PAIR} ${rowOf('guilds', 't.id = k.a')}`,
    `left((t.data - array[${GUILD_CHILDREN.map((name) => `'${name}'`).join(',')}])::text, -1)
      ${Object.entries(WITH)
        .map(
          ([name, select], bit) =>
            `|| case when k.b & ${1 << bit} <> 0 then ',"${name}":' || ${select} else '' end`,
        )
        .join('\n      ')} || '}'`,
  ),
  guildState: lookup(
    'guild_state',
    `${KEY} left join guilds_persistent p on p.id = k.id left join guilds t on t.id = k.id
     where p.id is not null or t.id is not null`,
    `jsonb_build_object('id', coalesce(p.id, t.id)::text, 'state', p.state, 'since', p.since,
       'is_cached', t.id is not null, 'unavailable', coalesce(t.unavailable, false),
       'gap_at', t.gap_at, 'bans_since', t.bans_since,
       'members_complete', coalesce(t.members_complete, false), 'members_as_of', t.members_as_of,
       'presences_complete', coalesce(t.presences_complete, false), 'presences_as_of', t.presences_as_of)::text`,
  ),
  /** Which lists of a guild are whole: all that GUILD_CREATE repeats, members, presences. */
  guildWhole: lookup('guild_whole', `${KEY} ${rowOf('guilds', 't.id = k.id')}`, WHOLE),
  channelWhole: lookup(
    'channel_whole',
    `${KEY} join channels c on c.id = k.id join guilds t on t.id = c.guild_id`,
    WHOLE,
  ),
  guildCounts: lookup(
    'guild_counts',
    `${KEY} ${rowOf('guilds', 't.id = k.id')} left join gateway_fleet f on true`,
    `jsonb_build_object('member_count', t.data->'member_count', ${TABLES.filter(
      ({ kind }) => kind !== 'guilds',
    )
      .map(
        ({ name, kind }) => `'${name}', case when f.cached is null or '${kind}' = any(f.cached)
          then (select count(*) from ${name} c where c.guild_id = t.id) end`,
      )
      .join(', ')})::text`,
  ),
  member: lookup('member', `${PAIR} cross join ${memberOf('k.a', 'k.b')} as t`),
  presence: lookup(
    'presence',
    `${PAIR} ${rowOf('presence', 't.guild_id = k.a and t.user_id = k.b')}`,
  ),
  scheduledEvent: lookup(
    'scheduled_event',
    `${PAIR} ${rowOf('scheduled_events', 't.guild_id = k.a and t.id = k.b')}`,
  ),
  stageInstance: lookup(
    'stage_instance',
    `${PAIR} ${rowOf('stage_instances', 't.guild_id = k.a and t.id = k.b')}`,
  ),
  soundboardSound: lookup(
    'soundboard_sound',
    `${PAIR} ${rowOf('soundboard_sounds', 't.guild_id = k.a and t.id = k.b')}`,
  ),
  role: lookup('role', `${PAIR} ${rowOf('roles', 't.guild_id = k.a and t.id = k.b')}`),
  emoji: lookup('emoji', `${PAIR} ${rowOf('emojis', 't.guild_id = k.a and t.id = k.b')}`),
  thread: lookup('thread', `${KEY} ${rowOf('threads', 't.id = k.id')}`),
  ban: lookup('ban', `${PAIR} ${rowOf('bans', 't.guild_id = k.a and t.user_id = k.b')}`),
  voiceState: lookup(
    'voice_state',
    `${PAIR} ${rowOf('voice_states', 't.guild_id = k.a and t.user_id = k.b')}`,
  ),
  sticker: lookup(
    'sticker',
    `${PAIR} join guilds g on g.id = k.a cross join lateral (
       select s.data from jsonb_array_elements(${stickersOf('g')}) as s(data)
       where s.data->>'id' = k.b::text limit 1
     ) as t`,
  ),
  /** What memberPermissions needs: in a channel or thread (its parent's overwrites), and in the guild. */
  channelGrants: lookup(
    'channel_grants',
    `${PAIR} join lateral (
       select c.guild_id, c.data, false as is_thread from channels c where c.id = k.a
       union all
       select h.guild_id, c.data, true from threads h
         join channels c on c.id = h.parent_id and c.guild_id = h.guild_id where h.id = k.a
     ) as c on true ${grants('c.guild_id', 'k.b')}`,
    `jsonb_build_object(${grantFields()}, 'channel', jsonb_build_object('type', c.data->'type',
       'isThread', c.is_thread, 'overwrites', coalesce(c.data->'permission_overwrites', '[]')))::text`,
  ),
  guildGrants: lookup(
    'guild_grants',
    `${PAIR} ${grants('k.a', 'k.b')}`,
    `jsonb_build_object(${grantFields()})::text`,
  ),
} as const

export const LISTS = {
  guilds: list('guilds', 'guilds', 'id', 'true', "jsonb_build_object('id', t.id::text)::text"),
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
  guildBans: list('guild_bans', 'bans', 'user_id', 't.guild_id = $3::int8'),
  guildPresences: list('guild_presences', 'presence', 'user_id', 't.guild_id = $3::int8'),
  guildScheduledEvents: list(
    'guild_scheduled_events',
    'scheduled_events',
    'id',
    't.guild_id = $3::int8',
  ),
  guildStageInstances: list(
    'guild_stage_instances',
    'stage_instances',
    'id',
    't.guild_id = $3::int8',
  ),
  guildSoundboardSounds: list(
    'guild_soundboard_sounds',
    'soundboard_sounds',
    'id',
    't.guild_id = $3::int8',
  ),
  guildVoiceStates: list('guild_voice_states', 'voice_states', 'user_id', 't.guild_id = $3::int8'),
  guildStickers: {
    name: 'state_guild_stickers',
    rows: `select t.id as after, t.body from (
        select (s.data->>'id')::int8 as id, s.data::text as body
        from guilds g cross join lateral jsonb_array_elements(${stickersOf('g')}) as s(data)
        where g.id = $3::int8
      ) as t where t.id > $1::int8`,
  },
  channelThreads: list('channel_threads', 'threads', 'id', 't.parent_id = $3::int8'),
  threads: list('threads', 'threads', 'id', 'true'),
  /** Neither session id nor resume URL: with them and the token a session can be taken over. */
  shards: {
    name: 'state_shards',
    rows: `select t.shard::int8 as after, jsonb_build_object('shard', t.shard, 'shard_count', t.shard_count,
        'has_session', t.session_id is not null, 'sequence', t.sequence, 'intents', t.intents,
        'owner', t.owner, 'acknowledged_at', t.updated_at)::text as body
      from gateway_sessions t join gateway_fleet f on f.name = t.name where t.shard > $1::int8`,
  },
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

export const COUNTS = {
  name: 'state_counts',
  text: `select jsonb_build_object('guilds', count(*), 'unavailable', count(*) filter (where unavailable),
      'member_count', coalesce(sum(case when jsonb_typeof(data->'member_count') = 'number'
        then (data->>'member_count')::int8 end), 0))::text as body from guilds`,
} as const

function lookup(name: string, from: string, body = 't.data::text'): LookupStatement {
  return { name: `state_${name}`, text: `select k.n::int4 as n, ${body} as body from ${from}` }
}

/** The table's row for each key, by an index: a join that was planned while the table was small would read all of it. */
function rowOf(table: string, condition: string): string {
  return `cross join lateral (select * from ${table} t where ${condition} offset 0) as t`
}

/**
 * A member by the primary key, as `isRow` in tables.ts has it: by the index of users it would be looked for in every guild of the
 * user, and the bot is in all of them.
 */
function memberOf(guildId: string, userId: string): string {
  return `lateral (select m.data from members m
    where m.guild_id = ${guildId} and m.user_id between ${userId} and ${userId} offset 0)`
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

function children(table: string, key: string, body = 't.data::text'): string {
  return `'[' || coalesce((select string_agg(c.body, ',' order by c.key) from (
    select t.${key} as key, ${body} as body from ${table} t where t.guild_id = k.a) as c), '') || ']'`
}

/** GUILD_CREATE and GUILD_STICKERS_UPDATE bring them as one list of the guild. */
function stickersOf(guild: string): string {
  return `case when jsonb_typeof(${guild}.data->'stickers') = 'array' then ${guild}.data->'stickers' else '[]' end`
}

/** Joins the guild, the member and @everyone: without one of them nothing can be said. */
function grants(guildId: string, userId: string): string {
  return `join guilds g on g.id = ${guildId}
    cross join ${memberOf(guildId, userId)} as m
    join roles e on e.guild_id = ${guildId} and e.id = ${guildId}`
}

function grantFields(): string {
  return `'guildId', g.id::text, 'ownerId', g.data->'owner_id', 'roleIds', coalesce(m.data->'roles', '[]'),
    'timedOutUntil', m.data->'communication_disabled_until',
    'roles', jsonb_build_object(g.id::text, e.data->>'permissions') || coalesce((
      select jsonb_object_agg(r.id::text, r.data->>'permissions') from roles r
      where r.guild_id = g.id and m.data->'roles' ? r.id::text), '{}')`
}
