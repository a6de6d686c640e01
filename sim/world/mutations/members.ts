/** Members come, change, are banned and go. */
import type { JsonObject } from '../json.ts'
import { makeMember, makeUser, someRoles, someUserFor } from '../people.ts'
import type { Guild, MemberTruth, Universe } from '../universe.ts'
import { event } from '../world-event.ts'
import type { Mutation, WorldEvent } from '../world-event.ts'
import { leaveVoice } from './voice.ts'

export const MEMBER_MUTATIONS = {
  GUILD_MEMBER_ADD(universe, guild) {
    const userId = joinMember(universe, guild)
    return [memberAdd(universe, guild, userId)]
  },
  /** "May be sent for existing members." See [Discord Docs/Gateway Events#guild-member-add]. */
  GUILD_MEMBER_ADD_AGAIN(universe, guild) {
    const userId = guild.members.pickKey(universe.dice)
    return userId === undefined ? [] : [memberAdd(universe, guild, userId)]
  },
  GUILD_MEMBER_UPDATE(universe, guild) {
    const { dice, prose, timeline } = universe
    const userId = guild.members.pickKey(dice)
    const member = userId === undefined ? undefined : guild.members.get(userId)
    if (userId === undefined || member === undefined) return []
    const changes: JsonObject[] = [
      { roles: someRoles(universe, guild) },
      { roles: someRoles(universe, guild) },
      { nick: dice.chance(0.7) ? prose.name() : null },
      { avatar: dice.hex(32) },
      { premium_since: dice.chance(0.5) ? timeline.iso() : null },
      { communication_disabled_until: timeline.iso(timeline.nowMs + 600_000) },
      { pending: false, flags: dice.int(0, 15) },
    ]
    guild.members.set(userId, { ...member, ...dice.pick(changes) } as MemberTruth)
    return [memberUpdate(universe, guild, userId)]
  },
  /** A moderator mutes somebody: the member's own flags change, so they are in the event. */
  GUILD_MEMBER_MUTE(universe, guild) {
    const userId = guild.members.pickKey(universe.dice)
    const member = userId === undefined ? undefined : guild.members.get(userId)
    if (userId === undefined || member === undefined) return []
    guild.members.set(userId, { ...member, mute: member['mute'] !== true })
    return [memberUpdate(universe, guild, userId, true)]
  },
  /** The bot's own member: comes without GUILD_MEMBERS too. */
  GUILD_MEMBER_UPDATE_SELF(universe, guild) {
    const userId = universe.options.botUserId
    const member = guild.members.get(userId)
    if (member === undefined) return []
    guild.members.set(userId, { ...member, nick: universe.prose.name() })
    return [memberUpdate(universe, guild, userId)]
  },
  /** A user changes name or avatar: one event in every guild that it is in. */
  USER_CHANGE(universe) {
    const { dice, prose } = universe
    const userId = universe.users.pickKey(dice)
    if (userId === undefined || userId === universe.options.botUserId) return []
    const user = universe.user(userId)
    const name = prose.name()
    const changed = dice.chance(0.5)
      ? { ...user, global_name: name, display_name: name }
      : { ...user, avatar: dice.hex(32) }
    universe.users.set(userId, changed)
    return eachGuildOf(universe, userId, (guild) => memberUpdate(universe, guild, userId))
  },
  GUILD_MEMBER_REMOVE(universe, guild) {
    const { events } = leaveMember(universe, guild)
    return events
  },
  /** A ban is followed by the removal of the member. */
  GUILD_BAN_ADD(universe, guild) {
    const { dice, prose } = universe
    const isMember = dice.chance(0.7)
    const userId = isMember
      ? removableMember(universe, guild)
      : (makeUser(universe)['id'] as bigint)
    if (userId === undefined) return []
    const user = universe.user(userId)
    guild.bans.set(userId, { user, reason: dice.chance(0.5) ? prose.text(4) : null })
    return [
      event('GUILD_BAN_ADD', guild.id, { user, guild_id: guild.id }),
      ...(isMember ? removeMember(universe, guild, userId) : []),
    ]
  },
  GUILD_BAN_REMOVE(universe, guild) {
    const before: WorldEvent[] =
      guild.bans.size === 0 ? MEMBER_MUTATIONS.GUILD_BAN_ADD(universe, guild) : []
    const userId = guild.bans.pickKey(universe.dice)
    if (userId === undefined) return before
    guild.bans.delete(userId)
    const user = universe.user(userId)
    return [...before, event('GUILD_BAN_REMOVE', guild.id, { user, guild_id: guild.id })]
  },
} as const satisfies Record<string, Mutation>

/** Puts somebody into the guild and tells nobody. */
export function joinMember(universe: Universe, guild: Guild): bigint {
  let userId = someUserFor(universe, guild)
  while (guild.members.has(userId)) userId = makeUser(universe)['id'] as bigint
  universe.addMember(guild, userId, {
    ...makeMember(universe, guild, universe.timeline.nowMs),
    roles: [],
    premium_since: null,
  })
  return userId
}

/** Takes somebody out of the guild. */
export function leaveMember(universe: Universe, guild: Guild): { readonly events: WorldEvent[] } {
  const userId = removableMember(universe, guild)
  return { events: userId === undefined ? [] : removeMember(universe, guild, userId) }
}

/** `f` for each guild of the user that is not in an outage. */
export function eachGuildOf(
  universe: Universe,
  userId: bigint,
  make: (guild: Guild) => WorldEvent,
): WorldEvent[] {
  const events: WorldEvent[] = []
  for (const guildId of universe.guildsOfUser.get(userId) ?? []) {
    const guild = universe.guilds.get(guildId)
    if (guild !== undefined && !universe.outages.has(guildId)) events.push(make(guild))
  }
  return events
}

function removeMember(universe: Universe, guild: Guild, userId: bigint): WorldEvent[] {
  const user = universe.user(userId)
  const voice = leaveVoice(universe, guild, userId)
  universe.removeMember(guild, userId)
  return [...voice, event('GUILD_MEMBER_REMOVE', guild.id, { user, guild_id: guild.id })]
}

/** Neither the bot nor the owner, and never the last few. */
function removableMember(universe: Universe, guild: Guild): bigint | undefined {
  if (guild.members.size <= 3) return undefined
  const userId = guild.members.pickKey(universe.dice)
  return userId === universe.options.botUserId || userId === guild.base['owner_id']
    ? undefined
    : userId
}

function memberAdd(universe: Universe, guild: Guild, userId: bigint): WorldEvent {
  return event('GUILD_MEMBER_ADD', guild.id, {
    ...universe.member(guild, userId),
    guild_id: guild.id,
  })
}

/** Partial: deaf and mute are often absent. See [Discord Docs/Gateway Events#guild-member-update]. */
export function memberUpdate(
  universe: Universe,
  guild: Guild,
  userId: bigint,
  hasVoiceFlags: boolean = universe.dice.chance(0.5),
): WorldEvent {
  const { deaf, mute, ...rest } = universe.member(guild, userId)
  const d: JsonObject = {
    ...rest,
    guild_id: guild.id,
    ...(hasVoiceFlags && deaf !== undefined && mute !== undefined ? { deaf, mute } : {}),
  }
  const isSelf = userId === universe.options.botUserId
  return event('GUILD_MEMBER_UPDATE', guild.id, d, isSelf ? 0 : undefined)
}
