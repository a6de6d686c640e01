/** Threads. See [Discord Docs/Threads] and [Discord Docs/Gateway Events#threads]. */
import type { JsonObject } from '../json.ts'
import { ChannelType, makeThread, threadMember, visibleChannels } from '../places.ts'
import type { Guild, Universe } from '../universe.ts'
import { event } from '../world-event.ts'
import type { Mutation, WorldEvent } from '../world-event.ts'

const THREADS_MAX = 60

export const THREAD_MUTATIONS = {
  THREAD_CREATE(universe, guild) {
    const parents = visibleChannels(guild, [
      ChannelType.Text,
      ChannelType.Forum,
      ChannelType.Announcement,
    ])
    if (parents.length === 0 || guild.threads.size >= THREADS_MAX) return []
    const thread = makeThread(universe, guild, universe.dice.pick(parents)['id'] as bigint)
    const id = thread['id'] as bigint
    guild.threads.set(id, thread)
    guild.threadMembers.set(id, new Set([thread['owner_id'] as bigint]))
    return [event('THREAD_CREATE', guild.id, { ...thread, newly_created: true })]
  },
  THREAD_UPDATE(universe, guild) {
    const { before, thread } = someThread(universe, guild)
    if (thread === undefined) return []
    const changed: JsonObject = { ...thread, name: universe.prose.name(), rate_limit_per_user: 10 }
    guild.threads.set(changed['id'] as bigint, changed)
    return [...before, event('THREAD_UPDATE', guild.id, changed)]
  },
  THREAD_ARCHIVE(universe, guild) {
    const { before, thread } = someThread(universe, guild)
    if (thread === undefined) return []
    const archived = withArchived(universe, thread, true)
    guild.threads.delete(archived['id'] as bigint)
    guild.archivedThreads.set(archived['id'] as bigint, archived)
    return [...before, event('THREAD_UPDATE', guild.id, archived)]
  },
  /** THREAD_UPDATE, then THREAD_MEMBER_UPDATE if the bot is in it, in that order. */
  THREAD_UNARCHIVE(universe, guild) {
    const open = guild.archivedThreads.filter((entry) => isVisible(guild, entry))
    const before: WorldEvent[] =
      open.length === 0 ? THREAD_MUTATIONS.THREAD_ARCHIVE(universe, guild) : []
    const thread =
      open.length === 0
        ? guild.archivedThreads.filter((entry) => isVisible(guild, entry))[0]
        : universe.dice.pick(open)
    if (thread === undefined) return before
    const active = withArchived(universe, thread, false)
    const id = active['id'] as bigint
    guild.archivedThreads.delete(id)
    guild.threads.set(id, active)
    const events = [...before, event('THREAD_UPDATE', guild.id, active)]
    if (guild.threadMembers.get(id)?.has(universe.options.botUserId) === true) {
      events.push(ownMembership(universe, guild, id))
    }
    return events
  },
  THREAD_DELETE(universe, guild) {
    const { before, thread } = someThread(universe, guild)
    if (thread === undefined) return []
    const id = thread['id'] as bigint
    guild.threads.delete(id)
    guild.threadMembers.delete(id)
    const { type, parent_id } = thread
    const d: JsonObject = { type: type ?? 11, parent_id: parent_id ?? null, id, guild_id: guild.id }
    return [...before, event('THREAD_DELETE', guild.id, d)]
  },
  THREAD_LIST_SYNC(universe, guild) {
    const parents = visibleChannels(guild, [ChannelType.Text, ChannelType.Forum])
    const isWhole = universe.dice.chance(0.3)
    const some = universe.dice.some(parents, 2).map((channel) => channel['id'] as bigint)
    return [threadListSync(universe, guild, isWhole ? null : some)]
  },
  /** The bot is added to a thread: THREAD_CREATE again, with its thread member. */
  THREAD_JOINED(universe, guild) {
    const { before, thread } = someThread(universe, guild)
    if (thread === undefined) return []
    const id = thread['id'] as bigint
    const bot = universe.options.botUserId
    guild.threadMembers.get(id)?.add(bot)
    const member = threadMember(universe, guild, id, bot)
    const { member: _guildMember, ...own } = member
    return [
      ...before,
      event('THREAD_CREATE', guild.id, { ...thread, member: own }),
      membersUpdate(guild, thread, [member], []),
    ]
  },
  THREAD_MEMBER_UPDATE(universe, guild) {
    const before: WorldEvent[] = THREAD_MUTATIONS.THREAD_JOINED(universe, guild)
    const id = before.at(-1)?.d['id']
    if (typeof id !== 'bigint') return []
    return [...before, ownMembership(universe, guild, id)]
  },
  THREAD_MEMBERS_UPDATE(universe, guild) {
    const { dice } = universe
    const { before, thread } = someThread(universe, guild)
    if (thread === undefined) return []
    const members = guild.threadMembers.get(thread['id'] as bigint) ?? new Set<bigint>()
    const id = thread['id'] as bigint
    const userId = guild.members.pickKey(dice)
    if (userId === undefined) return before
    if (members.delete(userId)) return [...before, membersUpdate(guild, thread, [], [userId])]
    members.add(userId)
    const added = { ...threadMember(universe, guild, id, userId), presence: null }
    return [...before, membersUpdate(guild, thread, [added], [])]
  },
} as const satisfies Record<string, Mutation>

/**
 * The active threads of these channels, or of the whole guild when `channelIds` is null (then the key is absent).
 * See [Discord Docs/Gateway Events#thread-list-sync].
 */
export function threadListSync(
  universe: Universe,
  guild: Guild,
  channelIds: readonly bigint[] | null,
): WorldEvent {
  const threads = guild.threads.filter(
    (thread) => channelIds === null || channelIds.includes(thread['parent_id'] as bigint),
  )
  const bot = universe.options.botUserId
  const joined = threads.filter(
    (thread) => guild.threadMembers.get(thread['id'] as bigint)?.has(bot) === true,
  )
  return event('THREAD_LIST_SYNC', guild.id, {
    threads,
    members: joined.map((thread) => {
      const { member: _member, ...own } = threadMember(universe, guild, thread['id'] as bigint, bot)
      return own
    }),
    guild_id: guild.id,
    ...(channelIds === null ? {} : { channel_ids: channelIds }),
  })
}

function isVisible(guild: Guild, thread: JsonObject): boolean {
  const parent = thread['parent_id'] as bigint
  return guild.channels.has(parent) && !guild.hiddenChannels.has(parent)
}

/** An active thread; one is made first if there is none. */
function someThread(
  universe: Universe,
  guild: Guild,
): { before: WorldEvent[]; thread: JsonObject | undefined } {
  const before: WorldEvent[] =
    guild.threads.size === 0 ? THREAD_MUTATIONS.THREAD_CREATE(universe, guild) : []
  return { before, thread: guild.threads.pick(universe.dice) }
}

function withArchived(universe: Universe, thread: JsonObject, archived: boolean): JsonObject {
  const metadata = thread['thread_metadata'] as JsonObject
  return {
    ...thread,
    thread_metadata: { ...metadata, archived, archive_timestamp: universe.timeline.iso() },
  }
}

function ownMembership(universe: Universe, guild: Guild, threadId: bigint): WorldEvent {
  const bot = universe.options.botUserId
  const { member: _member, ...own } = threadMember(universe, guild, threadId, bot)
  return event('THREAD_MEMBER_UPDATE', guild.id, { ...own, guild_id: guild.id })
}

/** member_count is capped at 50 in Discord's payload. */
function membersUpdate(
  guild: Guild,
  thread: JsonObject,
  added: JsonObject[],
  removed: bigint[],
): WorldEvent {
  const id = thread['id'] as bigint
  return event('THREAD_MEMBERS_UPDATE', guild.id, {
    ...(removed.length > 0 ? { removed_member_ids: removed } : {}),
    ...(added.length > 0 ? { added_members: added } : {}),
    member_count: Math.min(50, guild.threadMembers.get(id)?.size ?? 0),
    id,
    guild_id: guild.id,
  })
}
