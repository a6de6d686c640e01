/** Messages, reactions, polls, typing. See [Discord Docs/Gateway Events#messages]. */
import { INTENTS } from '../../../src/discord/index.ts'
import type { JsonLike, JsonObject } from '../json.ts'
import { ChannelType, visibleChannels } from '../places.ts'
import type { Guild, Universe } from '../universe.ts'
import { event } from '../world-event.ts'
import type { Mutation, WorldEvent } from '../world-event.ts'

/** Messages of a guild that later changes may refer to. */
const MESSAGES_KEPT = 20
const { GUILD_MESSAGES, DIRECT_MESSAGES, GUILD_MESSAGE_REACTIONS } = INTENTS
const { GUILD_MESSAGE_TYPING, DIRECT_MESSAGE_TYPING, GUILD_MESSAGE_POLLS } = INTENTS

export const MESSAGE_MUTATIONS = {
  MESSAGE_CREATE(universe, guild) {
    const message = makeMessage(universe, guild)
    return message === null ? [] : [event('MESSAGE_CREATE', guild.id, message, GUILD_MESSAGES)]
  },
  /** The whole message, tts always false. */
  MESSAGE_UPDATE(universe, guild) {
    const { before, message } = someMessage(universe, guild)
    if (message === undefined) return []
    const edited = {
      ...message,
      tts: false,
      edited_timestamp: universe.timeline.iso(),
      content: universe.prose.text(20),
    }
    guild.messages = guild.messages.map((entry) => (entry === message ? edited : entry))
    return [...before, event('MESSAGE_UPDATE', guild.id, edited, GUILD_MESSAGES)]
  },
  MESSAGE_DELETE(universe, guild) {
    const { before, message } = someMessage(universe, guild)
    if (message === undefined) return []
    guild.messages = guild.messages.filter((entry) => entry !== message)
    return [...before, event('MESSAGE_DELETE', guild.id, where(message, 'id'), GUILD_MESSAGES)]
  },
  MESSAGE_DELETE_BULK(universe, guild) {
    const { before, message } = someMessage(universe, guild)
    if (message === undefined) return []
    const channelId = message['channel_id']!
    const gone = guild.messages.filter((entry) => entry['channel_id'] === channelId)
    guild.messages = guild.messages.filter((entry) => entry['channel_id'] !== channelId)
    const d = {
      ids: gone.map((entry) => entry['id']!),
      guild_id: guild.id,
      channel_id: channelId,
    }
    return [...before, event('MESSAGE_DELETE_BULK', guild.id, d, GUILD_MESSAGES)]
  },
  MESSAGE_REACTION_ADD(universe, guild) {
    const { before, message } = someMessage(universe, guild)
    const userId = guild.members.pickKey(universe.dice)
    if (message === undefined || userId === undefined) return []
    return [
      ...before,
      reaction('MESSAGE_REACTION_ADD', message, {
        user_id: userId,
        type: 0,
        message_author_id: (message['author'] as JsonObject)['id']!,
        member: universe.member(guild, userId),
        emoji: emoji(universe, guild),
        burst: false,
      }),
    ]
  },
  MESSAGE_REACTION_REMOVE(universe, guild) {
    const { before, message } = someMessage(universe, guild)
    const userId = guild.members.pickKey(universe.dice)
    if (message === undefined || userId === undefined) return []
    const rest = { user_id: userId, type: 0, emoji: emoji(universe, guild), burst: false }
    return [...before, reaction('MESSAGE_REACTION_REMOVE', message, rest)]
  },
  MESSAGE_REACTION_REMOVE_ALL(universe, guild) {
    const { before, message } = someMessage(universe, guild)
    if (message === undefined) return []
    return [...before, reaction('MESSAGE_REACTION_REMOVE_ALL', message, {})]
  },
  MESSAGE_REACTION_REMOVE_EMOJI(universe, guild) {
    const { before, message } = someMessage(universe, guild)
    if (message === undefined) return []
    const rest = { emoji: emoji(universe, guild) }
    return [...before, reaction('MESSAGE_REACTION_REMOVE_EMOJI', message, rest)]
  },
  MESSAGE_POLL_VOTE_ADD(universe, guild) {
    return pollVote('MESSAGE_POLL_VOTE_ADD', universe, guild)
  },
  MESSAGE_POLL_VOTE_REMOVE(universe, guild) {
    return pollVote('MESSAGE_POLL_VOTE_REMOVE', universe, guild)
  },
  TYPING_START(universe, guild) {
    const userId = guild.members.pickKey(universe.dice)
    const channelId = textChannel(universe, guild)
    if (userId === undefined || channelId === undefined) return []
    const d = {
      user_id: userId,
      timestamp: Math.floor(universe.timeline.nowMs / 1000),
      member: universe.member(guild, userId),
      guild_id: guild.id,
      channel_id: channelId,
    }
    return [event('TYPING_START', guild.id, d, GUILD_MESSAGE_TYPING)]
  },
  /** Direct messages have no guild_id and no member, and go to shard 0. */
  DIRECT_MESSAGE_CREATE(universe) {
    const { dice, prose, timeline } = universe
    const userId = universe.users.pickKey(dice)
    if (userId === undefined || userId === universe.options.botUserId) return []
    const message = messageOf(universe, universe.user(userId), timeline.id(), 1)
    return [event('MESSAGE_CREATE', null, { ...message, content: prose.text(10) }, DIRECT_MESSAGES)]
  },
  DIRECT_TYPING_START(universe) {
    const userId = universe.users.pickKey(universe.dice)
    if (userId === undefined) return []
    const d = {
      user_id: userId,
      timestamp: Math.floor(universe.timeline.nowMs / 1000),
      channel_id: universe.timeline.id(),
    }
    return [event('TYPING_START', null, d, DIRECT_MESSAGE_TYPING)]
  },
} as const satisfies Record<string, Mutation>

/**
 * A message with this text and nothing else, by the bot or by a person.
 *
 * @param channelId null: any text channel of the guild.
 * @returns no event where nobody could write it.
 */
export function writeMessage(
  universe: Universe,
  guild: Guild,
  channelId: bigint | null,
  content: string,
  isBot: boolean,
): WorldEvent[] {
  const { botUserId } = universe.options
  const place = channelId ?? textChannel(universe, guild)
  const people = [...guild.members.keys()].filter((id) => id !== botUserId)
  const authorId = isBot ? botUserId : people[0]
  if (place === undefined || authorId === undefined || !guild.members.has(authorId)) return []
  const { user: author, ...member } = universe.member(guild, authorId)
  const message: JsonObject = {
    type: 0,
    tts: false,
    timestamp: universe.timeline.iso(),
    pinned: false,
    mentions: [],
    mention_roles: [],
    mention_everyone: false,
    id: universe.timeline.id(),
    flags: 0,
    embeds: [],
    edited_timestamp: null,
    content,
    components: [],
    channel_type: guild.channels.get(place)?.['type'] ?? 11,
    channel_id: place,
    author: author as JsonObject,
    attachments: [],
    member,
    guild_id: guild.id,
  }
  remember(guild, message)
  return [event('MESSAGE_CREATE', guild.id, message, GUILD_MESSAGES)]
}

function remember(guild: Guild, message: JsonObject): void {
  guild.messages = [...guild.messages.slice(1 - MESSAGES_KEPT), message]
  noteLastMessage(guild, message['channel_id'] as bigint, message['id'] as bigint)
}

/** A message in the guild, remembered; null when there is no channel or nobody to write it. */
function makeMessage(universe: Universe, guild: Guild): JsonObject | null {
  const { dice } = universe
  const channelId = textChannel(universe, guild)
  const authorId = guild.members.pickKey(dice)
  if (channelId === undefined || authorId === undefined) return null
  const { user: author, ...member } = universe.member(guild, authorId)
  const mentions = dice.chance(0.2) ? dice.some([guild.members.pickKey(dice)!], 1) : []
  const type = guild.channels.get(channelId)?.['type'] ?? 11
  const message: JsonObject = {
    ...messageOf(universe, author as JsonObject, channelId, type as number),
    mentions: mentions.map((userId) => {
      const { user, ...mentioned } = universe.member(guild, userId)
      return { ...(user as JsonObject), member: mentioned }
    }),
    mention_roles: dice.chance(0.05) ? dice.some([...guild.roles.keys()], 2) : [],
    member,
    guild_id: guild.id,
  }
  remember(guild, message)
  return message
}

/** Channels and threads remember their newest message; no CHANNEL_UPDATE is sent for it. */
function noteLastMessage(guild: Guild, channelId: bigint, messageId: bigint): void {
  for (const pool of [guild.channels, guild.threads]) {
    const place = pool.get(channelId)
    if (place !== undefined) pool.set(channelId, { ...place, last_message_id: messageId })
  }
}

function messageOf(
  universe: Universe,
  author: JsonObject,
  channelId: bigint,
  channelType: number,
): JsonObject {
  const { dice, prose, timeline } = universe
  const id = timeline.id()
  return {
    type: 0,
    tts: false,
    timestamp: timeline.iso(),
    pinned: false,
    nonce: dice.chance(0.5) ? String(timeline.id()) : dice.int(1, 1_000_000),
    mentions: [],
    mention_roles: [],
    mention_everyone: false,
    id,
    flags: 0,
    embeds: dice.chance(0.4) ? [embed(universe)] : [],
    edited_timestamp: null,
    content: prose.text(Math.max(1, Math.min(300, Math.floor(dice.logNormal(18, 1))))),
    components: dice.chance(0.25) ? [buttons(universe)] : [],
    channel_type: channelType,
    channel_id: channelId,
    author,
    attachments: dice.chance(0.2) ? [attachment(universe, channelId)] : [],
    ...(dice.chance(0.04) ? { poll: poll(universe) } : {}),
    ...(dice.chance(0.1) ? { sticker_items: [{ name: 'wave', id, format_type: 1 }] } : {}),
  }
}

function embed(universe: Universe): JsonObject {
  const { dice, prose, timeline } = universe
  return {
    type: 'rich',
    title: prose.name(),
    timestamp: timeline.iso(),
    id: String(timeline.id()),
    footer: { text: prose.text(3) },
    fields: [1, 2, 3].map((value) => ({
      value: prose.text(6 + value),
      name: prose.name(),
      inline: true,
    })),
    description: prose.text(30),
    content_scan_version: 1,
    color: dice.int(0, 0xffffff),
    author: { name: prose.name(), icon_url: `https://cdn.example/${dice.hex(32)}.png` },
  }
}

/** Ids of components are small numbers, not snowflakes. */
function buttons(universe: Universe): JsonObject {
  const { dice, prose } = universe
  return {
    type: 1,
    id: 1,
    components: [2, 3].map((id) => ({
      type: 2,
      style: dice.int(1, 4),
      label: prose.name(),
      id,
      custom_id: dice.hex(20),
    })),
  }
}

function attachment(universe: Universe, channelId: bigint): JsonObject {
  const { dice, timeline } = universe
  const id = timeline.id()
  return {
    width: dice.int(100, 4000),
    url: `https://cdn.example/attachments/${channelId}/${id}/image.png?ex=${dice.hex(8)}&hm=${dice.hex(64)}&`,
    size: dice.int(1000, 9_000_000),
    proxy_url: `https://media.example/attachments/${channelId}/${id}/image.png?ex=${dice.hex(8)}&hm=${dice.hex(64)}&`,
    placeholder_version: 1,
    placeholder: dice.hex(28),
    id,
    height: dice.int(100, 4000),
    filename: 'image.png',
    content_type: 'image/png',
    content_scan_version: 1,
  }
}

function poll(universe: Universe): JsonObject {
  const { prose, timeline } = universe
  return {
    question: { text: prose.text(6) },
    layout_type: 1,
    expiry: timeline.iso(timeline.nowMs + 86_400_000),
    answers: [1, 2].map((id) => ({ poll_media: { text: prose.name() }, answer_id: id })),
    allow_multiselect: false,
  }
}

function someMessage(
  universe: Universe,
  guild: Guild,
): { before: WorldEvent[]; message: JsonObject | undefined } {
  const before: WorldEvent[] =
    guild.messages.length === 0 ? MESSAGE_MUTATIONS.MESSAGE_CREATE(universe, guild) : []
  const message = guild.messages.length === 0 ? undefined : universe.dice.pick(guild.messages)
  return { before, message }
}

function where(message: JsonObject, idKey: 'id' | 'message_id'): Record<string, JsonLike> {
  return {
    [idKey]: message['id']!,
    guild_id: message['guild_id']!,
    channel_id: message['channel_id']!,
  }
}

function reaction(t: string, message: JsonObject, rest: Record<string, JsonLike>): WorldEvent {
  const guildId = message['guild_id'] as bigint
  return event(t, guildId, { ...rest, ...where(message, 'message_id') }, GUILD_MESSAGE_REACTIONS)
}

function emoji(universe: Universe, guild: Guild): JsonObject {
  const custom = universe.dice.chance(0.5) ? guild.emojis.pick(universe.dice) : undefined
  if (custom === undefined) return { name: '👍', id: null }
  return { name: custom['name']!, id: custom['id']!, animated: custom['animated']! }
}

function pollVote(t: string, universe: Universe, guild: Guild): WorldEvent[] {
  const { before, message } = someMessage(universe, guild)
  const userId = guild.members.pickKey(universe.dice)
  if (message === undefined || userId === undefined) return []
  const d = { ...where(message, 'message_id'), user_id: userId, answer_id: universe.dice.int(1, 2) }
  return [...before, event(t, guild.id, d, GUILD_MESSAGE_POLLS)]
}

function textChannel(universe: Universe, guild: Guild): bigint | undefined {
  const { dice } = universe
  if (guild.threads.size > 0 && dice.chance(0.1)) return guild.threads.pickKey(dice)
  const channels = visibleChannels(guild, [ChannelType.Text, ChannelType.Announcement])
  return channels.length === 0 ? undefined : (dice.pick(channels)['id'] as bigint)
}
