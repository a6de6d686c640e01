import { afterEach, beforeEach, expect, test } from 'vitest'
import { encodeTerm } from '../../src/etf/index.ts'
import { seededRandom } from '../../src/base/index.ts'
import { until } from '../support/until.ts'
import { FakeGateway } from './fake-gateway.ts'
import type { FakePeer } from './fake-gateway.ts'
import { World } from './world.ts'

let gateway: FakeGateway
let world: World

beforeEach(async () => {
  gateway = await FakeGateway.start()
  world = new World()
})

afterEach(async () => {
  await world.stop()
  await gateway.stop()
})

/** Two shards, READY; what happens to shard 0 must not matter to shard 1. */
async function readyPeers(): Promise<{ bad: FakePeer; good: FakePeer }> {
  world.shardCount = 2
  world.manager(gateway.url, { frameBytesMax: 1 << 20 })
  const byShard = new Map<number, FakePeer>()
  for (const index of [0, 1]) {
    const peer = await gateway.peer(index)
    await peer.hello()
    const identify = (await peer.next(2)) as { shard: [number, number] }
    byShard.set(identify.shard[0], peer)
    await peer.ready(`session ${identify.shard[0]}`, gateway.url)
  }
  await until(() => world.sessions.rows.size === 2)
  return { bad: byShard.get(0)!, good: byShard.get(1)! }
}

/** The ETF of a dispatch with a part that the encoder would never write. */
function dispatchBytes(name: Buffer, d: Buffer): Buffer {
  const key = (text: string): Buffer => Buffer.from([100, 0, text.length, ...Buffer.from(text)])
  return Buffer.concat([
    Buffer.from([131, 116, 0, 0, 0, 4]),
    Buffer.concat([key('d'), d]),
    Buffer.concat([key('op'), Buffer.from([97, 0])]),
    Buffer.concat([key('s'), Buffer.from([97, 2])]),
    Buffer.concat([key('t'), name]),
  ])
}

function binary(text: string | Buffer): Buffer {
  const bytes = Buffer.from(text)
  const head = Buffer.from([109, 0, 0, 0, 0])
  head.writeUInt32BE(bytes.length, 1)
  return Buffer.concat([head, bytes])
}

const NIL = Buffer.from([106])
const LIST_OF_2_32 = Buffer.from([108, 0xff, 0xff, 0xff, 0xff, 97, 1])
const MAP_OF_2_32 = Buffer.from([131, 116, 0xff, 0xff, 0xff, 0xff, 97, 1, 97, 1])
const whole = Buffer.from(encodeTerm({ d: { a: 1 }, op: 0, s: 2, t: 'TYPING_START' }))

test.each([
  ['garbage', Buffer.from('this is no ETF at all'), 'malformed'],
  ['only a version byte', Buffer.from([131]), 'malformed'],
  ['a payload cut in the middle', whole.subarray(0, whole.length - 9), 'malformed'],
  ['bytes behind the payload', Buffer.concat([whole, Buffer.from([1, 2])]), 'malformed'],
  ['a name of 1 MiB', dispatchBytes(binary(Buffer.alloc(1 << 20, 65)), NIL), 'oversize'],
  ['a name of 512 KiB', dispatchBytes(binary(Buffer.alloc(1 << 19, 65)), NIL), 'malformed'],
  ['an envelope that claims 2^32 pairs', MAP_OF_2_32, 'malformed'],
  [
    'nesting without end',
    Buffer.concat([Buffer.from([131]), Buffer.alloc(99_999, 108)]),
    'malformed',
  ],
  ['a list instead of a map', Buffer.from(encodeTerm([1, 2, 3])), 'malformed'],
  ['a d that claims 2^32 elements', dispatchBytes(binary('T'), LIST_OF_2_32), 'malformed'],
  ['a d of an unknown tag', dispatchBytes(binary('T'), Buffer.from([0xfe])), 'malformed'],
  ['an op that is a text', Buffer.from(encodeTerm({ op: 'zero', d: null })), 'malformed'],
])('%s closes that connection resumably, and no other', async (_name, bytes, cause) => {
  const { bad, good } = await readyPeers()
  await bad.sendBytes(bytes)
  await until(() => bad.closeCode !== null)
  expect([1009, 4900]).toContain(bad.closeCode)
  expect(world.counters.read('gateway_frames_bad_total', { cause })).toBe(1)
  const again = await gateway.peer(2)
  await again.hello()
  expect(await again.next(6)).toMatchObject({ session_id: 'session 0', seq: 1 })
  await again.dispatch('TYPING_START', 2, {})
  await good.dispatch('TYPING_START', 2, {})
  await until(() => world.sink.events.length === 4)
  expect(good.closeCode).toBeNull()
  expect(world.gaps).toEqual([])
})

test.each([
  [
    'corrupt compressed data',
    Buffer.concat([Buffer.alloc(50, 0xa5), Buffer.from([0, 0, 255, 255])]),
    'corrupt',
  ],
  ['a message that never ends', Buffer.alloc((1 << 20) + 1, 1), 'oversize'],
])('%s closes that connection resumably, and no other', async (_name, bytes, cause) => {
  const { bad, good } = await readyPeers()
  bad.sendRaw(bytes)
  await until(() => bad.closeCode !== null)
  expect(world.counters.read('gateway_frames_bad_total', { cause })).toBe(1)
  const again = await gateway.peer(2)
  await again.hello()
  expect(await again.next(6)).toMatchObject({ session_id: 'session 0', seq: 1 })
  expect(good.closeCode).toBeNull()
})

test.each([
  ['HELLO without interval', { op: 10, d: {} }],
  ['HELLO with interval 0', { op: 10, d: { heartbeat_interval: 0 } }],
  ['HELLO with a text', { op: 10, d: { heartbeat_interval: 'soon' } }],
  ['HELLO without d', { op: 10 }],
])('%s is refused, and the next connection goes on', async (_name, payload) => {
  world.manager(gateway.url)
  const first = await gateway.peer(0)
  await first.send(payload)
  await until(() => first.closeCode !== null)
  expect(world.counters.read('gateway_frames_bad_total', { cause: 'protocol' })).toBe(1)
  const second = await gateway.peer(1)
  await second.hello()
  await second.next(2)
})

test.each(['{"op":0', 'null', '[1]', '"text"', '', '{"op":"x"}', '{}'])(
  'JSON %j closes the connection resumably',
  async (text) => {
    world.manager(gateway.url, { query: { encoding: 'json', compress: 'none' } })
    const first = await gateway.peer(0)
    await first.hello()
    await first.next(2)
    await first.ready('abc', gateway.url)
    await first.sendBytes(Buffer.from(text), true)
    const second = await gateway.peer(1)
    await second.hello()
    expect(await second.next(6)).toMatchObject({ session_id: 'abc', seq: 1 })
    expect(world.counters.read('gateway_frames_bad_total', { cause: 'malformed' })).toBe(1)
  },
)

test('READY without session_id is refused and the permit goes back', async () => {
  world.manager(gateway.url)
  const first = await gateway.peer(0)
  await first.hello()
  await first.next(2)
  await first.dispatch('READY', 1, { v: 10 })
  await until(() => world.gate.history.includes('release 0 closed'))
  expect(world.sink.events).toEqual([])
})

test('an event that the sink cannot read is tried three times, then skipped as a counted gap', async () => {
  world.sink.poison = 'POISON'
  world.manager(gateway.url)
  const first = await gateway.peer(0)
  await first.hello()
  await first.next(2)
  await first.ready('abc', gateway.url)
  await first.dispatch('POISON', 2, {})
  for (const index of [1, 2]) {
    const peer = await gateway.peer(index)
    await peer.hello()
    expect(await peer.next(6)).toMatchObject({ seq: 1 })
    await peer.dispatch('POISON', 2, {})
  }
  const last = await gateway.peer(3)
  await last.hello()
  expect(await last.next(6)).toMatchObject({ seq: 2 })
  await last.dispatch('TYPING_START', 3, {})
  await until(() => world.sink.events.length === 2)
  expect(world.sink.sequences).toEqual([1, 3])
  expect(world.gaps).toEqual([
    { shardId: 0, sessionId: 'abc', from: 2, to: 2, cause: 'poison_frame' },
  ])
})

test('a READY that the sink cannot read costs no second identify', async () => {
  world.sink.poison = 'READY'
  world.manager(gateway.url)
  const peer = await gateway.peer(0)
  await peer.hello()
  await peer.next(2)
  await peer.ready('abc', gateway.url)
  await peer.dispatch('TYPING_START', 2, {})
  await until(() => world.sink.events.length === 1)
  expect(world.gaps).toMatchObject([{ sessionId: 'abc', from: 1, to: 1, cause: 'poison_frame' }])
  expect(gateway.peers).toHaveLength(1)
})

test('bad frames after RESUMED are new frames: nothing is skipped however many come', async () => {
  world.manager(gateway.url, { timeouts: { backoffBaseMs: 1, backoffMaxMs: 2 } })
  const first = await gateway.peer(0)
  await first.hello()
  await first.next(2)
  await first.ready('abc', gateway.url)
  await first.sendBytes(Buffer.from('garbage'))
  for (let index = 1; index < 6; index++) {
    const peer = await gateway.peer(index)
    await peer.hello()
    expect(await peer.next(6)).toMatchObject({ seq: index })
    await peer.dispatch('RESUMED', index + 1, {})
    await peer.sendBytes(Buffer.from('garbage'))
  }
  expect(world.gaps).toEqual([])
})

test('what protocol allows to be absent or odd passes', async () => {
  world.manager(gateway.url)
  const peer = await gateway.peer(0)
  await peer.send({ op: 10, d: { heartbeat_interval: 45_000.5, _trace: ['x'] } })
  await peer.next(2)
  await peer.send({ op: 11, d: {} })
  await peer.send({ op: 99, d: { unknown: true }, s: null, t: null })
  await peer.dispatch('READY', 0, {
    v: 6,
    session_id: 'odd',
    resume_gateway_url: null,
    guilds: null,
  })
  await peer.send({ op: 0, s: 1, t: 'NO_D' })
  await peer.send({ op: 0, d: {}, t: 'NO_S' })
  await peer.send({ op: 0, d: {}, s: 2, t: null })
  await peer.dispatch('LAST', 3, {})
  await until(() => world.sink.names.includes('LAST'))
  expect(world.sink.names).toEqual(['READY', 'NO_D', 'NO_S', '', 'LAST'])
  expect(world.sink.sequences).toEqual([0, 1, 1, 2, 3])
  expect(gateway.peers).toHaveLength(1)
})

test('random damage to a stream never ends the process, and the shard comes back', async () => {
  const random = seededRandom(3)
  world.manager(gateway.url, { timeouts: { backoffBaseMs: 1, backoffMaxMs: 2 } })
  const first = await gateway.peer(0)
  await first.hello()
  await first.next(2)
  await first.ready('abc', gateway.url)
  await until(() => world.sessions.rows.size === 1)
  first.drop()
  for (let index = 1; index < 25; index++) {
    const peer = await gateway.peer(index)
    await peer.hello()
    await peer.next(6)
    const bytes = Buffer.from(whole)
    for (let hit = 0; hit < 4; hit++) bytes[Math.floor(random() * bytes.length)] = random() * 256
    await peer.sendBytes(bytes)
    await peer.send({ op: 7 })
  }
  const last = await gateway.peer(25)
  await last.hello()
})
