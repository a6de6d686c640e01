/** Guild state as rows: what is expected, what Postgres holds, and where the two differ. */
import type { Finding } from './finding.ts'
import { firstDifference } from './json-form.ts'
import type { Json, JsonMap } from './json-form.ts'

export const STATE_TABLES = [
  'guilds',
  'membership',
  'channels',
  'threads',
  'roles',
  'emojis',
  'members',
  'voice_states',
  'presence',
  'bans',
  'scheduled_events',
  'soundboard_sounds',
  'stage_instances',
] as const
export type StateTable = (typeof STATE_TABLES)[number]

/** Columns by name; `data` is the stored object. */
export type Row = JsonMap
/** Table → key → row. Keys are `guild`, or `guild/id`. */
export type State = Readonly<Record<StateTable, ReadonlyMap<string, Row>>>

/** Runs one statement; rows as objects whose int8 columns may be string, number or bigint. */
export type Query = (sql: string) => Promise<readonly Record<string, unknown>[]>

const SELECTS: Readonly<Record<StateTable, string>> = {
  guilds: `select id::text as key, data, unavailable from guilds`,
  membership: `select id::text as key, state from guilds_persistent`,
  channels: `select guild_id::text || '/' || id::text as key, data from channels`,
  threads: `select guild_id::text || '/' || id::text as key, data, parent_id::text as parent_id from threads`,
  roles: `select guild_id::text || '/' || id::text as key, data from roles`,
  emojis: `select guild_id::text || '/' || id::text as key, data from emojis`,
  members: `select guild_id::text || '/' || user_id::text as key, data from members`,
  voice_states: `select guild_id::text || '/' || user_id::text as key, data from voice_states`,
  presence: `select guild_id::text || '/' || user_id::text as key, data from presence`,
  bans: `select guild_id::text || '/' || user_id::text as key, data from bans`,
  scheduled_events: `select guild_id::text || '/' || id::text as key, data from scheduled_events`,
  soundboard_sounds: `select guild_id::text || '/' || id::text as key, data from soundboard_sounds`,
  stage_instances: `select guild_id::text || '/' || id::text as key, data from stage_instances`,
}

/** The state that a database holds; `data` parsed, as pg does with jsonb. */
export async function readState(query: Query): Promise<State> {
  const state: Partial<Record<StateTable, Map<string, Row>>> = {}
  for (const table of STATE_TABLES) {
    const rows = new Map<string, Row>()
    for (const { key, ...row } of await query(SELECTS[table])) {
      rows.set(String(key), { ...row } as Row)
    }
    state[table] = rows
  }
  return state as State
}

/**
 * Compares State with what a client could know.
 *
 * @param expected one state, or several where it cannot be known which of some events were taken: then each row must
 *   be as in one of them.
 */
export function checkState(expected: State | readonly State[], actual: State): Finding[] {
  const alternatives = Array.isArray(expected)
    ? (expected as readonly State[])
    : [expected as State]
  const findings: Finding[] = []
  for (const table of STATE_TABLES) {
    const keys = new Set(actual[table].keys())
    for (const state of alternatives) for (const key of state[table].keys()) keys.add(key)
    for (const key of keys) {
      const row = actual[table].get(key)
      const wanted = alternatives.map((state) => state[table].get(key))
      const differences = wanted.map((entry) => rowDifference(table, entry, row))
      if (differences.includes(null)) continue
      findings.push(rowFinding(table, key, wanted[0], row, differences[0] ?? '.'))
    }
  }
  return findings
}

/** The path of the first difference; null: equal. */
function rowDifference(table: StateTable, wanted?: Row, actual?: Row): string | null {
  if (wanted === undefined && actual === undefined) return null
  if (wanted === undefined || actual === undefined) return '.'
  return firstDifference(comparable(table, wanted), comparable(table, actual))
}

/** What two right answers may differ in is left out. */
function comparable(table: StateTable, row: Row): Json {
  const data = row['data']
  if (data === null || typeof data !== 'object' || Array.isArray(data)) return row
  const kept = new Map(Object.entries(data as JsonMap))
  // The key of the row; GUILD_CREATE's channels do not carry it, CHANNEL_CREATE does.
  kept.delete('guild_id')
  // What GUILD_CREATE says about itself is a column here.
  if (table === 'guilds') kept.delete('unavailable')
  // The event's own keys, not the thread's.
  if (table === 'threads') for (const key of ['newly_created', 'member']) kept.delete(key)
  if (table === 'voice_states') kept.delete('member')
  return { ...row, data: Object.fromEntries(kept) }
}

function rowFinding(
  table: StateTable,
  key: string,
  wanted: Row | undefined,
  actual: Row | undefined,
  path: string,
): Finding {
  if (actual === undefined) {
    return { what: 'row_missing', table, key, text: `${table} ${key} is not there` }
  }
  if (wanted === undefined) {
    return {
      what: 'row_unexpected',
      table,
      key,
      text: `${table} ${key} is there, and nobody told of it`,
    }
  }
  const shown = `${shorten(valueAt(actual, path))}, expected ${shorten(valueAt(wanted, path))}`
  return {
    what: 'row_differs',
    table,
    key,
    path,
    text: `${table} ${key} differs at ${path}: ${shown}`,
  }
}

function valueAt(row: Row, path: string): Json | undefined {
  let value: Json | undefined = row
  for (const key of path.split('.').filter((part) => part !== '')) {
    if (value === null || typeof value !== 'object') return undefined
    value = (value as { readonly [key: string]: Json })[key]
  }
  return value
}

function shorten(value: Json | undefined): string {
  const text = JSON.stringify(value) ?? 'nothing'
  return text.length > 80 ? `${text.slice(0, 80)}…` : text
}
