import { INTENTS } from './intents.ts'

/**
 * The kinds of objects that make up a guild's state, each with the intent whose events keep it up to date. Without it
 * what GUILD_CREATE listed grows old. See [Discord Docs/Gateway#list-of-intents].
 */
export const STATE_KINDS = {
  guilds: INTENTS.GUILDS,
  channels: INTENTS.GUILDS,
  threads: INTENTS.GUILDS,
  roles: INTENTS.GUILDS,
  emojis: INTENTS.GUILD_EXPRESSIONS,
  stickers: INTENTS.GUILD_EXPRESSIONS,
  members: INTENTS.GUILD_MEMBERS,
  presences: INTENTS.GUILD_PRESENCES,
  voice_states: INTENTS.GUILD_VOICE_STATES,
  bans: INTENTS.GUILD_MODERATION,
  scheduled_events: INTENTS.GUILD_SCHEDULED_EVENTS,
  stage_instances: INTENTS.GUILDS,
  soundboard_sounds: INTENTS.GUILD_EXPRESSIONS,
} as const

export type StateKind = keyof typeof STATE_KINDS
export const STATE_KIND_NAMES = Object.keys(STATE_KINDS) as readonly StateKind[]
