/** Snowflakes. See [Discord Docs/API Reference#snowflakes]. */

/** 2015-01-01T00:00:00Z in ms. */
export const DISCORD_EPOCH_MS = 1_420_070_400_000n

/** The shard that a guild's events come to. See [Discord Docs/Gateway#sharding-sharding-formula]. */
export function shardOfGuild(guildId: bigint, shardCount: number): number {
  return Number((guildId >> 22n) % BigInt(shardCount))
}

/** Whether `text` is a decimal snowflake: 1 to 20 digits, no sign, below 2^64, not zero. */
export function isSnowflake(text: string): boolean {
  if (!/^[0-9]{1,20}$/.test(text)) return false
  const value = BigInt(text)
  return value > 0n && value < 1n << 64n
}

/** When the snowflake was made, in ms since the Unix epoch. */
export function snowflakeTimeMs(id: bigint): number {
  return Number((id >> 22n) + DISCORD_EPOCH_MS)
}

/** The bot's user id, which is the token's first part in base64. Null for anything else. */
export function userIdOfToken(token: string): string | null {
  const first = token.replace(/^Bot /, '').split('.')[0] ?? ''
  const text = Buffer.from(first, 'base64url').toString('latin1')
  return isSnowflake(text) ? text : null
}
