/** What the fuzzer begins with: frames of the simulated world, terms of a real Erlang, limits. */
import { readFileSync } from 'node:fs'
import { deflateSync } from 'node:zlib'
import { Atom, encodeTerm } from '../../src/etf/index.ts'
import { MUTATION_KINDS, World } from '../../sim/index.ts'
import type { ClientView } from '../../sim/index.ts'
import { INPUT_BYTES_MAX } from './mutator.ts'

const VECTORS = new URL('../../tests/fixtures/etf/erlang-vectors.json', import.meta.url)
const VIEW: ClientView = {
  intents: 0xff_ffff,
  largeThreshold: 50,
  botUserId: 1_100_000_000_000_000_001n,
}

export function makeSeeds(): Buffer[] {
  const seeds = [...worldFrames(), ...vectors(), ...ids(), ...limits()]
  return seeds.filter(({ length }) => length > 1 && length <= INPUT_BYTES_MAX)
}

function worldFrames(): Buffer[] {
  const world = new World({
    seed: 11,
    guilds: 4,
    membersMax: 12,
    membersMedian: 6,
    nastyText: true,
  })
  const frames: Buffer[] = []
  for (const kind of MUTATION_KINDS) {
    for (const event of world.mutate(kind)) {
      const d = world.render(event, VIEW)
      const t = new Atom(event.t)
      const s = 2 ** (frames.length % 40)
      const orders = [
        { d, op: 0, s, t },
        { op: 0, s, t, d },
        { t, op: 0, d, s },
        { op: 0, d, s, t },
      ]
      const atoms = ([100, 115, 119] as const)[frames.length % 3]!
      const keys = frames.length % 5 === 0 ? 'binary' : 'atom'
      const order = orders[frames.length % orders.length]!
      frames.push(Buffer.from(encodeTerm(order, { atoms, keys, strings: true })))
    }
  }
  const heartbeat = encodeTerm({ d: 41_250, op: 1, s: null, t: null }, { keys: 'atom' })
  const fake = encodeTerm({ d: null, op: 7, s: 5, t: new Atom('FAKE') }, { keys: 'atom' })
  const text = Buffer.from(fake).toString('latin1')
  const holdsFake = { d: { content: text, id: 5n }, op: 0, s: 3, t: new Atom('MESSAGE_CREATE') }
  frames.push(Buffer.from(heartbeat), Buffer.from(encodeTerm(holdsFake, { keys: 'atom' })))
  return frames
}

function vectors(): Buffer[] {
  const rows = JSON.parse(readFileSync(VECTORS, 'utf8')) as { readonly hex: string }[]
  return rows.map(({ hex }) => Buffer.from(hex, 'hex'))
}

/** Ids in every form, and what only looks like one. */
function ids(): Buffer[] {
  const id = 1n << 60n
  const ms = 1_793_491_200_000
  const values = [
    { id, user: { id: String(id), flags: ms }, guild_id: '18446744073709551615', op: ms },
    { d: { id: '18446744073709551616', guild_id: ms, user: { id: 2 ** 40 } }, op: 0 },
    { list: [{ id: ms }, ms, [ms, { user_id: ms }], ms], id: [ms, id] },
    { d: { user: { id }, id: 1 }, id: { id: ms }, paid: ms, _id: ms, valid: ms },
  ]
  return values.map((value) => Buffer.from(encodeTerm(value)))
}

function limits(): Buffer[] {
  const nested = (depth: number): Buffer =>
    Buffer.concat([Buffer.of(131), Buffer.alloc(depth * 2, Buffer.of(104, 1)), Buffer.of(106)])
  // Lists that go on as each other's tail count as levels, until the outermost ends.
  const tails = (count: number): Buffer =>
    Buffer.concat([Buffer.alloc(count * 6, Buffer.of(108, 0, 0, 0, 1, 106)), Buffer.of(106)])
  const inner = Buffer.from(encodeTerm({ id: 1n << 60n, list: [1, 2, 3], text: 'é' })).subarray(1)
  const compressed = Buffer.concat([Buffer.of(131, 80, 0, 0, 0, inner.length), deflateSync(inner)])
  return [
    nested(3),
    nested(2047),
    nested(2048),
    nested(2049),
    Buffer.concat([Buffer.of(131, 104, 2), tails(1100), tails(1100)]),
    Buffer.concat([Buffer.of(131), tails(2048)]),
    Buffer.concat([Buffer.of(131), tails(2049)]),
    compressed,
    Buffer.of(131, 108, 255, 255, 255, 255, 106),
    Buffer.of(131, 116, 255, 255, 255, 255, 97, 1),
    Buffer.of(131, 109, 255, 255, 255, 255, 97),
    Buffer.of(131, 111, 255, 255, 255, 255, 0, 1),
    Buffer.concat([Buffer.of(131, 111, 0, 0, 1, 0, 1), Buffer.alloc(256, 0xab)]),
    Buffer.of(131, 108, 0, 0, 0, 1, 97, 1, 108, 0, 0, 0, 1, 97, 2, 107, 0, 1, 3),
  ]
}
