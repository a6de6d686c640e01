/** What a session asks for after READY: op 3, 4, 8, 31 and 43. See [Discord Docs/Gateway Events#send-events]. */
import { isSnowflake, NONCE_BYTES_MAX, Opcode } from '../src/discord/index.ts'
import type { Gateway } from './gateway.ts'
import { isCount } from './identify.ts'
import type { Session } from './session.ts'
import { isWireMap } from './wire/value.ts'
import type { WireMap, WireValue } from './wire/value.ts'

/** @returns false when the payload is wrong for its op: close code 4001. */
export function answerRequest(
  gateway: Gateway,
  session: Session,
  op: number,
  d: WireValue | undefined,
): boolean {
  if (!isWireMap(d)) return false
  switch (op) {
    case Opcode.PresenceUpdate:
      return onPresence(gateway, d)
    case Opcode.VoiceStateUpdate:
      return onVoiceState(gateway, d)
    case Opcode.RequestGuildMembers:
      return onMembers(gateway, session, d)
    case Opcode.RequestSoundboardSounds:
      return onSoundboard(gateway, session, d)
    default:
      return onChannelInfo(gateway, session, d)
  }
}

/** All four keys are required. See [Discord Docs/Gateway Events#update-presence]. */
function onPresence(gateway: Gateway, d: WireMap): boolean {
  const { since, activities, status, afk } = d
  if (since !== null && !isCount(since)) return false
  if (!Array.isArray(activities) || typeof status !== 'string' || typeof afk !== 'boolean') {
    return false
  }
  gateway.events.updatePresence(status, activities as readonly WireValue[])
  return true
}

function onVoiceState(gateway: Gateway, d: WireMap): boolean {
  const guildId = snowflake(d['guild_id'])
  const channelId = d['channel_id'] === null ? null : snowflake(d['channel_id'])
  const { self_mute: selfMute, self_deaf: selfDeaf } = d
  if (guildId === undefined || channelId === undefined) return false
  if (typeof selfMute !== 'boolean' || typeof selfDeaf !== 'boolean') return false
  const request = { guildId, channelId, selfMute, selfDeaf }
  for (const event of gateway.world.updateVoiceState(request)) gateway.events.emit(event)
  return true
}

function onMembers(gateway: Gateway, session: Session, d: WireMap): boolean {
  const guildId = snowflake(d['guild_id'])
  const { query, limit, presences, nonce } = d
  const userIds = d['user_ids'] === undefined ? undefined : snowflakes(d['user_ids'])
  if (guildId === undefined || userIds === null) return false
  if (userIds === undefined && (typeof query !== 'string' || !isCount(limit))) return false
  if (presences !== undefined && typeof presences !== 'boolean') return false
  const echoed =
    typeof nonce === 'string' && Buffer.byteLength(nonce) <= NONCE_BYTES_MAX ? { nonce } : {}
  const isAll = userIds === undefined && query === '' && limit === 0
  const fault = gateway.nextFaults.take('rate-limit-members', session.shardId)
  if (fault !== null) gateway.limitAllMembers(guildId, Number(fault['delayMs']))
  if (isAll || fault !== null) {
    const retryAfterMs = gateway.allMembersWaitMs(guildId)
    if (retryAfterMs > 0) {
      gateway.events.tell(session, 'RATE_LIMITED', {
        opcode: Opcode.RequestGuildMembers,
        retry_after: retryAfterMs / 1000,
        meta: { guild_id: guildId, ...echoed },
      })
      return true
    }
  }
  if (!gateway.hasGuild(session, guildId)) return true
  const { chunks } = gateway.world.requestMembers(
    {
      guildId,
      ...(typeof query === 'string' ? { query } : {}),
      ...(isCount(limit) ? { limit } : {}),
      ...(userIds === undefined ? {} : { userIds }),
      presences: presences === true,
      ...echoed,
    },
    session.view,
  )
  for (const chunk of chunks) gateway.events.tell(session, 'GUILD_MEMBERS_CHUNK', chunk, guildId)
  return true
}

/** The guild of an op 8 for all members; null for any other payload. */
export function wholeListOf(op: number, d: WireValue | undefined): bigint | null {
  if (op !== Opcode.RequestGuildMembers || !isWireMap(d)) return null
  const isAll = d['user_ids'] === undefined && d['query'] === '' && d['limit'] === 0
  return isAll ? (snowflake(d['guild_id']) ?? null) : null
}

function onSoundboard(gateway: Gateway, session: Session, d: WireMap): boolean {
  const guildIds = snowflakes(d['guild_ids'])
  if (guildIds === null) return false
  for (const guildId of guildIds) {
    if (!gateway.hasGuild(session, guildId)) continue
    const sounds = gateway.world.soundboardSounds(guildId)
    gateway.events.tell(session, 'SOUNDBOARD_SOUNDS', sounds, guildId)
  }
  return true
}

function onChannelInfo(gateway: Gateway, session: Session, d: WireMap): boolean {
  const guildId = snowflake(d['guild_id'])
  const fields = d['fields']
  if (guildId === undefined || !Array.isArray(fields)) return false
  if (!fields.every((field) => field === 'status' || field === 'voice_start_time')) return false
  if (!gateway.hasGuild(session, guildId)) return true
  const info = gateway.world.channelInfo(guildId)
  gateway.events.tell(session, 'CHANNEL_INFO', onlyFields(info, fields as string[]), guildId)
  return true
}

/** The fields that were asked for; a channel that has none of them is left out. */
function onlyFields(info: WireMap, fields: readonly string[]): WireMap {
  const channels: WireMap[] = []
  for (const channel of info['channels'] as readonly WireMap[]) {
    const asked = fields.filter((field) => channel[field] !== undefined)
    if (asked.length === 0) continue
    const entries = asked.map((field) => [field, channel[field] ?? null] as const)
    channels.push({ id: channel['id'] ?? null, ...Object.fromEntries(entries) })
  }
  return { ...info, channels }
}

/** Ids come as strings or integers. */
function snowflake(value: WireValue | undefined): bigint | undefined {
  const text = typeof value === 'bigint' || typeof value === 'number' ? String(value) : value
  return typeof text === 'string' && isSnowflake(text) ? BigInt(text) : undefined
}

/** One id or a list of them; null when one is none (discord-api-docs#2180: the session crashed). */
function snowflakes(value: WireValue | undefined): bigint[] | null {
  const list = Array.isArray(value) ? (value as readonly WireValue[]) : [value]
  const ids: bigint[] = []
  for (const entry of list) {
    const id = snowflake(entry)
    if (id === undefined) return null
    ids.push(id)
  }
  return ids
}
