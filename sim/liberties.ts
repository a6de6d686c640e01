/** Deviations that concern the content of events; the others are in the envelope. */
import type { WireMap } from './wire/value.ts'

/** Optional fields that some servers send as null in place of leaving them out. */
const OPTIONAL: Readonly<Record<string, readonly string[]>> = {
  MESSAGE_CREATE: [
    'webhook_id',
    'activity',
    'application',
    'interaction',
    'thread',
    'poll',
    'member',
  ],
  MESSAGE_UPDATE: [
    'webhook_id',
    'activity',
    'application',
    'interaction',
    'thread',
    'poll',
    'member',
  ],
  MESSAGE_DELETE: ['guild_id'],
  GUILD_DELETE: ['unavailable'],
  GUILD_MEMBER_UPDATE: [
    'nick',
    'premium_since',
    'communication_disabled_until',
    'avatar_decoration_data',
  ],
  CHANNEL_CREATE: ['parent_id', 'topic', 'last_message_id'],
  CHANNEL_UPDATE: ['parent_id', 'topic', 'last_message_id'],
  VOICE_STATE_UPDATE: ['member', 'request_to_speak_timestamp'],
  PRESENCE_UPDATE: ['activities', 'client_status'],
  TYPING_START: ['guild_id', 'member'],
}

export function optionalFields(t: string, d: WireMap): WireMap {
  const names = OPTIONAL[t]
  if (names === undefined) return d
  const absent = names.filter((name) => d[name] === undefined)
  return { ...d, ...Object.fromEntries(absent.map((name) => [name, null])) }
}

export function unknownEvent(count: number): { t: string; d: WireMap } {
  return { t: 'SIM_UNKNOWN_EVENT', d: { count, nested: { list: [1, 'two', null, [3, 4]] } } }
}
