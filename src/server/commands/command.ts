/** The commands of proto/commands.proto, read from a gRPC message or from JSON with the same names. */
import { NONCE_BYTES_MAX, REQUEST_MEMBERS_IDS_MAX } from '../../discord/index.ts'
import { bad, Fields } from './fields.ts'

/** By guild, or by a channel of it that the cache knows. */
export interface GuildTarget {
  readonly guildId: bigint | null
  readonly channelId: bigint | null
}

export interface UpdatePresence {
  readonly name: 'UpdatePresence'
  /** As Discord takes it: `d` of op 3. */
  readonly presence: Readonly<Record<string, unknown>>
  readonly shards: readonly number[]
  readonly guildIds: readonly bigint[]
  readonly channelIds: readonly bigint[]
  readonly wait: boolean
}

export interface UpdateVoiceState {
  readonly name: 'UpdateVoiceState'
  readonly guildId: bigint | null
  /** Null: leave. */
  readonly channelId: bigint | null
  readonly selfMute: boolean
  readonly selfDeaf: boolean
  readonly wait: boolean
}

export interface RequestGuildMembers {
  readonly name: 'RequestGuildMembers'
  readonly target: GuildTarget
  readonly query: string
  readonly limit: number
  readonly userIds: readonly bigint[] | null
  readonly presences: boolean
  readonly nonce: string
}

export interface RequestSoundboardSounds {
  readonly name: 'RequestSoundboardSounds'
  readonly guildIds: readonly bigint[]
  readonly channelIds: readonly bigint[]
  readonly wait: boolean
}

export interface RequestChannelInfo {
  readonly name: 'RequestChannelInfo'
  readonly target: GuildTarget
  readonly fields: readonly string[]
  readonly wait: boolean
}

export type BackendCommand =
  | UpdatePresence
  | UpdateVoiceState
  | RequestGuildMembers
  | RequestSoundboardSounds
  | RequestChannelInfo

/** Guilds or channels of one call. Op 31 takes as many as fit into 4,096 bytes; more is cut into several. */
const TARGETS_MAX = 1000
const STATUSES: readonly string[] = ['online', 'dnd', 'idle', 'invisible', 'offline']
const CHANNEL_FIELDS: readonly string[] = ['status', 'voice_start_time']
/** Discord's own limit of a name or query is shorter; these only keep nonsense out. */
const TEXT_BYTES_MAX = 512
const ACTIVITIES_MAX = 16
const QUERY_LIMIT_MAX = 100
/** What begins so is the gateway's own. */
const OWN_NONCE_PREFIX = 'gateway:'

type Reader = (request: unknown, shardCount: number) => BackendCommand

const READERS: Readonly<Record<BackendCommand['name'], Reader>> = {
  UpdatePresence: readPresence,
  UpdateVoiceState: readVoiceState,
  RequestGuildMembers: readMembers,
  RequestSoundboardSounds: readSounds,
  RequestChannelInfo: readChannelInfo,
}

export const COMMAND_NAMES: readonly string[] = Object.keys(READERS)

export function isCommandName(name: string): name is BackendCommand['name'] {
  return Object.hasOwn(READERS, name)
}

/** @throws ServerError SERVER_BAD_REQUEST */
export function readCommand(
  name: BackendCommand['name'],
  request: unknown,
  shardCount: number,
): BackendCommand {
  return READERS[name](request, shardCount)
}

function readPresence(request: unknown, shardCount: number): UpdatePresence {
  const fields = new Fields(
    request,
    ['presence', 'shards', 'guild_ids', 'channel_ids', 'wait'],
    'UpdatePresence',
  )
  const names = ['since', 'activities', 'status', 'afk']
  const presence = new Fields(fields.value('presence') ?? {}, names, 'presence')
  const status = presence.text('status', TEXT_BYTES_MAX)
  if (status !== '' && !STATUSES.includes(status)) throw bad('status', STATUSES.join(', '))
  return {
    name: 'UpdatePresence',
    presence: {
      since: presence.has('since') ? presence.integer('since', 0, Number.MAX_SAFE_INTEGER) : null,
      activities: presence.list('activities', ACTIVITIES_MAX).map(readActivity),
      status: status === '' ? 'online' : status,
      afk: presence.bool('afk'),
    },
    shards: fields.integers('shards', shardCount),
    guildIds: fields.ids('guild_ids', TARGETS_MAX),
    channelIds: fields.ids('channel_ids', TARGETS_MAX),
    wait: fields.bool('wait'),
  }
}

function readActivity(value: unknown): Readonly<Record<string, unknown>> {
  const names = ['name', 'type', 'url', 'state']
  const fields = new Fields(value, names, 'an activity')
  const name = fields.text('name', TEXT_BYTES_MAX)
  if (name === '') throw bad('name of an activity', 'text')
  return {
    name,
    type: fields.integer('type', 0, 5),
    ...(fields.has('url') ? { url: fields.text('url', TEXT_BYTES_MAX) } : {}),
    ...(fields.has('state') ? { state: fields.text('state', TEXT_BYTES_MAX) } : {}),
  }
}

function readVoiceState(request: unknown): UpdateVoiceState {
  const names = ['guild_id', 'channel_id', 'self_mute', 'self_deaf', 'wait']
  const fields = new Fields(request, names, 'UpdateVoiceState')
  const guildId = fields.id('guild_id')
  const channelId = fields.id('channel_id')
  if (guildId === null && channelId === null) throw bad('guild_id is missing', 'a guild id')
  return {
    name: 'UpdateVoiceState',
    guildId,
    channelId,
    selfMute: fields.bool('self_mute'),
    selfDeaf: fields.bool('self_deaf'),
    wait: fields.bool('wait'),
  }
}

function readMembers(request: unknown): RequestGuildMembers {
  const names = ['guild_id', 'channel_id', 'query', 'limit', 'user_ids', 'presences', 'nonce']
  const fields = new Fields(request, names, 'RequestGuildMembers')
  const query = fields.text('query', TEXT_BYTES_MAX)
  const limit = fields.integer('limit', 0, QUERY_LIMIT_MAX)
  const userIds = fields.ids('user_ids', REQUEST_MEMBERS_IDS_MAX)
  if (userIds.length > 0 && (query !== '' || limit !== 0)) {
    throw bad('user_ids and query exclude each other', 'one of them')
  }
  const nonce = fields.text('nonce', NONCE_BYTES_MAX)
  if (nonce.startsWith(OWN_NONCE_PREFIX)) {
    throw bad('nonce', `another beginning than ${OWN_NONCE_PREFIX}`)
  }
  return {
    name: 'RequestGuildMembers',
    target: readTarget(fields),
    query,
    // Without a limit Discord takes a query for none.
    limit: query !== '' && limit === 0 ? QUERY_LIMIT_MAX : limit,
    userIds: userIds.length === 0 ? null : userIds,
    presences: fields.bool('presences'),
    nonce,
  }
}

function readSounds(request: unknown): RequestSoundboardSounds {
  const fields = new Fields(
    request,
    ['guild_ids', 'channel_ids', 'wait'],
    'RequestSoundboardSounds',
  )
  const guildIds = fields.ids('guild_ids', TARGETS_MAX)
  const channelIds = fields.ids('channel_ids', TARGETS_MAX)
  if (guildIds.length + channelIds.length === 0) throw bad('guild_ids is empty', 'guild ids')
  return { name: 'RequestSoundboardSounds', guildIds, channelIds, wait: fields.bool('wait') }
}

function readChannelInfo(request: unknown): RequestChannelInfo {
  const names = ['guild_id', 'channel_id', 'fields', 'wait']
  const fields = new Fields(request, names, 'RequestChannelInfo')
  const asked = fields.list('fields', CHANNEL_FIELDS.length).map(String)
  for (const field of asked) {
    if (!CHANNEL_FIELDS.includes(field)) throw bad('fields', CHANNEL_FIELDS.join(', '))
  }
  return {
    name: 'RequestChannelInfo',
    target: readTarget(fields),
    fields: asked.length === 0 ? CHANNEL_FIELDS : asked,
    wait: fields.bool('wait'),
  }
}

function readTarget(fields: Fields): GuildTarget {
  const guildId = fields.id('guild_id')
  const channelId = fields.id('channel_id')
  if (guildId === null && channelId === null) throw bad('guild_id is missing', 'a guild id')
  return { guildId, channelId }
}
