import type { JsonLike, JsonObject } from './json.ts'
import type { Guild, Universe } from './universe.ts'

/** Something that Discord tells: to the sessions whose shard and intents it concerns. */
export interface WorldEvent {
  readonly t: string
  /** null: it has no guild and goes to shard 0 (direct messages, entitlements, subscriptions). */
  readonly guildId: bigint | null
  readonly d: JsonObject
  /** Any of these bits makes it come, 0 = always; without it the table in src/discord decides. */
  readonly intents?: number
}

/** What decides about what a session sees. */
export interface ClientView {
  readonly intents: number
  readonly largeThreshold: number
  readonly botUserId: bigint
}

/** One kind of change. An empty list means that this guild cannot have it: another is tried. */
export type Mutation = (universe: Universe, guild: Guild) => WorldEvent[]

export function event(
  t: string,
  guildId: bigint | null,
  d: { readonly [key: string]: JsonLike },
  intents?: number,
): WorldEvent {
  return intents === undefined ? { t, guildId, d } : { t, guildId, d, intents }
}
