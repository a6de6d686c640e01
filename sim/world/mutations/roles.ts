/** Roles, emojis, stickers, soundboard sounds. */
import { makeEmoji, makeRole, makeSound, makeSticker } from '../make-guild.ts'
import type { Guild } from '../universe.ts'
import { event } from '../world-event.ts'
import type { Mutation, WorldEvent } from '../world-event.ts'

const ROLES_MAX = 120
const EXPRESSIONS_MAX = 150

export const ROLE_MUTATIONS = {
  GUILD_ROLE_CREATE(universe, guild) {
    if (guild.roles.size >= ROLES_MAX) return []
    const id = universe.timeline.id()
    const role = makeRole(universe, id, universe.prose.name())
    guild.roles.set(id, role)
    return [event('GUILD_ROLE_CREATE', guild.id, { role, guild_id: guild.id })]
  },
  GUILD_ROLE_UPDATE(universe, guild) {
    const id = guild.roles.pickKey(universe.dice)
    if (id === undefined) return []
    const name = id === guild.id ? '@everyone' : universe.prose.name()
    const role = makeRole(universe, id, name)
    guild.roles.set(id, role)
    return [event('GUILD_ROLE_UPDATE', guild.id, { role, guild_id: guild.id })]
  },
  /** Strips the role from its members; Discord sends no member update for it. */
  GUILD_ROLE_DELETE(universe, guild) {
    const id = guild.roles.pickKey(universe.dice)
    const isManaged = id !== undefined && guild.roles.get(id)?.['managed'] === true
    if (id === undefined || id === guild.id || isManaged || guild.roles.size < 4) return []
    guild.roles.delete(id)
    for (const [userId, member] of guild.members.entries()) {
      if (!member.roles.includes(id)) continue
      guild.members.set(userId, { ...member, roles: member.roles.filter((role) => role !== id) })
    }
    return [event('GUILD_ROLE_DELETE', guild.id, { role_id: id, guild_id: guild.id })]
  },
  /** Whole lists: one emoji comes, changes or goes. */
  GUILD_EMOJIS_UPDATE(universe, guild) {
    const { dice } = universe
    const id = guild.emojis.pickKey(dice)
    const change = id === undefined ? 'create' : dice.pick(['create', 'update', 'delete'])
    if (id !== undefined && change === 'delete') guild.emojis.delete(id)
    else if (id !== undefined && change === 'update') {
      guild.emojis.set(id, { ...makeEmoji(universe, guild), id })
    } else if (guild.emojis.size < EXPRESSIONS_MAX) {
      const emoji = makeEmoji(universe, guild)
      guild.emojis.set(emoji['id'] as bigint, emoji)
    }
    const d = { guild_id: guild.id, emojis: [...guild.emojis.values()] }
    return [event('GUILD_EMOJIS_UPDATE', guild.id, d)]
  },
  GUILD_STICKERS_UPDATE(universe, guild) {
    const { dice } = universe
    const id = guild.stickers.pickKey(dice)
    if (id !== undefined && dice.chance(0.5)) guild.stickers.delete(id)
    else {
      const sticker = makeSticker(universe, guild)
      guild.stickers.set(sticker['id'] as bigint, sticker)
    }
    const d = { stickers: [...guild.stickers.values()], guild_id: guild.id }
    return [event('GUILD_STICKERS_UPDATE', guild.id, d)]
  },
  GUILD_SOUNDBOARD_SOUND_CREATE(universe, guild) {
    if (guild.sounds.size >= EXPRESSIONS_MAX) return []
    const sound = makeSound(universe, guild)
    guild.sounds.set(sound['sound_id'] as bigint, sound)
    return [event('GUILD_SOUNDBOARD_SOUND_CREATE', guild.id, sound)]
  },
  GUILD_SOUNDBOARD_SOUND_UPDATE(universe, guild) {
    const before: WorldEvent[] = ensureSound(guild, () =>
      ROLE_MUTATIONS.GUILD_SOUNDBOARD_SOUND_CREATE(universe, guild),
    )
    const sound = guild.sounds.pick(universe.dice)
    if (sound === undefined) return before
    const changed = { ...sound, name: universe.prose.name() }
    guild.sounds.set(sound['sound_id'] as bigint, changed)
    return [...before, event('GUILD_SOUNDBOARD_SOUND_UPDATE', guild.id, changed)]
  },
  GUILD_SOUNDBOARD_SOUND_DELETE(universe, guild) {
    const before: WorldEvent[] = ensureSound(guild, () =>
      ROLE_MUTATIONS.GUILD_SOUNDBOARD_SOUND_CREATE(universe, guild),
    )
    const id = guild.sounds.pickKey(universe.dice)
    if (id === undefined) return before
    guild.sounds.delete(id)
    const d = { sound_id: id, guild_id: guild.id }
    return [...before, event('GUILD_SOUNDBOARD_SOUND_DELETE', guild.id, d)]
  },
  GUILD_SOUNDBOARD_SOUNDS_UPDATE(_universe, guild) {
    const d = { soundboard_sounds: [...guild.sounds.values()], guild_id: guild.id }
    return [event('GUILD_SOUNDBOARD_SOUNDS_UPDATE', guild.id, d)]
  },
} as const satisfies Record<string, Mutation>

function ensureSound(guild: Guild, make: () => WorldEvent[]): WorldEvent[] {
  return guild.sounds.size === 0 ? make() : []
}
