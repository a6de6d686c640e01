/** What the contenders are told: a start-up of many guilds, and then what happens in them. */
import { ALL_INTENTS, shardOfGuild } from '../../src/discord/index.ts'
import { encodeTerm } from '../../src/etf/index.ts'
import { type MUTATION_KINDS, World } from '../../sim/index.ts'

export const SHARDS = 16
/** Of the largest guild, so that its GUILD_CREATE has about 200 KB; half of the guilds have no more than the median. */
const MEMBERS_MAX = 300
const MEMBERS_MEDIAN = 14
const SESSION = 'bench'

type MutationKind = (typeof MUTATION_KINDS)[number]
type WorldEvent = ReturnType<World['step']>[number]

export interface BenchEvent {
  readonly shardId: number
  readonly sessionId: string
  readonly sequence: number
  readonly eventName: string
  readonly guildClass: string
  readonly bytes: Uint8Array
  readonly start: number
  readonly end: number
}

/** Presences, member updates and voice: the share of each as large bots report it. */
const STEADY: readonly (readonly [kind: MutationKind, share: number])[] = [
  ['PRESENCE_UPDATE', 0.7],
  ['GUILD_MEMBER_UPDATE', 0.2],
  ['VOICE_MUTE', 0.1],
]
const STEADY_NAMES = new Set(['PRESENCE_UPDATE', 'GUILD_MEMBER_UPDATE', 'VOICE_STATE_UPDATE'])

export class BenchWorld {
  readonly #world: World
  readonly #sequences = new Array<number>(SHARDS).fill(0)
  #turn = 0

  constructor(guilds: number) {
    this.#world = new World({
      seed: 7,
      guilds,
      membersMax: MEMBERS_MAX,
      membersMedian: MEMBERS_MEDIAN,
    })
  }

  /** GUILD_CREATE of every guild. */
  storm(): BenchEvent[] {
    const view = this.#view()
    const events: BenchEvent[] = []
    for (let shardId = 0; shardId < SHARDS; shardId++) {
      for (const id of this.#world.guildIds(shardId, SHARDS)) {
        events.push(this.#event('GUILD_CREATE', shardId, this.#world.guildCreate(id, view)))
      }
    }
    // Shards start at once: their guilds come mixed.
    return events.sort((a, b) => a.sequence - b.sequence)
  }

  steady(count: number): BenchEvent[] {
    const events: BenchEvent[] = []
    while (events.length < count) {
      for (const event of this.#happen()) {
        if (!STEADY_NAMES.has(event.t) || event.guildId === null) continue
        const shardId = shardOfGuild(event.guildId, SHARDS)
        events.push(this.#event(event.t, shardId, event.d))
      }
    }
    return events.slice(0, count)
  }

  #happen(): WorldEvent[] {
    // In turn rather than by chance: each run has the same shares.
    this.#turn = (this.#turn + 0.61803398875) % 1
    let sum = 0
    for (const [kind, share] of STEADY) {
      sum += share
      if (this.#turn < sum) return this.#world.mutate(kind)
    }
    return []
  }

  #view(): { intents: number; largeThreshold: number; botUserId: bigint } {
    return {
      intents: ALL_INTENTS,
      largeThreshold: 250,
      botUserId: this.#world.botUser['id'] as bigint,
    }
  }

  #event(eventName: string, shardId: number, d: object): BenchEvent {
    const bytes = encodeTerm(d, { keys: 'atom' })
    return {
      shardId,
      sessionId: SESSION,
      sequence: ++this.#sequences[shardId]!,
      eventName,
      guildClass: eventName === 'GUILD_CREATE' ? 'available' : '',
      bytes,
      // Behind the version byte.
      start: 1,
      end: bytes.length,
    }
  }
}
