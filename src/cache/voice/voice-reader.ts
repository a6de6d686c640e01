/** The bot's voice connections as GetVoiceConnections serves them. They hold a secret: nobody else may read them. */
import type { Database } from '../database.ts'
import { placeOf } from './voice-store.ts'
import type { VoiceSeal } from './voice-seal.ts'

export interface VoiceConnection {
  readonly guildId: bigint
  /** `d` of the events, as JSON text. */
  readonly state: Buffer
  readonly server: Buffer
  readonly updatedAtMs: number
}

interface Row {
  readonly guild_id: string
  readonly state: Buffer
  readonly server: Buffer
  readonly updated_at: Date
}

const PAGE_ROWS = 500

export class VoiceReader {
  readonly #database: Database
  readonly #seal: VoiceSeal

  constructor(database: Database, seal: VoiceSeal) {
    this.#database = database
    this.#seal = seal
  }

  /** By guild, a page at a time. Only where both events have come. @param guildIds none: every guild. */
  async *read(guildIds: readonly bigint[]): AsyncGenerator<VoiceConnection> {
    let after = 0n
    for (;;) {
      const rows = await this.#database.query<Row>(
        `select guild_id, state, server, updated_at from gateway_voice
where guild_id > $1::int8 and ($2::int8[] is null or guild_id = any($2::int8[])) and state is not null and server is not null
order by guild_id limit ${PAGE_ROWS}`,
        [after, guildIds.length === 0 ? null : guildIds],
        'gateway_voice_read',
      )
      for (const row of rows) {
        after = BigInt(row.guild_id)
        const state = this.#seal.open(row.state, placeOf(after, 'state'))
        const server = this.#seal.open(row.server, placeOf(after, 'server'))
        // Of another token of the bot: its voice sessions have ended.
        if (state === null || server === null) continue
        yield { guildId: after, state, server, updatedAtMs: row.updated_at.getTime() }
      }
      if (rows.length < PAGE_ROWS) return
    }
  }
}
