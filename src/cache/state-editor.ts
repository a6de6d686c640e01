/** Rows that a client of State writes by hand, as the ancestor's POST and DELETE routes do. */
import { int8, int8Array, type QueryPort } from './state/merged-lookup.ts'

const KEYS = { channels: 'id', members: 'user_id', roles: 'id' } as const
export type EditedTable = keyof typeof KEYS

export class StateEditor {
  readonly #db: QueryPort

  constructor(database: QueryPort) {
    this.#db = database
  }

  /**
   * Inserts or replaces each.
   *
   * @param text a JSON object of objects by id, as it came: numbers are not read by JavaScript.
   * @param ids its keys.
   */
  async put(
    table: EditedTable,
    guildId: string,
    ids: readonly string[],
    text: string,
  ): Promise<void> {
    const key = KEYS[table]
    // "1" and "01" are one row, and a statement may not write a row twice.
    const unique = new Map(ids.map((id) => [int8(id), id]))
    const keys = [...unique.keys()].sort()
    await this.#db.query(
      `insert into ${table} as t (guild_id, ${key}, data)
       select $1::int8, k.id, $2::jsonb -> k.name
       from unnest($3::int8[], $4::text[]) as k(id, name) order by k.id
       on conflict (guild_id, ${key}) do update set data = excluded.data
         where t.data is distinct from excluded.data`,
      [int8(guildId), text, `{${keys.join(',')}}`, keys.map((id) => unique.get(id)!)],
      `state_put_${table}`,
    )
  }

  /** Deletes those of the guild that are there. */
  async remove(table: EditedTable, guildId: string, ids: readonly string[]): Promise<void> {
    await this.#db.query(
      `delete from ${table} where guild_id = $1::int8 and ${KEYS[table]} = any($2::int8[])`,
      [int8(guildId), int8Array(ids)],
      `state_remove_${table}`,
    )
  }

  /** Deletes all of the guild. */
  async wipe(table: EditedTable, guildId: string): Promise<void> {
    await this.#db.query(`delete from ${table} where guild_id = $1::int8`, [int8(guildId)])
  }
}
