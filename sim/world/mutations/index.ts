/** Every kind of change, and how often it happens by itself. */
import type { Mutation } from '../world-event.ts'
import { APPLICATION_MUTATIONS } from './application.ts'
import { CHANNEL_MUTATIONS } from './channels.ts'
import { FEATURE_MUTATIONS } from './features.ts'
import { GUILD_MUTATIONS } from './guilds.ts'
import { MEMBER_MUTATIONS } from './members.ts'
import { MESSAGE_MUTATIONS } from './messages.ts'
import { PRESENCE_MUTATIONS } from './presence.ts'
import { ROLE_MUTATIONS } from './roles.ts'
import { THREAD_MUTATIONS } from './threads.ts'
import { VOICE_MUTATIONS } from './voice.ts'

export const MUTATIONS = {
  ...GUILD_MUTATIONS,
  ...CHANNEL_MUTATIONS,
  ...THREAD_MUTATIONS,
  ...ROLE_MUTATIONS,
  ...MEMBER_MUTATIONS,
  ...VOICE_MUTATIONS,
  ...PRESENCE_MUTATIONS,
  ...MESSAGE_MUTATIONS,
  ...FEATURE_MUTATIONS,
  ...APPLICATION_MUTATIONS,
} as const satisfies Record<string, Mutation>

export type MutationKind = keyof typeof MUTATIONS
export const MUTATION_KINDS = Object.keys(MUTATIONS) as readonly MutationKind[]

/** How often a kind happens when it is not in WEIGHTS. */
const RARE = 0.3

/**
 * A mix as large bots report it: two thirds presences, then messages, typing, members, voice; the rest is rare.
 */
const WEIGHTS: Partial<Record<MutationKind, number>> = {
  PRESENCE_UPDATE: 300,
  PRESENCE_OFFLINE: 120,
  MESSAGE_CREATE: 170,
  MESSAGE_UPDATE: 30,
  MESSAGE_DELETE: 12,
  MESSAGE_REACTION_ADD: 25,
  MESSAGE_REACTION_REMOVE: 6,
  TYPING_START: 90,
  DIRECT_MESSAGE_CREATE: 2,
  GUILD_MEMBER_UPDATE: 60,
  GUILD_MEMBER_ADD: 10,
  GUILD_MEMBER_REMOVE: 8,
  USER_CHANGE: 6,
  VOICE_JOIN: 25,
  VOICE_MOVE: 8,
  VOICE_MUTE: 25,
  VOICE_LEAVE: 24,
  INTERACTION_CREATE: 20,
  CHANNEL_UPDATE: 3,
  THREAD_CREATE: 2,
  THREAD_UPDATE: 2,
  THREAD_ARCHIVE: 1.5,
  THREAD_MEMBERS_UPDATE: 2,
  GUILD_ROLE_UPDATE: 1,
  GUILD_AUDIT_LOG_ENTRY_CREATE: 8,
  INVITE_CREATE: 2,
  USER_UPDATE: 0.02,
  GUILD_CREATE: 0.1,
  GUILD_DELETE: 0.1,
  GUILD_OUTAGE: 0.1,
  // Comes by itself some steps after an outage.
  GUILD_RECOVERY: 0,
}

const KIND_ENDS: readonly number[] = MUTATION_KINDS.map(
  (
    (sum) => (kind) =>
      (sum += WEIGHTS[kind] ?? RARE)
  )(0),
)

/** @param fraction in [0, 1). */
export function weightedKind(fraction: number): MutationKind {
  const wanted = fraction * (KIND_ENDS.at(-1) ?? 0)
  const index = KIND_ENDS.findIndex((end) => wanted < end)
  return MUTATION_KINDS[index] ?? 'PRESENCE_UPDATE'
}
