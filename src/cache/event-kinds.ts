/** Which kinds of state an event changes: one that changes none that is kept need not come to the cache. */
import { STATE_KIND_NAMES, type StateKind } from '../discord/index.ts'

/** Membership is kept whatever is cached. */
const ALWAYS = ['READY', 'GUILD_CREATE', 'GUILD_DELETE']

const KINDS: Readonly<Record<string, readonly StateKind[]>> = {
  GUILD_UPDATE: ['guilds'],
  CHANNEL_CREATE: ['channels'],
  CHANNEL_UPDATE: ['channels'],
  CHANNEL_DELETE: ['channels', 'threads'],
  CHANNEL_PINS_UPDATE: ['channels', 'threads'],
  THREAD_CREATE: ['threads'],
  THREAD_UPDATE: ['threads'],
  THREAD_DELETE: ['threads'],
  THREAD_LIST_SYNC: ['threads'],
  THREAD_MEMBERS_UPDATE: ['threads'],
  GUILD_ROLE_CREATE: ['roles'],
  GUILD_ROLE_UPDATE: ['roles'],
  GUILD_ROLE_DELETE: ['roles', 'members'],
  GUILD_EMOJIS_UPDATE: ['emojis'],
  GUILD_STICKERS_UPDATE: ['stickers'],
  // They move the guild's member_count, too.
  GUILD_MEMBER_ADD: ['members', 'guilds'],
  GUILD_MEMBER_REMOVE: ['members', 'guilds', 'presences', 'voice_states'],
  GUILD_MEMBER_UPDATE: ['members'],
  GUILD_MEMBERS_CHUNK: ['members', 'presences'],
  PRESENCE_UPDATE: ['presences'],
  VOICE_STATE_UPDATE: ['voice_states'],
  GUILD_BAN_ADD: ['bans'],
  GUILD_BAN_REMOVE: ['bans'],
  GUILD_SCHEDULED_EVENT_CREATE: ['scheduled_events'],
  GUILD_SCHEDULED_EVENT_UPDATE: ['scheduled_events'],
  GUILD_SCHEDULED_EVENT_DELETE: ['scheduled_events'],
  STAGE_INSTANCE_CREATE: ['stage_instances'],
  STAGE_INSTANCE_UPDATE: ['stage_instances'],
  STAGE_INSTANCE_DELETE: ['stage_instances'],
  GUILD_SOUNDBOARD_SOUND_CREATE: ['soundboard_sounds'],
  GUILD_SOUNDBOARD_SOUND_UPDATE: ['soundboard_sounds'],
  GUILD_SOUNDBOARD_SOUND_DELETE: ['soundboard_sounds'],
  GUILD_SOUNDBOARD_SOUNDS_UPDATE: ['soundboard_sounds'],
  SOUNDBOARD_SOUNDS: ['soundboard_sounds'],
}

/** @throws RangeError for an event that nobody said anything about. */
export function changesKept(eventName: string, kept: ReadonlySet<StateKind>): boolean {
  if (ALWAYS.includes(eventName)) return true
  const kinds = KINDS[eventName]
  if (kinds === undefined) throw new RangeError(`what does ${eventName} change?`)
  return kinds.some((kind) => kept.has(kind))
}

export const EVERY_KIND: ReadonlySet<StateKind> = new Set(STATE_KIND_NAMES)
