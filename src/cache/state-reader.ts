/**
 * Guild state as `state` and the gateway's own listener serve it. Every answer is JSON text that
 * Postgres wrote (`data::text`): nothing is parsed or built again here. jsonb does not keep the order of
 * keys, so bodies equal Discord's JSON as values, not as bytes.
 */
import { MergedLookup, type QueryPort, int8, int8Array } from './state/merged-lookup.ts'
import { LISTS, LOOKUPS, USER_IN_GUILDS, USER_NAMES, USER_WITH_ROLE } from './state/statements.ts'
import { type JsonList, rowPages } from './state/row-pages.ts'

/** An object as JSON text, or null when the cache does not know it. */
type Found = Promise<string | null>

/** Shorter searches would match half of a guild: they find nothing, as in the ancestor. */
const SEARCH_CHARACTERS_MIN = 3
const USERS_PER_QUERY = 50
/** Longer than the server's statement timeout: a page of a large guild may take long, a dead host forever. */
const READ_DEADLINE_MS = 35_000

/**
 * Every read of the State routes. Ids are decimal snowflakes, checked by the caller (isSnowflake).
 * Everything rejects with what the database threw.
 */
export class StateReader {
  readonly #db: QueryPort
  readonly #users: MergedLookup
  readonly #channels: MergedLookup
  readonly #messages: MergedLookup
  readonly #guilds: MergedLookup
  readonly #members: MergedLookup
  readonly #presences: MergedLookup
  readonly #roles: MergedLookup
  readonly #emojis: MergedLookup
  readonly #threads: MergedLookup

  constructor(database: QueryPort) {
    const db: QueryPort = {
      query: (text, values, name) => database.query(text, values, name, READ_DEADLINE_MS),
    }
    this.#db = db
    this.#users = new MergedLookup(db, LOOKUPS.user)
    this.#channels = new MergedLookup(db, LOOKUPS.channel)
    this.#messages = new MergedLookup(db, LOOKUPS.message)
    this.#guilds = new MergedLookup(db, LOOKUPS.guild)
    this.#members = new MergedLookup(db, LOOKUPS.member)
    this.#presences = new MergedLookup(db, LOOKUPS.presence)
    this.#roles = new MergedLookup(db, LOOKUPS.role)
    this.#emojis = new MergedLookup(db, LOOKUPS.emoji)
    this.#threads = new MergedLookup(db, LOOKUPS.thread)
  }

  /** The `user` object of the member row that changed last. */
  user(userId: string): Found {
    return this.#users.get(userId)
  }

  /** `{"UserID","Username"}` per member row found, in the order of the ids. */
  async *userNames(userIds: readonly string[]): JsonList {
    let separator = '['
    for (let start = 0; start < userIds.length; start += USERS_PER_QUERY) {
      const ids = int8Array(userIds.slice(start, start + USERS_PER_QUERY))
      const rows = await this.#db.query<{ bodies: string | null }>(
        USER_NAMES.text,
        [ids],
        USER_NAMES.name,
      )
      const bodies = rows[0]?.bodies ?? ''
      if (bodies === '') continue
      yield separator + bodies
      separator = ','
    }
    yield separator === '[' ? '[]' : ']'
  }

  /** With `guild_id` added as a string. */
  channel(channelId: string): Found {
    return this.#channels.get(channelId)
  }

  message(channelId: string, messageId: string): Found {
    return this.#messages.get(channelId, messageId)
  }

  guild(guildId: string): Found {
    return this.#guilds.get(guildId)
  }

  member(guildId: string, userId: string): Found {
    return this.#members.get(guildId, userId)
  }

  /** In the order of the ids; one that is not there is `{"id":"…","is_empty":true}`. */
  membersById(guildId: string, userIds: readonly string[]): Promise<string> {
    return inOrder(this.#members, guildId, userIds)
  }

  presence(guildId: string, userId: string): Found {
    return this.#presences.get(guildId, userId)
  }

  role(guildId: string, roleId: string): Found {
    return this.#roles.get(guildId, roleId)
  }

  /** In the order of the ids; one that is not there is `{"id":"…","is_empty":true}`. */
  rolesById(guildId: string, roleIds: readonly string[]): Promise<string> {
    return inOrder(this.#roles, guildId, roleIds)
  }

  emoji(guildId: string, emojiId: string): Found {
    return this.#emojis.get(guildId, emojiId)
  }

  thread(threadId: string): Found {
    return this.#threads.get(threadId)
  }

  guildChannels(guildId: string): JsonList {
    return rowPages(this.#db, LISTS.guildChannels, [int8(guildId)])
  }

  guildMembers(guildId: string): JsonList {
    return rowPages(this.#db, LISTS.guildMembers, [int8(guildId)])
  }

  /**
   * Members whose global name, display name, username or nick contains the text, whatever its case.
   * Fewer than three characters find nothing.
   */
  async *membersMatching(guildId: string, search: string): JsonList {
    // No stored name can hold a NUL, and Postgres takes none in a parameter.
    if (Array.from(search).length < SEARCH_CHARACTERS_MIN || search.includes('\0')) {
      yield '[]'
      return
    }
    yield* rowPages(this.#db, LISTS.membersMatching, [int8(guildId), ...likePatterns(search)])
  }

  /** `{"id"}` of every member that has the role. */
  membersWithRole(guildId: string, roleId: string): JsonList {
    return rowPages(this.#db, LISTS.membersWithRole, [int8(guildId), roleId])
  }

  guildRoles(guildId: string): JsonList {
    return rowPages(this.#db, LISTS.guildRoles, [int8(guildId)])
  }

  guildEmojis(guildId: string): JsonList {
    return rowPages(this.#db, LISTS.guildEmojis, [int8(guildId)])
  }

  guildThreads(guildId: string): JsonList {
    return rowPages(this.#db, LISTS.guildThreads, [int8(guildId)])
  }

  channelThreads(channelId: string): JsonList {
    return rowPages(this.#db, LISTS.channelThreads, [int8(channelId)])
  }

  threads(): JsonList {
    return rowPages(this.#db, LISTS.threads, [])
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
}

async function inOrder(
  lookup: MergedLookup,
  guildId: string,
  ids: readonly string[],
): Promise<string> {
  const bodies = await Promise.all(
    ids.map(async (id) => (await lookup.get(guildId, id)) ?? `{"id":"${id}","is_empty":true}`),
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
