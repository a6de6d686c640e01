/** As the proto names it. GUILD_STREAM: the session is there, its guilds are still coming in. */
export type ShardStatus = 'DISCONNECTED' | 'CONNECTING' | 'GUILD_STREAM' | 'CONNECTED'

export interface ShardStat {
  readonly shard: number
  readonly status: ShardStatus
  /** Dispatches per second, over the last seconds. */
  readonly eventRate: number
}

/**
 * What the management service asks of this process; cmd/gateway implements it with the shard
 * manager. Calls reject with a ServerError (SERVER_SHARD_NOT_FOUND, SERVER_SHARD_NOT_READY) or with
 * any BaseError, whose message is handed to the caller.
 */
export interface GatewayControl {
  readonly version: string
  stats(): readonly ShardStat[]
  /** Closes the shard's connection resumably; resolves when that is on its way. */
  restartShard(shardId: number): Promise<void>
  /** Sends op 8 for every member of the guild through the shard. */
  requestGuildMembers(guildId: bigint, shardId: number): Promise<void>
}
