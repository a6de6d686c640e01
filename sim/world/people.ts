/** Users, members and presences. See [Discord Docs/User], [Discord Docs/Guild#guild-member-object]. */
import type { JsonObject } from './json.ts'
import type { Guild, MemberTruth, Universe } from './universe.ts'

/** Presences of members who are not offline, as a share of all. */
const ONLINE_SHARE = 0.3
/** Beyond its first so many members a guild is a crowd that is mostly away, without role and nickname. */
const CROWD_MEMBERS = 250
const CROWD_ACTIVE_SHARE = 0.25
/** A new member is this likely somebody who is known from another guild already. */
const KNOWN_USER_CHANCE = 0.15

export function makeUser(universe: Universe, id?: bigint): JsonObject {
  const { dice, prose, timeline } = universe
  const name = dice.chance(0.7) ? prose.name() : null
  const user: JsonObject = {
    username: prose.handle(),
    public_flags: dice.chance(0.1) ? 1 << dice.int(6, 17) : 0,
    primary_guild: dice.chance(0.08) ? clan(universe) : null,
    id: id ?? timeline.idAt(timeline.past()),
    global_name: name,
    display_name_styles: null,
    display_name: name,
    discriminator: '0',
    collectibles: null,
    bot: dice.chance(0.03),
    avatar_decoration_data: dice.chance(0.05)
      ? { sku_id: timeline.idAt(timeline.past()), asset: `a_${dice.hex(32)}`, expires_at: null }
      : null,
    avatar: dice.chance(0.8) ? dice.hex(32) : null,
  }
  universe.users.set(user['id'] as bigint, user)
  return user
}

export function makeBotUser(universe: Universe): JsonObject {
  const user: JsonObject = {
    ...makeUser(universe, universe.options.botUserId),
    username: 'gateway-bot',
    discriminator: '0042',
    global_name: null,
    display_name: null,
    bot: true,
  }
  universe.users.set(universe.options.botUserId, user)
  return user
}

/** A user for a new member: somebody known, or somebody new who may be online. */
export function someUserFor(universe: Universe, guild: Guild): bigint {
  const { dice } = universe
  if (dice.chance(KNOWN_USER_CHANCE)) {
    const known = universe.users.pickKey(dice)
    if (known !== undefined && !guild.members.has(known) && !guild.bans.has(known)) return known
  }
  const id = makeUser(universe)['id'] as bigint
  if (dice.chance(ONLINE_SHARE * activity(guild)))
    universe.presences.set(id, makePresence(universe))
  return id
}

export function makeMember(universe: Universe, guild: Guild, joinedAtMs: number): MemberTruth {
  const { dice, prose, timeline } = universe
  return {
    roles: dice.chance(activity(guild)) ? someRoles(universe, guild) : [],
    premium_since: dice.chance(0.03) ? timeline.iso(timeline.past(joinedAtMs)) : null,
    pending: dice.chance(0.03),
    nick: dice.chance(0.2 * activity(guild)) ? prose.name() : null,
    mute: dice.chance(0.01),
    joined_at: timeline.iso(joinedAtMs),
    flags: dice.chance(0.1) ? 1 << dice.int(0, 3) : 0,
    deaf: dice.chance(0.005),
    communication_disabled_until: dice.chance(0.01)
      ? timeline.iso(timeline.nowMs + 3_600_000)
      : null,
    banner: null,
    avatar: dice.chance(0.05) ? dice.hex(32) : null,
  }
}

/** Most members have no role or few; the everyone role is never listed. */
export function someRoles(universe: Universe, guild: Guild): bigint[] {
  const { dice } = universe
  if (dice.chance(0.5)) return []
  const roles = new Set<bigint>()
  for (let i = dice.int(1, 4); i > 0; i--) {
    const role = guild.roles.pickKey(dice)
    if (role !== undefined && role !== guild.id) roles.add(role)
  }
  return [...roles]
}

export function makePresence(universe: Universe): JsonObject {
  const { dice } = universe
  const status = dice.pick(['online', 'online', 'idle', 'dnd'])
  const activities: JsonObject[] = []
  if (dice.chance(0.4)) activities.push(customStatus(universe))
  if (dice.chance(0.5)) activities.push(game(universe))
  if (dice.chance(0.2)) activities.push(music(universe))
  return {
    status,
    client_status: { [dice.pick(['desktop', 'mobile', 'web'])]: status },
    activities,
  }
}

function activity(guild: Guild): number {
  return guild.members.size < CROWD_MEMBERS ? 1 : CROWD_ACTIVE_SHARE
}

function clan(universe: Universe): JsonObject {
  const { dice, timeline } = universe
  return {
    tag: dice.hex(4).toUpperCase(),
    identity_guild_id: timeline.idAt(timeline.past()),
    identity_enabled: true,
    badge: dice.hex(32),
  }
}

function customStatus(universe: Universe): JsonObject {
  const { dice, prose, timeline } = universe
  return {
    type: 4,
    state: prose.text(dice.int(1, 6)),
    name: 'Custom Status',
    id: 'custom',
    emoji: dice.chance(0.5)
      ? { name: '🔥' }
      : { name: 'blob', id: timeline.idAt(timeline.past()), animated: dice.chance(0.5) },
    created_at: timeline.nowMs,
  }
}

/** Fields of activities are "user-specifiable and not sanitized". See [Discord Docs/Gateway Events#activity-object]. */
function game(universe: Universe): JsonObject {
  const { dice, prose, timeline } = universe
  const application = timeline.idAt(timeline.past())
  return {
    type: 0,
    timestamps: { start: timeline.nowMs - dice.int(1000, 10_000_000) },
    state: prose.text(3),
    session_id: dice.hex(32),
    party: { size: [dice.int(1, 4), 5], id: dice.hex(16) },
    name: prose.name(),
    id: dice.hex(16),
    flags: 1,
    details: prose.text(5),
    created_at: timeline.nowMs,
    buttons: ['Join', 'Watch'],
    assets: {
      large_text: prose.name(),
      large_image: String(timeline.idAt(timeline.past())),
      small_image: `mp:external/${dice.hex(24)}`,
    },
    application_id: application,
  }
}

function music(universe: Universe): JsonObject {
  const { dice, prose, timeline } = universe
  const start = timeline.nowMs - dice.int(1000, 200_000)
  return {
    type: 2,
    timestamps: { start, end: start + dice.int(120_000, 300_000) },
    sync_id: dice.hex(22),
    state: prose.name(),
    session_id: dice.hex(32),
    party: { id: `spotify:${timeline.idAt(timeline.past())}` },
    name: 'Spotify',
    id: 'spotify:1',
    flags: 48,
    details: prose.name(),
    created_at: timeline.nowMs,
    assets: { large_text: prose.name(), large_image: `spotify:${dice.hex(40)}` },
  }
}
