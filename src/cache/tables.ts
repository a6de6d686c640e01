/**
 * The tables whose rows are objects of Discord's, and the one statement that writes each.
 *
 * MERGE joins the batch with the table first, so an unchanged row is neither locked nor written, and a
 * changed one is found once. Nobody else writes a guild's rows (the fences see to that), so the lack of
 * ON CONFLICT's protection against concurrent inserts costs nothing.
 */
import type { StateKind } from '../discord/index.ts'

/** What happens to a row; the code is the parameter's byte. */
export const PUT = 0x50 // 'P': insert, or replace the object
export const MERGE = 0x4d // 'M': insert, or merge the object's keys into the stored one
export const PATCH = 0x55 // 'U': merge into the stored one, nothing without it
export const DELETE = 0x44 // 'D'
export type RowChange = typeof PUT | typeof MERGE | typeof PATCH | typeof DELETE

export interface Table {
  readonly name: string
  readonly kind: StateKind
  /** int8 columns, in the order in which an event's ids are written down; the key first. */
  readonly columns: readonly string[]
  readonly keyCount: number
  /** Parameters: "char"[] of changes, int8[] per column, jsonb[] of objects, then text[] if `hasText`. */
  readonly sql: string
  readonly hasText: boolean
}

interface TableShape {
  readonly name: StateKind | 'presence'
  readonly columns: readonly string[]
  readonly keyCount: number
  /** Further assignments when an object is put (`P`) or merged, with their comparison. */
  readonly extra?: { readonly isChanged: string; readonly set: string }
  /** Always assigned when a row changes. */
  readonly stamp?: string
}

/**
 * A row by both columns of its primary key, through the index of that key. Other indexes have one of the two: as an average user
 * is in few guilds, Postgres takes the index of users for as good, and reads every guild of a user who is in all of them. Of a
 * range it expects more rows, so it wants both columns; at work a range of one value costs what the value costs.
 */
function isRow(first: string, second: string): string {
  return `t.${first} = i.${first} and t.${second} between i.${second} and i.${second}`
}

function table(shape: TableShape): Table {
  const { name, columns, keyCount, extra, stamp } = shape
  const placeholders = [
    '$1::"char"[]',
    ...columns.map((_, index) => `$${index + 2}::int8[]`),
    `$${columns.length + 2}::jsonb[]`,
  ]
  const input = ['op', ...columns, 'data']
  const [first, second] = columns
  const key = keyCount === 1 ? `t.${first} = i.${first}` : isRow(first!, second!)
  const also = stamp === undefined ? '' : `, ${stamp}`
  const set = extra === undefined ? '' : `, ${extra.set}`
  const isChanged = extra === undefined ? '' : ` or ${extra.isChanged}`
  // An id of 0 stands for "none": no snowflake is 0.
  const values = columns.map((column, index) =>
    index < keyCount ? `i.${column}` : `nullif(i.${column}, 0)`,
  )
  return {
    name,
    kind: name === 'presence' ? 'presences' : name,
    columns,
    keyCount,
    hasText: false,
    sql: `merge into ${name} t
using unnest(${placeholders.join(', ')}) as i (${input.join(', ')})
on ${key}
when matched and i.op = 'D' then delete
when matched and i.op = 'P' and (t.data is distinct from i.data${isChanged}) then update set data = i.data${set}${also}
when matched and i.op in ('M', 'U') and t.data || i.data is distinct from t.data then update set data = t.data || i.data${also}
when not matched and i.op in ('P', 'M') then insert (${columns.join(', ')}, data) values (${values.join(', ')}, i.data)`,
  }
}

export const BANS: Table = table({ name: 'bans', columns: ['guild_id', 'user_id'], keyCount: 2 })
export const CHANNELS: Table = table({
  name: 'channels',
  columns: ['id', 'guild_id'],
  keyCount: 2,
})
export const EMOJIS: Table = table({ name: 'emojis', columns: ['id', 'guild_id'], keyCount: 2 })
/** Bits of a guild's `whole` column: lists of a GUILD_CREATE that hold everything, kept up to date by events. */
export const WHOLE_MEMBERS = 1
export const WHOLE_PRESENCES = 2
export const WHOLE_BANS = 4

/**
 * A GUILD_CREATE ends what a gap or an outage left unknown of the lists that it repeats. A list that it does not hold whole is no
 * longer known to be: unless it is a replay, that is, of the session and not above the sequence that the row has.
 */
const IS_REPLAY = 't.count_session_id = i.count_session_id and i.count_sequence <= t.count_sequence'
/** A replay has an old count: that of the row is of a later sequence. */
const GUILD_DATA = `case when ${IS_REPLAY} and t.data ? 'member_count'
    then i.data || jsonb_build_object('member_count', t.data->'member_count') else i.data end`
const isWhole = (list: string, bit: number): string =>
  `(i.whole & ${bit} <> 0 or (t.${list}_complete and ${IS_REPLAY}))`
const asOf = (list: string, bit: number): string =>
  `case when i.whole & ${bit} <> 0 and not (t.${list}_complete and ${IS_REPLAY}) then now() else t.${list}_as_of end`
const firstAsOf = (bit: number): string => `case when i.whole & ${bit} <> 0 then now() end`

/** Columns: the guild, the sequence of its count, and `whole`, which is no column of the table. */
export const GUILDS: Table = {
  name: 'guilds',
  kind: 'guilds',
  columns: ['id', 'count_sequence', 'whole'],
  keyCount: 1,
  hasText: true,
  sql: `merge into guilds t
using unnest($1::"char"[], $2::int8[], $3::int8[], $4::int8[], $5::jsonb[], $6::text[])
  as i (op, id, count_sequence, whole, data, count_session_id)
on t.id = i.id
when matched and i.op = 'D' then delete
when matched and i.op = 'P' and (t.data is distinct from ${GUILD_DATA} or t.unavailable or t.gap_at is not null
    or not (${IS_REPLAY})
    or t.members_complete <> ${isWhole('members', WHOLE_MEMBERS)}
    or t.presences_complete <> ${isWhole('presences', WHOLE_PRESENCES)})
  then update set data = ${GUILD_DATA}, unavailable = false, gap_at = null,
    count_session_id = i.count_session_id, count_sequence = case when ${IS_REPLAY} then t.count_sequence else i.count_sequence end,
    members_complete = ${isWhole('members', WHOLE_MEMBERS)}, members_as_of = ${asOf('members', WHOLE_MEMBERS)},
    presences_complete = ${isWhole('presences', WHOLE_PRESENCES)}, presences_as_of = ${asOf('presences', WHOLE_PRESENCES)},
    bans_since = case when i.whole & ${WHOLE_BANS} = 0 then null when t.unavailable then now() else coalesce(t.bans_since, now()) end
when matched and i.op in ('M', 'U') and t.data || i.data is distinct from t.data then update set data = t.data || i.data
when not matched and i.op in ('P', 'M') then
  insert (id, count_sequence, count_session_id, data, members_complete, members_as_of, presences_complete, presences_as_of, bans_since)
  values (i.id, i.count_sequence, i.count_session_id, i.data,
    i.whole & ${WHOLE_MEMBERS} <> 0, ${firstAsOf(WHOLE_MEMBERS)},
    i.whole & ${WHOLE_PRESENCES} <> 0, ${firstAsOf(WHOLE_PRESENCES)}, ${firstAsOf(WHOLE_BANS)})`,
}
export const MEMBERS: Table = table({
  name: 'members',
  columns: ['guild_id', 'user_id'],
  keyCount: 2,
  stamp: `last_updated = now() at time zone 'utc'`,
})
export const PRESENCE: Table = table({
  name: 'presence',
  columns: ['user_id', 'guild_id'],
  keyCount: 2,
})
export const ROLES: Table = table({ name: 'roles', columns: ['id', 'guild_id'], keyCount: 2 })
export const SCHEDULED_EVENTS: Table = table({
  name: 'scheduled_events',
  columns: ['id', 'guild_id'],
  keyCount: 2,
})
export const SOUNDBOARD_SOUNDS: Table = table({
  name: 'soundboard_sounds',
  columns: ['id', 'guild_id'],
  keyCount: 2,
})
export const STAGE_INSTANCES: Table = table({
  name: 'stage_instances',
  columns: ['id', 'guild_id'],
  keyCount: 2,
})
export const THREADS: Table = table({
  name: 'threads',
  columns: ['id', 'guild_id', 'owner_id', 'parent_id'],
  keyCount: 1,
  extra: {
    isChanged: 't.parent_id is distinct from nullif(i.parent_id, 0)',
    set: 'owner_id = nullif(i.owner_id, 0), parent_id = nullif(i.parent_id, 0)',
  },
})
export const VOICE_STATES: Table = table({
  name: 'voice_states',
  columns: ['guild_id', 'user_id'],
  keyCount: 2,
})

/** In the order in which a transaction touches them: guilds first, whose rows say what member_count starts from. */
export const TABLES: readonly Table[] = [
  GUILDS,
  BANS,
  CHANNELS,
  EMOJIS,
  MEMBERS,
  PRESENCE,
  ROLES,
  SCHEDULED_EVENTS,
  SOUNDBOARD_SOUNDS,
  STAGE_INSTANCES,
  THREADS,
  VOICE_STATES,
]
