/** The guild of a channel or thread, for commands that name a channel. */
import type { Database } from './database.ts'

export class ChannelGuilds {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  /** Null: the cache does not know the channel. */
  async guildOf(channelId: bigint): Promise<bigint | null> {
    const [row] = await this.#database.query<{ guild_id: string }>(
      `select guild_id from channels where id = $1::int8
union all select guild_id from threads where id = $1::int8 and guild_id is not null limit 1`,
      [channelId],
      'gateway_guild_of_channel',
    )
    return row === undefined ? null : BigInt(row.guild_id)
  }
}
