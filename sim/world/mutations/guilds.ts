/** The bot joins and leaves guilds, guilds change, guilds have outages. */
import type { JsonObject } from '../json.ts'
import { makeBotMember, makeGuild } from '../make-guild.ts'
import type { Guild, Universe } from '../universe.ts'
import { event } from '../world-event.ts'
import type { Mutation, WorldEvent } from '../world-event.ts'
import { joinMember, leaveMember, memberUpdate } from './members.ts'

export const GUILD_MUTATIONS = {
  /** The bot is invited: to a new guild, or again to one that it had to leave. */
  GUILD_CREATE(universe) {
    const { dice, timeline, options } = universe
    const known = dice.chance(0.5) ? universe.leftGuilds.pick(dice) : undefined
    const guild = known === undefined ? makeGuild(universe) : { ...known }
    if (known !== undefined) {
      universe.leftGuilds.delete(guild.id)
      const role = [...guild.roles.keys()].find((id) => id !== guild.id) ?? guild.id
      universe.addMember(guild, options.botUserId, makeBotMember(universe, timeline.nowMs, role))
    }
    const joined: Guild = { ...guild, joinedAtMs: timeline.nowMs }
    universe.guilds.set(joined.id, joined)
    const created = event('GUILD_CREATE', joined.id, { id: joined.id })
    // Sources are not ordered: a member's update may overtake its guild (discord-api-docs issue 1567).
    const isOvertaken = dice.chance(0.2)
    return isOvertaken ? [memberUpdate(universe, joined, options.botUserId), created] : [created]
  },
  GUILD_UPDATE(universe, guild) {
    const { dice, prose } = universe
    const changes: JsonObject[] = [
      { name: prose.name() },
      { icon: dice.hex(32) },
      { description: dice.chance(0.5) ? prose.text(6) : null },
      { verification_level: dice.int(0, 4) },
      { owner_id: guild.members.pickKey(dice) ?? universe.options.botUserId },
      { features: dice.some(['COMMUNITY', 'NEWS', 'DISCOVERABLE', 'PARTNERED'], 3) },
      { premium_tier: dice.int(0, 3), premium_subscription_count: dice.int(0, 50) },
    ]
    guild.base = { ...guild.base, ...dice.pick(changes) }
    return [guildUpdate(guild)]
  },
  /** The bot is removed: the key `unavailable` is absent. */
  GUILD_DELETE(universe, guild) {
    universe.guilds.delete(guild.id)
    universe.removeMember(guild, universe.options.botUserId)
    universe.leftGuilds.set(guild.id, guild)
    return [event('GUILD_DELETE', guild.id, { id: guild.id })]
  },
  GUILD_OUTAGE(universe, guild) {
    universe.outages.add(guild.id)
    return [event('GUILD_DELETE', guild.id, { unavailable: true, id: guild.id })]
  },
  /** An outage ends; what happened meanwhile was told to nobody. */
  GUILD_RECOVERY(universe, someGuild) {
    const guild = unavailableGuild(universe) ?? someGuild
    const events: WorldEvent[] = []
    if (!universe.outages.has(guild.id))
      events.push(...GUILD_MUTATIONS.GUILD_OUTAGE(universe, guild))
    for (let i = universe.dice.int(0, 3); i > 0; i--) leaveMember(universe, guild)
    for (let i = universe.dice.int(0, 3); i > 0; i--) joinMember(universe, guild)
    universe.outages.delete(guild.id)
    events.push(event('GUILD_CREATE', guild.id, { id: guild.id }))
    return events
  },
} as const satisfies Record<string, Mutation>

/** GUILD_UPDATE has no members, channels, threads, voice states, presences, joined_at, member_count. */
function guildUpdate(guild: Guild): WorldEvent {
  return event('GUILD_UPDATE', guild.id, {
    ...guild.base,
    stickers: [...guild.stickers.values()],
    roles: [...guild.roles.values()],
    emojis: [...guild.emojis.values()],
  })
}

/** The guild whose outage began first of those that last. */
export function unavailableGuild(universe: Universe): Guild | undefined {
  const [id] = universe.outages
  return id === undefined ? undefined : universe.guilds.get(id)
}
