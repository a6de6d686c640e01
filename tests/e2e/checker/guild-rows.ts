/** Rows of all tables, guild by guild, with the wide changes that one event may make. */
import type { JsonMap } from './json-form.ts'
import { STATE_TABLES } from './state.ts'
import type { Row, State, StateTable } from './state.ts'

/** Child id → row; a guild's own row has the child id ''. */
type Children = Map<string, Row>
type Guilds = Map<string, Children>

export class GuildRows {
  readonly #tables: ReadonlyMap<StateTable, Guilds> = new Map(
    STATE_TABLES.map((table) => [table, new Map()]),
  )

  get state(): State {
    const state: Partial<Record<StateTable, Map<string, Row>>> = {}
    for (const [table, guilds] of this.#tables) {
      const rows = new Map<string, Row>()
      for (const [guild, children] of guilds) {
        for (const [id, row] of children) rows.set(id === '' ? guild : `${guild}/${id}`, row)
      }
      state[table] = rows
    }
    return state as State
  }

  get(table: StateTable, guild: string, id: string): Row | undefined {
    return this.#tables.get(table)?.get(guild)?.get(id)
  }

  put(table: StateTable, guild: string, id: string, row: Row): void {
    const guilds = this.#tables.get(table)!
    const children = guilds.get(guild)
    if (children === undefined) guilds.set(guild, new Map([[id, row]]))
    else children.set(id, row)
  }

  delete(table: StateTable, guild: string, id: string): void {
    this.#tables.get(table)?.get(guild)?.delete(id)
  }

  /** Merges into the stored object; inserts the row when there is none, if `isInserted`. */
  merge(table: StateTable, guild: string, id: string, data: JsonMap, isInserted: boolean): void {
    const row = this.get(table, guild, id)
    if (row === undefined && !isInserted) return
    const before = (row?.['data'] ?? {}) as JsonMap
    this.put(table, guild, id, { ...row, data: { ...before, ...data } })
  }

  /** Deletes the guild's rows of a table for which `isGone` holds. */
  sweep(table: StateTable, guild: string, isGone: (row: Row) => boolean = () => true): void {
    const children = this.#tables.get(table)?.get(guild)
    for (const [id, row] of children ?? []) if (isGone(row)) children?.delete(id)
  }

  /** The guild and all that hangs on it. */
  removeGuild(guild: string): void {
    for (const table of STATE_TABLES) if (table !== 'membership') this.sweep(table, guild)
  }

  rowsOf(table: StateTable, guild: string): [string, Row][] {
    return [...(this.#tables.get(table)?.get(guild) ?? [])]
  }
}
