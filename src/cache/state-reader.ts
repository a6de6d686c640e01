/**
 * Guild state as `state` and the gateway's own listener serve it. Every answer is JSON text that
 * Postgres wrote (`data::text`): nothing is parsed or built again here. jsonb does not keep the order of
 * keys, so bodies equal Discord's JSON as values, not as bytes.
 */
import { type Clock, systemClock } from '../base/index.ts'
import {
  memberPermissions,
  type PermissionChannel,
  permissionNames,
  type StateKind,
} from '../discord/index.ts'
import { MergedLookup, type QueryPort, int8, int8Array } from './state/merged-lookup.ts'
import { QueryGate } from './state/query-gate.ts'
import { type ListStatement, type Range, rowPages, type StateList } from './state/row-pages.ts'
import { ShardMarks } from './state/shard-marks.ts'
import {
  COUNTS,
  GUILD_CHILDREN,
  LISTS,
  LOOKUPS,
  USER_IN_GUILDS,
  USER_NAMES,
  USER_WITH_ROLE,
} from './state/statements.ts'

/** An object as JSON text, or null when the cache does not know it. */
type Found = Promise<string | null>

/** Shorter searches would match half of a guild: they find nothing, as in the ancestor. */
const SEARCH_CHARACTERS_MIN = 3
const USERS_PER_QUERY = 50

/** A key that a list starts behind, as its caller knows it, and the most rows. */
export interface Page {
  /** A snowflake, or a shard's number. */
  readonly after?: string | undefined
  readonly limit?: number | undefined
}

/** What Postgres says for a permissions lookup. */
interface Grants {
  readonly guildId: string
  readonly ownerId: string | null
  readonly roleIds: readonly string[]
  readonly timedOutUntil: string | null
  readonly roles: Readonly<Record<string, string>>
  readonly channel?: PermissionChannel
}

const BATCHES = {
  channels: 'channel',
  guilds: 'guild',
  threads: 'thread',
  users: 'user',
  members: 'member',
  roles: 'role',
} as const
export type BatchKind = keyof typeof BATCHES

/**
 * Every read of the State routes. Ids are decimal snowflakes, checked by the caller (isSnowflake).
 * Everything rejects with what the database threw.
 */
export class StateReader {
  readonly #db: QueryPort
  readonly #lookups: Readonly<Record<keyof typeof LOOKUPS, MergedLookup>>
  readonly #marks: ShardMarks
  readonly #clock: Clock

  constructor(database: QueryPort, clock: Clock = systemClock) {
    this.#clock = clock
    const db = new QueryGate(database, clock)
    this.#db = db
    this.#marks = new ShardMarks(db, clock)
    const lookups = Object.entries(LOOKUPS).map(([name, statement]) => [
      name,
      new MergedLookup(db, statement, clock),
    ])
    this.#lookups = Object.fromEntries(lookups) as Record<keyof typeof LOOKUPS, MergedLookup>
  }

  /**
   * Up to when the events of the shards that feed an answer are in it, at least: of the guild's shard, or of
   * all. Ask before the rows are read. Null while it is not known.
   */
  asOf(guildId: string | null): Promise<Date | null> {
    return this.#marks.oldest(guildId)
  }

  /** Whether the kind is cached, as far as it is known. */
  isKept(kind: StateKind): Promise<boolean> {
    return this.#marks.isKept(kind)
  }

  /**
   * Whether a guild's list of the kind is whole: everything that the bot may see is in it, up to `asOf` at least. Bans
   * never are, Discord does not list them. docs/architecture.md#what-a-client-can-know. Ask before the rows are read.
   */
  async isComplete(kind: StateKind, of: 'guild' | 'channel', id: string): Promise<boolean> {
    if (kind === 'bans' || !(await this.#marks.isTold(kind))) return false
    const lookup = of === 'guild' ? this.#lookups.guildWhole : this.#lookups.channelWhole
    const whole = await lookup.get(id)
    const mark = kind === 'members' ? 'm' : kind === 'presences' ? 'p' : 'l'
    return whole?.includes(mark) ?? false
  }

  /** The `user` object of the member row that changed last. */
  user(userId: string): Found {
    return this.#lookups.user.get(userId)
  }

  /** `{"UserID","Username"}` per member row found, in the order of the ids. */
  async *userNames(userIds: readonly string[]): StateList {
    for (let start = 0; start < userIds.length; start += USERS_PER_QUERY) {
      const ids = int8Array(userIds.slice(start, start + USERS_PER_QUERY))
      const rows = await this.#db.query<{ bodies: string | null }>(
        USER_NAMES.text,
        [ids],
        USER_NAMES.name,
      )
      const bodies = rows[0]?.bodies ?? ''
      if (bodies !== '') yield { bodies, next: null }
    }
  }

  /** With `guild_id` added as a string. */
  channel(channelId: string): Found {
    return this.#lookups.channel.get(channelId)
  }

  message(channelId: string, messageId: string): Found {
    return this.#lookups.message.get(channelId, messageId)
  }

  guild(guildId: string): Found {
    return this.#lookups.guild.get(guildId)
  }

  member(guildId: string, userId: string): Found {
    return this.#lookups.member.get(guildId, userId)
  }

  /** In the order of the ids; one that is not there is `{"id":"…","is_empty":true}`. */
  membersById(guildId: string, userIds: readonly string[]): Promise<string> {
    return inOrder(this.#lookups.member, userIds, guildId)
  }

  presence(guildId: string, userId: string): Found {
    return this.#lookups.presence.get(guildId, userId)
  }

  role(guildId: string, roleId: string): Found {
    return this.#lookups.role.get(guildId, roleId)
  }

  /** In the order of the ids; one that is not there is `{"id":"…","is_empty":true}`. */
  rolesById(guildId: string, roleIds: readonly string[]): Promise<string> {
    return inOrder(this.#lookups.role, roleIds, guildId)
  }

  emoji(guildId: string, emojiId: string): Found {
    return this.#lookups.emoji.get(guildId, emojiId)
  }

  thread(threadId: string): Found {
    return this.#lookups.thread.get(threadId)
  }

  guildChannels(guildId: string, page: Page): StateList {
    return this.#list(LISTS.guildChannels, page, int8(guildId))
  }

  guildMembers(guildId: string, page: Page): StateList {
    return this.#list(LISTS.guildMembers, page, int8(guildId))
  }

  /**
   * Members whose global name, display name, username or nick contains the text, whatever its case.
   * Fewer than three characters find nothing.
   */
  async *membersMatching(guildId: string, search: string, page: Page): StateList {
    // No stored name can hold a NUL, and Postgres takes none in a parameter.
    if (Array.from(search).length < SEARCH_CHARACTERS_MIN || search.includes('\0')) {
      return
    }
    yield* this.#list(LISTS.membersMatching, page, int8(guildId), ...likePatterns(search))
  }

  /** `{"id"}` of every member that has the role. */
  membersWithRole(guildId: string, roleId: string, page: Page): StateList {
    return this.#list(LISTS.membersWithRole, page, int8(guildId), roleId)
  }

  guildRoles(guildId: string, page: Page): StateList {
    return this.#list(LISTS.guildRoles, page, int8(guildId))
  }

  guildEmojis(guildId: string, page: Page): StateList {
    return this.#list(LISTS.guildEmojis, page, int8(guildId))
  }

  guildThreads(guildId: string, page: Page): StateList {
    return this.#list(LISTS.guildThreads, page, int8(guildId))
  }

  channelThreads(channelId: string, page: Page): StateList {
    return this.#list(LISTS.channelThreads, page, int8(channelId))
  }

  threads(page: Page): StateList {
    return this.#list(LISTS.threads, page)
  }

  /** `{"id"}` of every guild. */
  guilds(page: Page): StateList {
    return this.#list(LISTS.guilds, page)
  }

  guildBans(guildId: string, page: Page): StateList {
    return this.#list(LISTS.guildBans, page, int8(guildId))
  }

  guildPresences(guildId: string, page: Page): StateList {
    return this.#list(LISTS.guildPresences, page, int8(guildId))
  }

  guildScheduledEvents(guildId: string, page: Page): StateList {
    return this.#list(LISTS.guildScheduledEvents, page, int8(guildId))
  }

  guildStageInstances(guildId: string, page: Page): StateList {
    return this.#list(LISTS.guildStageInstances, page, int8(guildId))
  }

  guildSoundboardSounds(guildId: string, page: Page): StateList {
    return this.#list(LISTS.guildSoundboardSounds, page, int8(guildId))
  }

  guildVoiceStates(guildId: string, page: Page): StateList {
    return this.#list(LISTS.guildVoiceStates, page, int8(guildId))
  }

  guildStickers(guildId: string, page: Page): StateList {
    return this.#list(LISTS.guildStickers, page, int8(guildId))
  }

  /** What the session rows say, without what would let others resume. */
  shards(page: Page): StateList {
    return this.#list(LISTS.shards, page)
  }

  ban(guildId: string, userId: string): Found {
    return this.#lookups.ban.get(guildId, userId)
  }

  voiceState(guildId: string, userId: string): Found {
    return this.#lookups.voiceState.get(guildId, userId)
  }

  sticker(guildId: string, stickerId: string): Found {
    return this.#lookups.sticker.get(guildId, stickerId)
  }

  scheduledEvent(guildId: string, eventId: string): Found {
    return this.#lookups.scheduledEvent.get(guildId, eventId)
  }

  stageInstance(guildId: string, instanceId: string): Found {
    return this.#lookups.stageInstance.get(guildId, instanceId)
  }

  soundboardSound(guildId: string, soundId: string): Found {
    return this.#lookups.soundboardSound.get(guildId, soundId)
  }

  /** @param children of GUILD_CHILDREN. */
  guildWith(guildId: string, children: readonly string[]): Found {
    let mask = 0
    for (const child of children) mask |= 1 << GUILD_CHILDREN.indexOf(child)
    return this.#lookups.guildWith.get(guildId, String(mask))
  }

  /** Where the guild stands in its life (docs/architecture.md#guild-lifecycle). */
  guildState(guildId: string): Found {
    return this.#lookups.guildState.get(guildId)
  }

  /** Rows of each kind, and what Discord says of the members. */
  guildCounts(guildId: string): Found {
    return this.#lookups.guildCounts.get(guildId)
  }

  /** In the order of the ids; one that is not there is `{"id":"…","is_empty":true}`. */
  batch(kind: BatchKind, ids: readonly string[], guildId?: string): Promise<string> {
    const before = guildId === undefined ? [] : [guildId]
    return inOrder(this.#lookups[BATCHES[kind]], ids, ...before)
  }

  /** Null when the guild, the member, @everyone or the channel (of a thread: its parent) is not there. */
  async permissions(guildOrChannel: 'guild' | 'channel', id: string, userId: string): Found {
    const lookup =
      guildOrChannel === 'guild' ? this.#lookups.guildGrants : this.#lookups.channelGrants
    const body = await lookup.get(id, userId)
    if (body === null) return null
    const grants = JSON.parse(body) as Grants
    const timedOutUntil = Date.parse(grants.timedOutUntil ?? '')
    const isTimedOut = timedOutUntil > this.#clock.now()
    const permissions = memberPermissions(
      grants.guildId,
      { userId, isOwner: grants.ownerId === userId, roleIds: grants.roleIds, isTimedOut },
      new Map(Object.entries(grants.roles)),
      grants.channel,
    )
    return JSON.stringify({
      permissions: String(permissions),
      names: permissionNames(permissions),
      is_timed_out: isTimedOut,
    })
  }

  /** Of everything: guilds, unavailable guilds, the sum of their member_count. */
  async counts(): Found {
    const rows = await this.#db.query<{ body: string }>(COUNTS.text, [], COUNTS.name)
    return rows[0]?.body ?? null
  }

  /** A decimal number. */
  async guildCount(): Promise<string> {
    const rows = await this.#db.query<{ count: string }>(
      'select count(*)::text as count from guilds',
    )
    return rows[0]?.count ?? '0'
  }

  /** Whether the user is a member of one of the guilds. */
  async isUserInGuilds(userId: string, guildIds: readonly string[]): Promise<boolean> {
    const { text, name } = USER_IN_GUILDS
    const rows = await this.#db.query(text, [int8(userId), int8Array(guildIds)], name)
    return rows.length > 0
  }

  /** Whether the user is a member of one of the guilds and has one of the roles there. */
  async hasUserRoles(
    userId: string,
    guildIds: readonly string[],
    roleIds: readonly string[],
  ): Promise<boolean> {
    const { text, name } = USER_WITH_ROLE
    const values = [int8(userId), int8Array(guildIds), `{${roleIds.join(',')}}`]
    return (await this.#db.query(text, values, name)).length > 0
  }

  #list(statement: ListStatement, { after, limit }: Page, ...values: string[]): StateList {
    const range: Range = {
      ...(after === undefined ? {} : { after: int8(after) }),
      ...(limit === undefined ? {} : { limit }),
    }
    return rowPages(this.#db, statement, values, range)
  }
}

async function inOrder(
  lookup: MergedLookup,
  ids: readonly string[],
  ...before: string[]
): Promise<string> {
  const bodies = await Promise.all(
    ids.map(async (id) => (await lookup.get(...before, id)) ?? `{"id":"${id}","is_empty":true}`),
  )
  return `[${bodies.join(',')}]`
}

/**
 * ILIKE folds only ASCII letters in a database of locale C; the text in lower and in upper case beside
 * each other find the other alphabets there, too.
 */
function likePatterns(search: string): [string, string] {
  const literal = search.replace(/[\\%_]/g, '\\$&')
  return [`%${literal.toLowerCase()}%`, `%${literal.toUpperCase()}%`]
}
