/** What GUILD_CREATE holds for a session. See [Discord Docs/Gateway Events#guild-create]. */
import { INTENTS } from '../../src/discord/index.ts'
import type { JsonLike, JsonObject } from './json.ts'
import type { Guild, Universe } from './universe.ts'
import type { ClientView } from './world-event.ts'

/** Op 8's answers and GUILD_CREATE list presences without guild_id. */
export function presenceOf(universe: Universe, userId: bigint): JsonObject | null {
  const presence = universe.presences.get(userId)
  return presence === undefined ? null : { user: { id: userId }, ...presence }
}

/**
 * @param largeGuildMembers above this many members a guild lists only the bot and who is in voice (75,000 at
 *   Discord, who says that it may change).
 */
export function guildCreateFor(
  universe: Universe,
  guild: Guild,
  view: ClientView,
  largeGuildMembers: number,
): JsonObject {
  if (universe.outages.has(guild.id)) return { unavailable: true, id: guild.id }
  const seesVoice = (view.intents & INTENTS.GUILD_VOICE_STATES) !== 0
  const seesPresences = (view.intents & INTENTS.GUILD_PRESENCES) !== 0
  const seesScheduled = (view.intents & INTENTS.GUILD_SCHEDULED_EVENTS) !== 0
  const listed = listedMembers(universe, guild, view, largeGuildMembers)
  const presences: JsonObject[] = []
  if (seesPresences) {
    for (const userId of listed) {
      const presence = presenceOf(universe, userId)
      if (presence !== null) presences.push(presence)
    }
  }
  return {
    ...guild.base,
    voice_states: seesVoice ? [...guild.voiceStates.values()] : [],
    version: universe.timeline.nowMs,
    unavailable: false,
    threads: [...guild.threads.values()].map((thread) =>
      withOwnMembership(universe, guild, thread),
    ),
    stickers: [...guild.stickers.values()],
    stage_instances: [...guild.stageInstances.values()],
    soundboard_sounds: [...guild.sounds.values()],
    roles: [...guild.roles.values()],
    presences,
    members: listed.map((userId) => universe.member(guild, userId)),
    member_count: guild.members.size,
    lazy: true,
    large: guild.members.size > view.largeThreshold,
    joined_at: universe.timeline.iso(guild.joinedAtMs),
    guild_scheduled_events: seesScheduled ? [...guild.scheduledEvents.values()] : [],
    emojis: [...guild.emojis.values()],
    embedded_activities: [],
    channels: [...guild.channels.values()],
    application_command_counts: { 1: 0, 2: 0, 3: 0 },
  }
}

/** A thread that the bot has joined carries its thread member. See [Discord Docs/Threads]. */
function withOwnMembership(universe: Universe, guild: Guild, thread: JsonObject): JsonObject {
  const id = thread['id'] as bigint
  const bot = universe.options.botUserId
  if (guild.threadMembers.get(id)?.has(bot) !== true) return thread
  const member: JsonLike = {
    muted: false,
    mute_config: null,
    join_timestamp: universe.timeline.iso(guild.joinedAtMs),
    flags: 0,
  }
  return { ...thread, member }
}

/**
 * Without GUILD_PRESENCES, or in a very large guild: the bot and who is in voice. Above large_threshold: who is
 * online, has a role or a nickname, or is in voice. Else all.
 */
function listedMembers(
  universe: Universe,
  guild: Guild,
  view: ClientView,
  largeGuildMembers: number,
): bigint[] {
  const all = [...guild.members.entries()]
  const isFew =
    (view.intents & INTENTS.GUILD_PRESENCES) === 0 || guild.members.size > largeGuildMembers
  const isLarge = guild.members.size > view.largeThreshold
  if (!isFew && !isLarge) return all.map(([userId]) => userId)
  return all
    .filter(([userId, member]) => {
      if (userId === view.botUserId || guild.voiceStates.has(userId)) return true
      if (isFew) return false
      return member.roles.length > 0 || member.nick !== null || universe.presences.has(userId)
    })
    .map(([userId]) => userId)
}
