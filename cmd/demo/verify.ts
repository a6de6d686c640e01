/** What `-once` checks: State says what the simulator's world is, as far as the intents show it. */
import { isDeepStrictEqual } from 'node:util'

interface WorldMember {
  readonly user: { readonly id: string }
}
export interface WorldGuild {
  readonly id: string
  readonly unavailable: boolean
  readonly members: readonly WorldMember[]
  readonly [key: string]: unknown
}

/** Lists of the world's guild that State keeps as rows of their own or that the intents hide. */
const NOT_COMPARED = new Set([
  'channels',
  'hidden_channel_ids',
  'threads',
  'archived_threads',
  'roles',
  'emojis',
  'stickers',
  'soundboard_sounds',
  'stage_instances',
  'guild_scheduled_events',
  'members',
  'presences',
  'voice_states',
  'bans',
  'unavailable',
])

/**
 * Compares one guild and one of its members with State.
 *
 * @returns the differences; empty when all is equal.
 */
export async function compareGuild(
  stateUrl: string,
  guild: WorldGuild,
  botUserId: string,
): Promise<string[]> {
  const stored = await get(`${stateUrl}/guilds/${guild.id}`)
  const truth = Object.fromEntries(Object.entries(guild).filter(([key]) => !NOT_COMPARED.has(key)))
  const problems = differences(`guild ${guild.id}`, truth, stored)
  // Whatever the intents, the bot sees itself; of the others those that State lists must be in the world.
  const members = (await get(`${stateUrl}/guilds/${guild.id}/members`)) as WorldMember[] | null
  for (const id of [botUserId, members?.[0]?.user.id ?? botUserId]) {
    const known = guild.members.find((member) => member.user.id === id)
    const one = await get(`${stateUrl}/guilds/${guild.id}/members/${id}`)
    if (known === undefined) problems.push(`member ${id} of guild ${guild.id} is not in the world`)
    else problems.push(...differences(`member ${id} of guild ${guild.id}`, known, one))
  }
  return problems
}

async function get(url: string): Promise<unknown> {
  const response = await fetch(url)
  // Not there: every field differs, and may come yet.
  if (response.status === 404) return null
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`)
  return response.json()
}

function differences(what: string, truth: object, stored: unknown): string[] {
  const row = (stored ?? {}) as Record<string, unknown>
  return Object.entries(truth)
    .filter(([key, value]) => !isDeepStrictEqual(value, row[key]))
    .map(
      ([key, value]) =>
        `${what}: ${key} is ${JSON.stringify(row[key])} in State, ${JSON.stringify(value)} in the world`,
    )
}
