/** Voice states: join, move, mute, leave; and what else happens in voice channels. */
import type { JsonObject } from '../json.ts'
import { ChannelType, makeVoiceState, visibleChannels } from '../places.ts'
import type { Guild, Universe, VoiceTruth } from '../universe.ts'
import { event } from '../world-event.ts'
import type { Mutation, WorldEvent } from '../world-event.ts'

export const VOICE_MUTATIONS = {
  VOICE_JOIN(universe, guild) {
    const userId = guild.members.pickKey(universe.dice)
    const channelId = voiceChannel(universe, guild)
    if (userId === undefined || channelId === undefined || guild.voiceStates.has(userId)) return []
    return [setVoice(universe, guild, makeVoiceState(universe, channelId, userId))]
  },
  VOICE_MOVE(universe, guild) {
    const { before, state } = someState(universe, guild)
    const channelId = voiceChannel(universe, guild)
    if (state === undefined || channelId === undefined) return []
    return [...before, setVoice(universe, guild, { ...state, channel_id: channelId })]
  },
  VOICE_MUTE(universe, guild) {
    const { before, state } = someState(universe, guild)
    if (state === undefined) return []
    const changed = { ...state, self_mute: state['self_mute'] !== true, self_deaf: false }
    return [...before, setVoice(universe, guild, changed)]
  },
  VOICE_LEAVE(universe, guild) {
    const { before, state } = someState(universe, guild)
    if (state === undefined) return []
    return [...before, ...leaveVoice(universe, guild, state.user_id)]
  },
  VOICE_CHANNEL_STATUS_UPDATE(universe, guild) {
    const id = voiceChannel(universe, guild)
    if (id === undefined) return []
    const status = universe.prose.name()
    guild.voiceStatus.set(id, status)
    return [event('VOICE_CHANNEL_STATUS_UPDATE', guild.id, { status, id, guild_id: guild.id })]
  },
  VOICE_CHANNEL_START_TIME_UPDATE(universe, guild) {
    const id = voiceChannel(universe, guild)
    if (id === undefined) return []
    const start = Math.floor(universe.timeline.nowMs / 1000)
    guild.voiceStartSeconds.set(id, start)
    const d = { voice_start_time: start, id, guild_id: guild.id }
    return [event('VOICE_CHANNEL_START_TIME_UPDATE', guild.id, d)]
  },
  /** `sound_id` is a snowflake or, for Discord's own sounds, a small integer. */
  VOICE_CHANNEL_EFFECT_SEND(universe, guild) {
    const { dice } = universe
    const channelId = voiceChannel(universe, guild)
    const userId = guild.members.pickKey(dice)
    if (channelId === undefined || userId === undefined) return []
    const d: JsonObject = {
      user_id: userId,
      sound_volume: 0.5,
      sound_id: guild.sounds.pickKey(dice) ?? dice.int(1, 6),
      guild_id: guild.id,
      emoji: { name: '🦆', id: null },
      channel_id: channelId,
      animation_type: 1,
      animation_id: dice.int(0, 20),
    }
    return [event('VOICE_CHANNEL_EFFECT_SEND', guild.id, d)]
  },
} as const satisfies Record<string, Mutation>

/** The state as it is now; `member` is in the event, but not in GUILD_CREATE. */
export function setVoice(universe: Universe, guild: Guild, state: VoiceTruth): WorldEvent {
  guild.voiceStates.set(state.user_id, state)
  return voiceEvent(universe, guild, state)
}

/** channel_id null: the user has left. No event when it was not in voice. */
export function leaveVoice(universe: Universe, guild: Guild, userId: bigint): WorldEvent[] {
  const state = guild.voiceStates.get(userId)
  if (state === undefined) return []
  guild.voiceStates.delete(userId)
  return [voiceEvent(universe, guild, { ...state, channel_id: null })]
}

function voiceEvent(universe: Universe, guild: Guild, state: JsonObject): WorldEvent {
  const member = universe.member(guild, state['user_id'] as bigint)
  return event('VOICE_STATE_UPDATE', guild.id, { member, ...state, guild_id: guild.id })
}

function voiceChannel(universe: Universe, guild: Guild): bigint | undefined {
  const channels = visibleChannels(guild, [ChannelType.Voice])
  return channels.length === 0 ? undefined : (universe.dice.pick(channels)['id'] as bigint)
}

/** Somebody in voice; somebody is brought in first if nobody is. */
function someState(
  universe: Universe,
  guild: Guild,
): { before: WorldEvent[]; state: VoiceTruth | undefined } {
  const before: WorldEvent[] =
    guild.voiceStates.size === 0 ? VOICE_MUTATIONS.VOICE_JOIN(universe, guild) : []
  return { before, state: guild.voiceStates.pick(universe.dice) }
}
