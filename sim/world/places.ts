/** Channels, threads and what lives in them. See [Discord Docs/Channel]. */
import type { JsonObject } from './json.ts'
import type { Guild, Universe, VoiceTruth } from './universe.ts'

export const ChannelType = {
  Text: 0,
  Voice: 2,
  Category: 4,
  Announcement: 5,
  AnnouncementThread: 10,
  PublicThread: 11,
  PrivateThread: 12,
  Stage: 13,
  Forum: 15,
} as const

/** VIEW_CHANNEL, the bit that a hidden channel denies to the bot. */
export const VIEW_CHANNEL = 1n << 10n

export function makeChannel(
  universe: Universe,
  guild: Guild,
  type: number,
  options: { parentId?: bigint | null; position?: number; atMs?: number } = {},
): JsonObject {
  const { dice, prose, timeline } = universe
  const id = timeline.idAt(options.atMs ?? timeline.nowMs)
  const common = {
    version: timeline.nowMs,
    type,
    position: options.position ?? dice.int(0, 40),
    permission_overwrites: overwrites(universe, guild),
    name: prose.slug(),
    id,
    flags: 0,
  }
  if (type === ChannelType.Category) return common
  const parent = { parent_id: options.parentId ?? null }
  const last = { last_message_id: dice.chance(0.8) ? timeline.idAt(timeline.past()) : null }
  if (type === ChannelType.Voice || type === ChannelType.Stage) {
    return {
      ...common,
      ...parent,
      ...last,
      user_limit: dice.pick([0, 0, 5, 99]),
      status: null,
      rtc_region: null,
      rate_limit_per_user: 0,
      nsfw: false,
      icon_emoji: null,
      bitrate: dice.pick([64_000, 96_000, 128_000]),
    }
  }
  const text: JsonObject = {
    ...common,
    ...parent,
    ...last,
    topic: dice.chance(0.4) ? prose.text(dice.int(3, 20)) : null,
    rate_limit_per_user: dice.pick([0, 0, 0, 5, 30]),
    nsfw: dice.chance(0.05),
    last_pin_timestamp: dice.chance(0.3) ? timeline.iso(timeline.past()) : null,
    icon_emoji: dice.chance(0.2) ? { name: '💬', id: null } : null,
    theme_color: null,
  }
  if (type !== ChannelType.Forum) return text
  return {
    ...text,
    available_tags: [
      { name: prose.name(), moderated: false, id: timeline.id(), emoji_name: '🐛', emoji_id: null },
      { name: prose.name(), moderated: true, id: timeline.id(), emoji_name: null, emoji_id: null },
    ],
    default_reaction_emoji: { emoji_name: '👍', emoji_id: null },
    default_sort_order: null,
    default_forum_layout: 0,
    template: '',
  }
}

function overwrites(universe: Universe, guild: Guild): JsonObject[] {
  const { dice } = universe
  const list: JsonObject[] = []
  for (let i = dice.pick([0, 0, 1, 2, 4]); i > 0; i--) {
    const role = dice.chance(0.8) ? guild.roles.pickKey(dice) : undefined
    const id = role ?? guild.members.pickKey(dice)
    if (id === undefined || list.some((entry) => entry['id'] === id)) continue
    list.push({
      type: role === undefined ? 1 : 0,
      id,
      deny: String(dice.int(0, 0x7ffffff)),
      allow: String(dice.int(0, 0x7ffffff)),
    })
  }
  return list
}

export function makeThread(universe: Universe, guild: Guild, parentId: bigint): JsonObject {
  const { dice, prose, timeline } = universe
  const owner = guild.members.pickKey(dice) ?? universe.options.botUserId
  const parentType = guild.channels.get(parentId)?.['type']
  const id = timeline.id()
  return {
    type:
      parentType === ChannelType.Announcement
        ? ChannelType.AnnouncementThread
        : dice.chance(0.9)
          ? ChannelType.PublicThread
          : ChannelType.PrivateThread,
    total_message_sent: dice.int(0, 500),
    thread_metadata: {
      locked: false,
      create_timestamp: timeline.iso(),
      auto_archive_duration: dice.pick([60, 1440, 4320, 10_080]),
      archived: false,
      archive_timestamp: timeline.iso(),
    },
    rate_limit_per_user: 0,
    parent_id: parentId,
    owner_id: owner,
    name: prose.name(),
    message_count: dice.int(0, 500),
    member_count: dice.int(1, 50),
    last_message_id: timeline.id(),
    id,
    guild_id: guild.id,
    flags: 0,
    ...(parentType === ChannelType.Forum ? { applied_tags: [] } : {}),
  }
}

export function threadMember(
  universe: Universe,
  guild: Guild,
  threadId: bigint,
  userId: bigint,
): JsonObject {
  const member = guild.members.has(userId) ? { member: universe.member(guild, userId) } : {}
  return {
    user_id: userId,
    muted: false,
    mute_config: null,
    join_timestamp: universe.timeline.iso(),
    id: threadId,
    flags: 0,
    ...member,
  }
}

export function makeVoiceState(
  universe: Universe,
  channelId: bigint,
  userId: bigint,
  sessionId: string = universe.dice.hex(32),
): VoiceTruth {
  const { dice } = universe
  return {
    user_id: userId,
    suppress: false,
    session_id: sessionId,
    self_video: dice.chance(0.1),
    self_mute: dice.chance(0.3),
    self_deaf: dice.chance(0.1),
    request_to_speak_timestamp: null,
    mute: dice.chance(0.03),
    deaf: false,
    channel_id: channelId,
    ...(dice.chance(0.1) ? { self_stream: true } : {}),
  }
}

/** Channels of these types that the bot may view. */
export function visibleChannels(guild: Guild, types: readonly number[]): JsonObject[] {
  return guild.channels.filter(
    (channel) =>
      types.includes(channel['type'] as number) &&
      !guild.hiddenChannels.has(channel['id'] as bigint),
  )
}
