/** Answers to what a session asks for: op 8, 31 and 43. See [Discord Docs/Gateway Events#send-events]. */
import {
  INTENTS,
  MEMBERS_PER_CHUNK_MAX,
  NONCE_BYTES_MAX,
  REQUEST_MEMBERS_IDS_MAX,
} from '../../src/discord/index.ts'
import { presenceOf } from './guild-create.ts'
import type { JsonLike, JsonObject } from './json.ts'
import type { Guild, Universe } from './universe.ts'
import type { ClientView } from './world-event.ts'

export interface MembersRequest {
  readonly guildId: bigint
  /** A prefix of the username or nickname; '' with limit 0 asks for all. */
  readonly query?: string
  readonly limit?: number
  readonly userIds?: readonly bigint[]
  readonly presences?: boolean
  readonly nonce?: string
}

/** Largest answer to a query with a prefix, or to a list of users. */
const QUERY_LIMIT_MAX = 100

/** The GUILD_MEMBERS_CHUNK events that answer op 8; at least one, even when nobody is found. */
export function memberChunks(
  universe: Universe,
  guild: Guild,
  request: MembersRequest,
  view: ClientView,
): JsonObject[] {
  const notFound: bigint[] = []
  const found = foundMembers(guild, universe, request, notFound, view)
  const count = Math.max(1, Math.ceil(found.length / MEMBERS_PER_CHUNK_MAX))
  const isNonceEchoed =
    request.nonce !== undefined && Buffer.byteLength(request.nonce) <= NONCE_BYTES_MAX
  const wantsPresences =
    request.presences === true && (view.intents & INTENTS.GUILD_PRESENCES) !== 0
  const chunks: JsonObject[] = []
  for (let index = 0; index < count; index++) {
    const page = found.slice(index * MEMBERS_PER_CHUNK_MAX, (index + 1) * MEMBERS_PER_CHUNK_MAX)
    chunks.push({
      ...(wantsPresences
        ? {
            presences: page
              .map((userId) => presenceOf(universe, userId))
              .filter((presence) => presence !== null),
          }
        : {}),
      not_found: notFound,
      ...(isNonceEchoed ? { nonce: request.nonce ?? null } : {}),
      members: page.map((userId) => universe.member(guild, userId)),
      guild_id: guild.id,
      chunk_index: index,
      chunk_count: count,
    })
  }
  return chunks
}

function foundMembers(
  guild: Guild,
  universe: Universe,
  request: MembersRequest,
  notFound: bigint[],
  view: ClientView,
): bigint[] {
  if (request.userIds !== undefined) {
    const wanted = request.userIds.slice(0, REQUEST_MEMBERS_IDS_MAX)
    for (const userId of wanted) if (!guild.members.has(userId)) notFound.push(userId)
    return wanted.filter((userId) => guild.members.has(userId))
  }
  const query = (request.query ?? '').toLowerCase()
  if (query === '' && (request.limit ?? 0) === 0) {
    // All members need GUILD_MEMBERS; Discord answers such a request without it with nothing.
    return (view.intents & INTENTS.GUILD_MEMBERS) === 0 ? [] : [...guild.members.keys()]
  }
  const limit = Math.min(
    QUERY_LIMIT_MAX,
    request.limit === 0 ? QUERY_LIMIT_MAX : (request.limit ?? 1),
  )
  const found: bigint[] = []
  for (const [userId, member] of guild.members.entries()) {
    if (found.length >= limit) break
    const names = [universe.user(userId)['username'], member.nick]
    if (names.some((name) => typeof name === 'string' && name.toLowerCase().startsWith(query))) {
      found.push(userId)
    }
  }
  return found
}

/** SOUNDBOARD_SOUNDS, the answer to op 31 for one guild. */
export function soundboardSoundsOf(guild: Guild): JsonObject {
  return { soundboard_sounds: [...guild.sounds.values()], guild_id: guild.id }
}

/** CHANNEL_INFO, the answer to op 43: what channel objects do not hold. */
export function channelInfoOf(guild: Guild): JsonObject {
  const channels: JsonObject[] = []
  for (const id of guild.channels.keys()) {
    const status = guild.voiceStatus.get(id)
    const start = guild.voiceStartSeconds.get(id)
    if (status === undefined && start === undefined) continue
    const entry: Record<string, JsonLike> = { id }
    if (status !== undefined) entry['status'] = status
    if (start !== undefined) entry['voice_start_time'] = start
    channels.push(entry)
  }
  return { guild_id: guild.id, channels }
}
