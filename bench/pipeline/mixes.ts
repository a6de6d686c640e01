/** Which events a scenario sends: of the simulated world, in a guild of the shard that sends them. */
import { World } from '../../sim/index.ts'
import type { ClientView, JsonObject } from '../../sim/index.ts'
import type { Event } from './frames.ts'

const VIEW: ClientView = {
  intents: 0xff_ffff,
  largeThreshold: 250,
  botUserId: 1_100_000_000_000_000_001n,
}
type Kind = 'PRESENCE_UPDATE' | 'MESSAGE_CREATE' | 'GUILD_MEMBER_UPDATE' | 'TYPING_START'
const P = 'PRESENCE_UPDATE'
const M = 'MESSAGE_CREATE'
const U = 'GUILD_MEMBER_UPDATE'
const T = 'TYPING_START'

/** 50 % presences, 25 % messages, 15 % member updates, 10 % typing. */
const MIXED: readonly Kind[] = [P, M, P, U, P, M, P, T, P, M, U, P, M, P, T, P, M, P, U, P]
const MIXES = { mixed: MIXED, presence: [P], messages: [M] } as const
export type Mix = keyof typeof MIXES | 'guilds'

const VARIANTS = 64
/** Guilds of a shard in the storm; sent again and again. */
const STORM_GUILDS = 50

export class EventSource {
  readonly #mix: Mix
  readonly #shards: number
  readonly #bodies = new Map<string, readonly JsonObject[]>()

  constructor(mix: Mix, shards: number) {
    this.#mix = mix
    this.#shards = shards
    if (mix === 'guilds') {
      const world = new World({ seed: 5, guilds: STORM_GUILDS, membersMedian: 60 })
      const bodies = world.guildIds(0, 1).map((id) => world.guildCreate(id, VIEW))
      this.#bodies.set('GUILD_CREATE', bodies)
      return
    }
    const world = new World({ seed: 3, guilds: 24, membersMax: 420, membersMedian: 260 })
    for (const kind of new Set<Kind>(MIXES[mix])) this.#bodies.set(kind, bodiesOf(world, kind))
  }

  /** Other shards get other variants, and guilds of their own. */
  eventsOf(shardId: number, count: number): Event[] {
    if (this.#mix === 'guilds') {
      return this.#bodies.get('GUILD_CREATE')!.map((body, index) => ({
        t: 'GUILD_CREATE',
        d: { ...body, id: this.#guildId(shardId, index) },
      }))
    }
    const kinds: readonly Kind[] = MIXES[this.#mix]
    return Array.from({ length: count }, (_, index) => {
      const t = kinds[index % kinds.length]!
      const bodies = this.#bodies.get(t)!
      const d = bodies[(shardId * 7 + index) % bodies.length]!
      return { t, d: { ...d, guild_id: this.#guildId(shardId, 0) } }
    })
  }

  /** See [Discord Docs/Gateway#sharding-sharding-formula]. */
  #guildId(shardId: number, index: number): bigint {
    return BigInt(shardId + this.#shards * (1_000_000 + index)) << 22n
  }
}

function bodiesOf(world: World, kind: Kind): JsonObject[] {
  const bodies: JsonObject[] = []
  while (bodies.length < VARIANTS) {
    for (const event of world.mutate(kind)) {
      const body = event.t === kind ? world.render(event, VIEW) : null
      if (body !== null) bodies.push(body)
    }
  }
  return bodies
}
