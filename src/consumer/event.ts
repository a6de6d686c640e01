/** An event as a handler gets it: the payload shaped as `discord-api-types` v10 has it, and where it came from. */
import type { GatewayDispatchPayload } from 'discord-api-types/v10'

/** What a destination tells about an event. A bare `d` in a Redis list has none of it: null. */
export interface EventStamp {
  readonly shardId: number | null
  readonly shardCount: number | null
  /** (sessionId, sequence) names an event; the same pair again is a repeat. */
  readonly sessionId: string | null
  readonly sequence: number | null
  /** Lifecycle class of a GUILD_CREATE or GUILD_DELETE: joined, left, unavailable …; else empty. */
  readonly guildClass: string
  /** When the gateway read it, in ms since the Unix epoch. */
  readonly receivedAtMs: number | null
}

/** Names are the plain texts, so that `event.t === 'MESSAGE_CREATE'` narrows `event.d`. */
type Named<Payload> = Payload extends { t: infer Name extends string; d: infer Data }
  ? { readonly t: `${Name}`; readonly d: Data }
  : never

/** Discord adds events at any time: `t` may be a name that the types do not know yet. */
export type ConsumedEvent = Named<GatewayDispatchPayload> & EventStamp

export type ConsumedEventName = ConsumedEvent['t']

export const NO_STAMP: EventStamp = {
  shardId: null,
  shardCount: null,
  sessionId: null,
  sequence: null,
  guildClass: '',
  receivedAtMs: null,
}

/** Their own id is the guild's; other events carry guild_id. */
const GUILD_EVENTS: ReadonlySet<string> = new Set(['GUILD_CREATE', 'GUILD_UPDATE', 'GUILD_DELETE'])

/** The guild that an event belongs to, null for none. */
export function guildOf(eventName: string, d: unknown): string | null {
  const fields = fieldsOf(d)
  const guildId = fields['guild_id'] ?? (GUILD_EVENTS.has(eventName) ? fields['id'] : undefined)
  return typeof guildId === 'string' ? guildId : null
}

/** Events with the same key are handled one after the other: those of a guild, of a private channel, all others. */
export function orderKey(eventName: string, d: unknown): string {
  const guildId = guildOf(eventName, d)
  if (guildId !== null) return guildId
  const channelId = fieldsOf(d)['channel_id']
  return typeof channelId === 'string' ? `channel ${channelId}` : ''
}

function fieldsOf(d: unknown): Record<string, unknown> {
  return (typeof d === 'object' && d !== null ? d : {}) as Record<string, unknown>
}
