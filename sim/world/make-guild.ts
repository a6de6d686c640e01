/** A whole guild, as it stands when the world begins or when the bot is invited to it. */
import type { JsonObject } from './json.ts'
import { makeMember, someUserFor } from './people.ts'
import { ChannelType, makeChannel, makeThread, makeVoiceState, visibleChannels } from './places.ts'
import { Pool } from './pool.ts'
import type { Guild, MemberTruth, Universe } from './universe.ts'

/** Spread of the guilds' sizes: with a median of 40, one guild in a hundred has more than 600 members. */
const MEMBERS_SIGMA = 1.15

export function makeGuild(universe: Universe, memberCount?: number): Guild {
  const { dice, timeline, options } = universe
  const createdAtMs = timeline.past()
  const id = timeline.idAt(createdAtMs)
  const joinedAtMs = timeline.past(createdAtMs)
  const guild: Guild = {
    id,
    base: {},
    joinedAtMs,
    channels: new Pool(),
    hiddenChannels: new Set(),
    threads: new Pool(),
    archivedThreads: new Pool(),
    threadMembers: new Map(),
    roles: new Pool(),
    emojis: new Pool(),
    stickers: new Pool(),
    sounds: new Pool(),
    stageInstances: new Pool(),
    scheduledEvents: new Pool(),
    autoModerationRules: new Pool(),
    integrations: new Pool(),
    members: new Pool(),
    voiceStates: new Pool(),
    bans: new Pool(),
    messages: [],
    voiceStatus: new Map(),
    voiceStartSeconds: new Map(),
  }
  const wanted = memberCount ?? Math.floor(dice.logNormal(options.membersMedian, MEMBERS_SIGMA)) + 2
  const members = Math.max(3, Math.min(options.membersMax, wanted))
  fillRoles(universe, guild, members)
  fillMembers(universe, guild, members, createdAtMs)
  fillChannels(universe, guild, members, createdAtMs)
  fillExpressions(universe, guild)
  fillVoice(universe, guild)
  guild.base = makeBase(universe, guild)
  return guild
}

export function makeRole(universe: Universe, id: bigint, name: string): JsonObject {
  const { dice, timeline } = universe
  return {
    version: timeline.nowMs,
    unicode_emoji: dice.chance(0.05) ? '🌟' : null,
    tags: dice.chance(0.05) ? { premium_subscriber: null } : {},
    position: dice.int(0, 60),
    permissions: String(BigInt(dice.int(0, 0x7fffffff)) << BigInt(dice.int(0, 20))),
    name,
    mentionable: dice.chance(0.2),
    managed: dice.chance(0.05),
    id,
    icon: dice.chance(0.05) ? dice.hex(32) : null,
    hoist: dice.chance(0.2),
    flags: 0,
    colors: { primary_color: dice.int(0, 0xffffff), secondary_color: null, tertiary_color: null },
    color: dice.int(0, 0xffffff),
  }
}

export function makeEmoji(universe: Universe, guild: Guild): JsonObject {
  const { dice, prose, timeline } = universe
  const role = dice.chance(0.1) ? guild.roles.pickKey(dice) : undefined
  return {
    version: timeline.nowMs,
    roles: role === undefined || role === guild.id ? [] : [role],
    require_colons: true,
    name: prose.handle().replaceAll('.', '_'),
    managed: false,
    id: timeline.id(),
    available: true,
    animated: dice.chance(0.3),
  }
}

export function makeSticker(universe: Universe, guild: Guild): JsonObject {
  const { prose, timeline } = universe
  return {
    version: timeline.nowMs,
    type: 2,
    tags: '🙂',
    name: prose.name(),
    id: timeline.id(),
    guild_id: guild.id,
    format_type: 1,
    description: prose.text(4),
    available: true,
    asset: '',
  }
}

export function makeSound(universe: Universe, guild: Guild): JsonObject {
  const { dice, prose, timeline } = universe
  return {
    volume: dice.pick([1, 0.5, 0.75]),
    user_id: universe.options.botUserId,
    sound_id: timeline.id(),
    name: prose.name(),
    guild_id: guild.id,
    emoji_name: dice.chance(0.5) ? '🔊' : null,
    emoji_id: null,
    available: true,
  }
}

export function makeBotMember(universe: Universe, joinedAtMs: number, roleId: bigint): MemberTruth {
  return {
    roles: [roleId],
    premium_since: null,
    pending: false,
    nick: null,
    mute: false,
    joined_at: universe.timeline.iso(joinedAtMs),
    flags: 0,
    deaf: false,
    communication_disabled_until: null,
    banner: null,
    avatar: null,
  }
}

function fillRoles(universe: Universe, guild: Guild, members: number): void {
  const { dice, prose, timeline, options } = universe
  guild.roles.set(guild.id, {
    ...makeRole(universe, guild.id, '@everyone'),
    position: 0,
    tags: {},
    managed: false,
  })
  const botRole = timeline.idAt(guild.joinedAtMs)
  guild.roles.set(botRole, {
    ...makeRole(universe, botRole, 'gateway-bot'),
    tags: { bot_id: options.botUserId },
    managed: true,
  })
  const count = 2 + Math.min(60, Math.floor(Math.sqrt(members) * 0.8) + dice.int(0, 5))
  for (let i = 0; i < count; i++) {
    const id = timeline.idAt(timeline.past())
    guild.roles.set(id, makeRole(universe, id, prose.name()))
  }
  universe.addMember(guild, options.botUserId, makeBotMember(universe, guild.joinedAtMs, botRole))
}

function fillMembers(universe: Universe, guild: Guild, count: number, sinceMs: number): void {
  while (guild.members.size < count) {
    const userId = someUserFor(universe, guild)
    if (guild.members.has(userId)) continue
    universe.addMember(guild, userId, makeMember(universe, guild, universe.timeline.past(sinceMs)))
  }
}

function fillChannels(universe: Universe, guild: Guild, members: number, sinceMs: number): void {
  const { dice, timeline } = universe
  const types = [
    ChannelType.Text,
    ChannelType.Text,
    ChannelType.Text,
    ChannelType.Voice,
    ChannelType.Announcement,
    ChannelType.Forum,
    ChannelType.Stage,
  ]
  const categories: bigint[] = []
  for (let i = dice.int(1, 4); i > 0; i--) {
    const category = makeChannel(universe, guild, ChannelType.Category, {
      atMs: timeline.past(sinceMs),
    })
    categories.push(category['id'] as bigint)
    guild.channels.set(category['id'] as bigint, category)
  }
  const count = 4 + Math.min(90, Math.floor(Math.sqrt(members) * 1.2) + dice.int(0, 6))
  for (let i = 0; i < count; i++) {
    // The first of each kind that mutations need, then whatever comes.
    const type = [ChannelType.Text, ChannelType.Voice, ChannelType.Stage, ChannelType.Text][i]
    const channel = makeChannel(universe, guild, type ?? dice.pick(types), {
      parentId: dice.chance(0.8) ? dice.pick(categories) : null,
      position: i,
      atMs: timeline.past(sinceMs),
    })
    guild.channels.set(channel['id'] as bigint, channel)
    if (i > 4 && type === undefined && dice.chance(0.06)) {
      guild.hiddenChannels.add(channel['id'] as bigint)
    }
  }
  const parents = visibleChannels(guild, [ChannelType.Text, ChannelType.Forum])
  for (let i = Math.min(40, dice.int(0, 3) + Math.floor(members / 60)); i > 0; i--) {
    const thread = makeThread(universe, guild, dice.pick(parents)['id'] as bigint)
    guild.threads.set(thread['id'] as bigint, thread)
    guild.threadMembers.set(thread['id'] as bigint, new Set([thread['owner_id'] as bigint]))
  }
}

function fillExpressions(universe: Universe, guild: Guild): void {
  const { dice, timeline } = universe
  for (let i = Math.min(150, Math.floor(dice.logNormal(8, 1))); i > 0; i--) {
    const emoji = { ...makeEmoji(universe, guild), id: timeline.idAt(timeline.past()) }
    guild.emojis.set(emoji.id, emoji)
  }
  for (let i = dice.pick([0, 0, 1, 3]); i > 0; i--) {
    const sticker = makeSticker(universe, guild)
    guild.stickers.set(sticker['id'] as bigint, sticker)
  }
  for (let i = dice.pick([0, 0, 0, 2]); i > 0; i--) {
    const sound = makeSound(universe, guild)
    guild.sounds.set(sound['sound_id'] as bigint, sound)
  }
}

function fillVoice(universe: Universe, guild: Guild): void {
  const { dice } = universe
  const channels = visibleChannels(guild, [ChannelType.Voice])
  for (let i = Math.floor(guild.members.size * 0.03); i > 0; i--) {
    const userId = guild.members.pickKey(dice)!
    if (userId === universe.options.botUserId) continue
    const channel = dice.pick(channels)['id'] as bigint
    guild.voiceStates.set(userId, makeVoiceState(universe, channel, userId))
  }
}

function makeBase(universe: Universe, guild: Guild): JsonObject {
  const { dice, prose } = universe
  const text = visibleChannels(guild, [ChannelType.Text])
  const owner = [...guild.members.keys()].find((id) => id !== universe.options.botUserId)
  return {
    widget_enabled: false,
    widget_channel_id: null,
    verification_level: dice.int(0, 4),
    vanity_url_code: dice.chance(0.1) ? prose.handle() : null,
    system_channel_id: text[0]?.['id'] ?? null,
    system_channel_flags: dice.int(0, 63),
    splash: null,
    safety_alerts_channel_id: null,
    rules_channel_id: null,
    region: 'deprecated',
    public_updates_channel_id: null,
    profile: null,
    premium_tier: dice.int(0, 3),
    premium_subscription_count: dice.int(0, 40),
    premium_progress_bar_enabled: false,
    preferred_locale: dice.pick(['en-US', 'de', 'fr', 'ja']),
    owner_id: owner ?? universe.options.botUserId,
    owner_configured_content_level: 0,
    nsfw_level: 0,
    nsfw: false,
    name: prose.name(),
    mfa_level: dice.int(0, 1),
    max_video_channel_users: 25,
    max_stage_video_channel_users: 50,
    max_members: 25_000_000,
    latest_onboarding_question_id: null,
    inventory_settings: null,
    incidents_data: null,
    id: guild.id,
    icon: dice.chance(0.8) ? dice.hex(32) : null,
    hub_type: null,
    home_header: null,
    features: dice.some(
      [
        'COMMUNITY',
        'NEWS',
        'ANIMATED_ICON',
        'SOUNDBOARD',
        'INVITE_SPLASH',
        'THREE_DAY_THREAD_ARCHIVE',
      ],
      3,
    ),
    explicit_content_filter: dice.int(0, 2),
    discovery_splash: null,
    description: dice.chance(0.3) ? prose.text(8) : null,
    default_message_notifications: dice.int(0, 1),
    banner: null,
    application_id: null,
    afk_timeout: 300,
    afk_channel_id: null,
  }
}
