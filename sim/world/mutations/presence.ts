/** Presences: one per user, told once in every guild that the user is in. */
import type { JsonObject } from '../json.ts'
import { makePresence } from '../people.ts'
import type { Universe } from '../universe.ts'
import { event } from '../world-event.ts'
import type { Mutation, WorldEvent } from '../world-event.ts'
import { eachGuildOf } from './members.ts'

const OFFLINE: JsonObject = { status: 'offline', client_status: {}, activities: [] }

export const PRESENCE_MUTATIONS = {
  PRESENCE_UPDATE(universe) {
    const userId = someone(universe)
    if (userId === undefined) return []
    const presence = makePresence(universe)
    universe.presences.set(userId, presence)
    return presenceEvents(universe, userId, presence)
  },
  PRESENCE_OFFLINE(universe) {
    const userId = universe.presences.pickKey(universe.dice)
    if (userId === undefined || userId === universe.options.botUserId) return []
    universe.presences.delete(userId)
    return presenceEvents(universe, userId, OFFLINE)
  },
} as const satisfies Record<string, Mutation>

/**
 * `user` is partial: only its id is sure, the rest comes when it has changed. See [Discord
 * Docs/Gateway Events#presence-update].
 */
export function presenceEvents(
  universe: Universe,
  userId: bigint,
  presence: JsonObject,
): WorldEvent[] {
  const isWhole = universe.dice.chance(0.1)
  const user = isWhole ? universe.user(userId) : { id: userId }
  return eachGuildOf(universe, userId, (guild) =>
    event('PRESENCE_UPDATE', guild.id, { user, ...presence, guild_id: guild.id }),
  )
}

function someone(universe: Universe): bigint | undefined {
  const { dice } = universe
  const userId = dice.chance(0.6) ? universe.presences.pickKey(dice) : universe.users.pickKey(dice)
  return userId === universe.options.botUserId ? undefined : userId
}
