/** Payloads of the simulated world, as Discord's Erlang writes them and as the same JSON text. */
import { Atom, encodeTerm } from '../src/etf/index.ts'
import { World } from '../sim/index.ts'
import type { ClientView, JsonObject } from '../sim/index.ts'

/** Where `d` stands among the keys. Discord's own order is `d, op, s, t`. */
export const POSITIONS = ['first', '2nd', '3rd', 'last'] as const
export type Position = (typeof POSITIONS)[number]

const BOT_USER_ID = 1_100_000_000_000_000_001n
const VIEW: ClientView = { intents: 0xff_ffff, largeThreshold: 250, botUserId: BOT_USER_ID }

/** Name, wanted size of the frame in bytes, number of different ones. */
const KINDS = [
  ['TYPING_START', 640, 64],
  ['PRESENCE_UPDATE', 650, 64],
  ['GUILD_MEMBER_UPDATE', 700, 64],
  ['MESSAGE_CREATE', 1900, 64],
  ['GUILD_CREATE', 200_000, 6],
] as const

/** As the codec of the other side writes: atom keys of tag 100, small lists of bytes as STRING_EXT. */
const AS_DISCORD = { keys: 'atom', strings: true } as const

export interface Variant {
  /** The whole payload, version byte first, for each position of `d`. */
  readonly frames: Readonly<Record<Position, Buffer>>
  /** The payload as Discord's JSON: ids as strings, `t, s, op, d`. */
  readonly text: string
  readonly jsonBytes: Buffer
  /** `d` alone, without version byte. */
  readonly d: Buffer
}

export interface Payload {
  readonly name: string
  readonly variants: readonly Variant[]
}

export function makePayloads(): readonly Payload[] {
  const world = new World({ seed: 3, guilds: 24, membersMax: 420, membersMedian: 260 })
  return KINDS.map(([name, size, count]) => {
    const bodies = name === 'GUILD_CREATE' ? guildBodies(world) : eventBodies(world, name, count)
    const variants = bodies.map((d, index) => variantOf(name, d, 40_000 + index))
    variants.sort((a, b) => distance(a, size) - distance(b, size))
    return { name, variants: variants.slice(0, count) }
  })
}

function distance(variant: Variant, size: number): number {
  return Math.abs(variant.frames.first.length - size)
}

function guildBodies(world: World): JsonObject[] {
  return world.guildIds(0, 1).map((id) => world.guildCreate(id, VIEW))
}

function eventBodies(
  world: World,
  name: Exclude<(typeof KINDS)[number][0], 'GUILD_CREATE'>,
  count: number,
): JsonObject[] {
  const bodies: JsonObject[] = []
  while (bodies.length < count * 3) {
    for (const event of world.mutate(name)) {
      const body = event.t === name ? world.render(event, VIEW) : null
      if (body !== null) bodies.push(body)
    }
  }
  return bodies
}

function variantOf(name: string, d: JsonObject, s: number): Variant {
  const t = new Atom(name)
  const text = JSON.stringify({ t: name, s, op: 0, d }, (_, value: unknown) =>
    typeof value === 'bigint' ? String(value) : value,
  )
  return {
    frames: {
      first: encode({ d, op: 0, s, t }),
      '2nd': encode({ op: 0, d, s, t }),
      '3rd': encode({ op: 0, s, d, t }),
      last: encode({ op: 0, s, t, d }),
    },
    text,
    jsonBytes: Buffer.from(text),
    d: encode(d).subarray(1),
  }
}

function encode(value: unknown): Buffer {
  return Buffer.from(encodeTerm(value, AS_DISCORD))
}
