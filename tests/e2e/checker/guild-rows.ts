/** Rows of all tables, with the wide changes that one event may make. */
import type { JsonMap } from './json-form.ts'
import { STATE_TABLES } from './state.ts'
import type { Row, State, StateTable } from './state.ts'

export class GuildRows {
  readonly #tables: Record<StateTable, Map<string, Row>>

  constructor() {
    const empty = STATE_TABLES.map((table) => [table, new Map<string, Row>()] as const)
    this.#tables = Object.fromEntries(empty) as unknown as Record<StateTable, Map<string, Row>>
  }

  get state(): State {
    return this.#tables
  }

  get(table: StateTable, key: string): Row | undefined {
    return this.#tables[table].get(key)
  }

  put(table: StateTable, key: string, row: Row): void {
    this.#tables[table].set(key, row)
  }

  delete(table: StateTable, key: string): void {
    this.#tables[table].delete(key)
  }

  /** Merges into the stored object; inserts the row when there is none, if `isInserted`. */
  merge(table: StateTable, key: string, data: JsonMap, isInserted: boolean): void {
    const row = this.#tables[table].get(key)
    if (row === undefined && !isInserted) return
    const before = (row?.['data'] ?? {}) as JsonMap
    this.#tables[table].set(key, { ...row, data: { ...before, ...data } })
  }

  /** Deletes the guild's rows of a table for which `isGone` holds. */
  sweep(table: StateTable, guild: string, isGone: (row: Row) => boolean = () => true): void {
    const prefix = `${guild}/`
    for (const [key, row] of this.#tables[table]) {
      if (key.startsWith(prefix) && isGone(row)) this.#tables[table].delete(key)
    }
  }

  /** The guild and all that hangs on it. */
  removeGuild(guild: string): void {
    this.#tables.guilds.delete(guild)
    for (const table of STATE_TABLES) {
      if (table !== 'guilds' && table !== 'membership') this.sweep(table, guild)
    }
  }

  *rowsOf(table: StateTable, guild: string): Generator<[string, Row]> {
    const prefix = `${guild}/`
    for (const entry of this.#tables[table]) if (entry[0].startsWith(prefix)) yield entry
  }
}
