import { INTENTS } from './intents.ts'

/**
 * The kinds of objects that make up a guild's state, each with the intents whose events keep it up to date. Without
 * one of them what GUILD_CREATE listed grows old. See [Discord Docs/Gateway#list-of-intents].
 */
export const STATE_KINDS = {
  guilds: INTENTS.GUILDS,
  channels: INTENTS.GUILDS,
  threads: INTENTS.GUILDS,
  roles: INTENTS.GUILDS,
  emojis: INTENTS.GUILD_EXPRESSIONS,
  stickers: INTENTS.GUILD_EXPRESSIONS,
  members: INTENTS.GUILD_MEMBERS,
  // That somebody left is told as a member's removal alone.
  presences: INTENTS.GUILD_PRESENCES | INTENTS.GUILD_MEMBERS,
  voice_states: INTENTS.GUILD_VOICE_STATES,
  bans: INTENTS.GUILD_MODERATION,
  scheduled_events: INTENTS.GUILD_SCHEDULED_EVENTS,
  stage_instances: INTENTS.GUILDS,
  soundboard_sounds: INTENTS.GUILD_EXPRESSIONS,
} as const

/** Whether a session with these intents is told of every change of the kind. */
export function isKindTold(kind: StateKind, intents: number): boolean {
  return (intents & STATE_KINDS[kind]) === STATE_KINDS[kind]
}

export type StateKind = keyof typeof STATE_KINDS
export const STATE_KIND_NAMES = Object.keys(STATE_KINDS) as readonly StateKind[]
