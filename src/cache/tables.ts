/**
 * The tables whose rows are objects of Discord's, and the one statement that writes each.
 *
 * MERGE joins the batch with the table first, so an unchanged row is neither locked nor written, and a
 * changed one is found once. Nobody else writes a guild's rows (the fences see to that), so the lack of
 * ON CONFLICT's protection against concurrent inserts costs nothing.
 */

/** What happens to a row; the code is the parameter's byte. */
export const PUT = 0x50 // 'P': insert, or replace the object
export const MERGE = 0x4d // 'M': insert, or merge the object's keys into the stored one
export const PATCH = 0x55 // 'U': merge into the stored one, nothing without it
export const DELETE = 0x44 // 'D'
export type RowChange = typeof PUT | typeof MERGE | typeof PATCH | typeof DELETE

export interface Table {
  readonly name: string
  /** int8 columns, in the order in which an event's ids are written down; the key first. */
  readonly columns: readonly string[]
  readonly keyCount: number
  /** Parameters: "char"[] of changes, int8[] per column, jsonb[] of objects, then text[] if `hasText`. */
  readonly sql: string
  readonly hasText: boolean
}

interface TableShape {
  readonly name: string
  readonly columns: readonly string[]
  readonly keyCount: number
  /** Further assignments when an object is put (`P`) or merged, with their comparison. */
  readonly extra?: { readonly isChanged: string; readonly set: string }
  /** Always assigned when a row changes. */
  readonly stamp?: string
  readonly text?: string
}

function table(shape: TableShape): Table {
  const { name, columns, keyCount, extra, stamp, text } = shape
  const fields = text === undefined ? columns : [...columns, text]
  const placeholders = [
    '$1::"char"[]',
    ...columns.map((_, index) => `$${index + 2}::int8[]`),
    `$${columns.length + 2}::jsonb[]`,
    ...(text === undefined ? [] : [`$${columns.length + 3}::text[]`]),
  ]
  const input = ['op', ...columns, 'data', ...(text === undefined ? [] : [text])]
  const key = columns.slice(0, keyCount).map((column) => `t.${column} = i.${column}`)
  const also = stamp === undefined ? '' : `, ${stamp}`
  const set = extra === undefined ? '' : `, ${extra.set}`
  const isChanged = extra === undefined ? '' : ` or ${extra.isChanged}`
  // An id of 0 stands for "none": no snowflake is 0.
  const values = fields.map((field, index) =>
    index < keyCount || field === text ? `i.${field}` : `nullif(i.${field}, 0)`,
  )
  return {
    name,
    columns,
    keyCount,
    hasText: text !== undefined,
    sql: `merge into ${name} t
using unnest(${placeholders.join(', ')}) as i (${input.join(', ')})
on ${key.join(' and ')}
when matched and i.op = 'D' then delete
when matched and i.op = 'P' and (t.data is distinct from i.data${isChanged}) then update set data = i.data${set}${also}
when matched and i.op in ('M', 'U') and t.data || i.data is distinct from t.data then update set data = t.data || i.data${also}
when not matched and i.op in ('P', 'M') then insert (${fields.join(', ')}, data) values (${values.join(', ')}, i.data)`,
  }
}

const GUILD_EXTRA = ['count_sequence', 'count_session_id'] as const

export const BANS: Table = table({ name: 'bans', columns: ['guild_id', 'user_id'], keyCount: 2 })
export const CHANNELS: Table = table({
  name: 'channels',
  columns: ['id', 'guild_id'],
  keyCount: 2,
})
export const EMOJIS: Table = table({ name: 'emojis', columns: ['id', 'guild_id'], keyCount: 2 })
export const GUILDS: Table = table({
  name: 'guilds',
  columns: ['id', 'count_sequence'],
  keyCount: 1,
  text: 'count_session_id',
  extra: {
    isChanged: `t.unavailable or ${GUILD_EXTRA.map((column) => `t.${column} <> i.${column}`).join(' or ')}`,
    set: `unavailable = false, ${GUILD_EXTRA.map((column) => `${column} = i.${column}`).join(', ')}`,
  },
})
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

/** In the order in which a transaction touches them. */
export const TABLES: readonly Table[] = [
  BANS,
  CHANNELS,
  EMOJIS,
  GUILDS,
  MEMBERS,
  PRESENCE,
  ROLES,
  THREADS,
  VOICE_STATES,
]
