import { FieldReader, snowflakeAt } from '../etf/index.ts'

/** Their own id is the guild's; other events carry guild_id. */
export const GUILD_EVENTS: ReadonlySet<string> = new Set([
  'GUILD_CREATE',
  'GUILD_UPDATE',
  'GUILD_DELETE',
])

/** Finds the guild that an event belongs to, without decoding it. */
export class GuildReader {
  readonly #fields = new FieldReader(['guild_id', 'id'])

  /** @returns null for an event of no guild, and for a term that cannot be read. */
  read(eventName: string, bytes: Uint8Array, start: number, end: number): bigint | null {
    const { starts, ends } = this.#fields
    try {
      this.#fields.read(bytes, start, end)
    } catch {
      return null
    }
    if (starts[0] !== -1) return snowflakeAt(bytes, starts[0]!, ends[0]!)
    if (starts[1] === -1 || !GUILD_EVENTS.has(eventName)) return null
    return snowflakeAt(bytes, starts[1]!, ends[1]!)
  }
}
