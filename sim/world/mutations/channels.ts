/** Channels and pins. See [Discord Docs/Gateway Events#channels]. */
import type { JsonObject } from '../json.ts'
import { ChannelType, makeChannel, VIEW_CHANNEL, visibleChannels } from '../places.ts'
import type { Guild, Universe } from '../universe.ts'
import { event } from '../world-event.ts'
import type { Mutation, WorldEvent } from '../world-event.ts'
import { threadListSync } from './threads.ts'
import { leaveVoice } from './voice.ts'

/** Guilds keep at least so many channels, so that other changes find a place. */
const CHANNELS_MIN = 8
const CHANNELS_MAX = 150

export const CHANNEL_MUTATIONS = {
  CHANNEL_CREATE(universe, guild) {
    const { dice } = universe
    if (guild.channels.size >= CHANNELS_MAX) return []
    const types = Object.values(ChannelType).filter((type) => type < 10 || type > 12)
    const type = dice.pick(types)
    const categories = guild.channels.filter((entry) => entry['type'] === ChannelType.Category)
    const parentId =
      categories.length > 0 && dice.chance(0.7) ? (dice.pick(categories)['id'] as bigint) : null
    const channel = makeChannel(universe, guild, type, { parentId })
    guild.channels.set(channel['id'] as bigint, channel)
    return [channelEvent('CHANNEL_CREATE', guild, channel)]
  },
  CHANNEL_UPDATE(universe, guild) {
    const { dice, prose } = universe
    const channel = guild.channels.pick(dice)
    if (channel === undefined) return []
    const changes: JsonObject[] = [
      { name: prose.slug() },
      { position: dice.int(0, 50) },
      channel['type'] === ChannelType.Text ? { topic: prose.text(8) } : { name: prose.slug() },
      { permission_overwrites: [] },
    ]
    return [setChannel(universe, guild, { ...channel, ...dice.pick(changes) })]
  },
  /** Its threads go without a word, who is in voice is disconnected, children of a category lose it. */
  CHANNEL_DELETE(universe, guild) {
    if (guild.channels.size <= CHANNELS_MIN) return []
    const channel = guild.channels.pick(universe.dice)
    if (channel === undefined || isNeeded(guild, channel)) return []
    const id = channel['id'] as bigint
    const children = guild.channels.filter((entry) => entry['parent_id'] === id)
    guild.channels.delete(id)
    guild.hiddenChannels.delete(id)
    for (const pool of [guild.threads, guild.archivedThreads]) {
      for (const thread of pool.filter((entry) => entry['parent_id'] === id)) {
        pool.delete(thread['id'] as bigint)
        guild.threadMembers.delete(thread['id'] as bigint)
      }
    }
    const instances = guild.stageInstances.filter((entry) => entry['channel_id'] === id)
    for (const instance of instances) guild.stageInstances.delete(instance['id'] as bigint)
    const speakers = guild.voiceStates.filter((state) => state.channel_id === id)
    return [
      ...children.map((child) => setChannel(universe, guild, { ...child, parent_id: null })),
      channelEvent('CHANNEL_DELETE', guild, channel),
      ...speakers.flatMap((state) => leaveVoice(universe, guild, state.user_id)),
      ...instances.map((instance) => event('STAGE_INSTANCE_DELETE', guild.id, instance)),
    ]
  },
  CHANNEL_PINS_UPDATE(universe, guild) {
    const channels = visibleChannels(guild, [ChannelType.Text, ChannelType.Announcement])
    if (channels.length === 0) return []
    const channel = universe.dice.pick(channels)
    const at = universe.timeline.iso()
    const id = channel['id'] as bigint
    guild.channels.set(id, { ...channel, last_pin_timestamp: at })
    const d = { last_pin_timestamp: at, guild_id: guild.id, channel_id: id }
    return [event('CHANNEL_PINS_UPDATE', guild.id, d, GUILDS)]
  },
  /** The bot may no longer view a channel: CHANNEL_UPDATE only, no THREAD_DELETE for its threads. */
  CHANNEL_HIDE(universe, guild) {
    const channels = visibleChannels(guild, [ChannelType.Text])
    if (channels.length < 4) return []
    const channel = universe.dice.pick(channels)
    if (isNeeded(guild, channel)) return []
    const id = channel['id'] as bigint
    guild.hiddenChannels.add(id)
    for (const thread of guild.threads.filter((entry) => entry['parent_id'] === id)) {
      guild.threads.delete(thread['id'] as bigint)
      guild.archivedThreads.set(thread['id'] as bigint, thread)
    }
    const overwrite = { type: 1, id: universe.options.botUserId, deny: String(VIEW_CHANNEL) }
    const permissionOverwrites = [{ ...overwrite, allow: '0' }]
    return [
      setChannel(universe, guild, { ...channel, permission_overwrites: permissionOverwrites }),
    ]
  },
  /** The bot may view a channel again: CHANNEL_UPDATE, then THREAD_LIST_SYNC with its active threads. */
  CHANNEL_REVEAL(universe, guild) {
    const before: WorldEvent[] =
      guild.hiddenChannels.size === 0 ? CHANNEL_MUTATIONS.CHANNEL_HIDE(universe, guild) : []
    if (guild.hiddenChannels.size === 0) return before
    const id = universe.dice.pick([...guild.hiddenChannels])
    const channel = guild.channels.get(id)
    if (channel === undefined) return before
    guild.hiddenChannels.delete(id)
    return [
      ...before,
      setChannel(universe, guild, { ...channel, permission_overwrites: [] }),
      threadListSync(universe, guild, [id]),
    ]
  },
} as const satisfies Record<string, Mutation>

const GUILDS = 1

function setChannel(universe: Universe, guild: Guild, channel: JsonObject): WorldEvent {
  const changed = { ...channel, version: universe.timeline.nowMs }
  guild.channels.set(channel['id'] as bigint, changed)
  return channelEvent('CHANNEL_UPDATE', guild, changed)
}

function channelEvent(t: string, guild: Guild, channel: JsonObject): WorldEvent {
  return event(t, guild.id, { ...channel, guild_id: guild.id })
}

/** The guild object refers to it, or it is one of the last of its kind. */
function isNeeded(guild: Guild, channel: JsonObject): boolean {
  if (guild.base['system_channel_id'] === channel['id']) return true
  const type = channel['type'] as number
  return visibleChannels(guild, [type]).length < 2
}
