import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { decodeTermAt } from '../../src/etf/index.ts'
import type { IdentifyGate, ShardClaim, ShardClaims } from '../../src/shard/index.ts'
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

/** The first connection, identified and READY. */
async function readyPeer(sessionId = 'first', intervalMs = 45_000): Promise<FakePeer> {
  const peer = await gateway.peer(0)
  await peer.hello(intervalMs)
  await peer.next(2)
  await peer.ready(sessionId, gateway.url)
  await until(() => world.sessions.rows.get(0)?.sessionId === sessionId)
  return peer
}

/** A later connection on which the shard resumes. */
async function resumingPeer(index: number): Promise<{ peer: FakePeer; resume: unknown }> {
  const peer = await gateway.peer(index)
  await peer.hello()
  return { peer, resume: await peer.next(6) }
}

describe.each([
  ['etf', 'zlib-stream'],
  ['etf', 'zstd-stream'],
  ['etf', 'none'],
  ['json', 'zlib-stream'],
  ['json', 'zstd-stream'],
  ['json', 'none'],
] as const)('%s over %s', (encoding, compress) => {
  test('identifies, dispatches ETF, and resumes with the last sequence', async () => {
    world.manager(gateway.url, { query: { encoding, compress } })
    const first = await gateway.peer(0)
    expect(first.query.get('v')).toBe('10')
    expect(first.query.get('encoding')).toBe(encoding)
    expect(first.query.get('compress')).toBe(compress === 'none' ? null : compress)
    expect(first.userAgent).toContain('DiscordBot')
    await first.hello()
    expect(await first.next(2)).toMatchObject({ token: 'token', intents: 1, shard: [0, 1] })
    await first.ready('abc', `${gateway.url}/resume`)
    await first.dispatch('GUILD_CREATE', 2, { id: '81384788765712384', unavailable: false })
    await first.dispatch('NEVER_HEARD_OF', 3, { a: [1, 2, 3] })
    await until(() => world.sink.events.length === 3)
    expect(world.sink.names).toEqual(['READY', 'GUILD_CREATE', 'NEVER_HEARD_OF'])
    expect(world.sink.sequences).toEqual([1, 2, 3])
    const { d } = world.sink.events[2]!
    expect(decodeTermAt(d, 0, d.length)).toEqual({ a: [1, 2, 3] })
    first.drop()
    const { peer, resume } = await resumingPeer(1)
    expect(peer.path).toBe('/resume')
    expect(peer.query.get('encoding')).toBe(encoding)
    expect(resume).toEqual({ token: 'token', session_id: 'abc', seq: 3 })
    await peer.dispatch('MESSAGE_CREATE', 4, { id: '5' })
    await peer.dispatch('RESUMED', 5, {})
    await until(() => world.managers[0]!.status()[0]!.state === 'ready')
    expect(world.sink.sequences).toEqual([1, 2, 3, 4])
    expect(world.managers[0]!.status()[0]!.received).toBe(5)
  })
})

describe('identify permits', () => {
  test('the permit comes before the connection and goes back after the session is saved', async () => {
    world.manager(gateway.url)
    await readyPeer()
    await until(() => world.gate.history.length === 3)
    expect(world.gate.history).toEqual(['acquire 0', 'commit 0 first', 'release 0 ready'])
    expect(world.sessions.rows.get(0)).toEqual({
      sessionId: 'first',
      resumeGatewayUrl: gateway.url,
      sequence: 1,
      shardCount: 1,
      intents: 1,
      query: { v: 10, encoding: 'etf', compress: 'zlib-stream' },
    })
  })

  test('op 9 gives the permit back and asks again', async () => {
    world.manager(gateway.url)
    const peer = await gateway.peer(0)
    await peer.hello()
    await peer.next(2)
    await peer.send({ op: 9, d: false })
    const second = await gateway.peer(1)
    await second.hello()
    await second.next(2)
    expect(world.gate.history).toEqual([
      'acquire 0',
      'commit 0 first',
      'release 0 invalid_session',
      'acquire 0',
      'commit 0 invalid_session',
    ])
  })

  test('nothing is sent when the identify cannot be recorded', async () => {
    world.gate.failure = new Error('the store is away')
    world.manager(gateway.url)
    const peer = await gateway.peer(0)
    await peer.hello()
    await until(() => world.gate.history.includes('release 0 unused'))
    expect(peer.received).toEqual([])
    world.gate.failure = null
    const next = await gateway.peer(gateway.peers.length)
    await next.hello()
    await next.next(2)
  })

  test('the permit stays out while the store is away, and the session is saved when it is back', async () => {
    world.manager(gateway.url)
    const peer = await gateway.peer(0)
    await peer.hello()
    await peer.next(2)
    world.sessions.failure = new Error('the store is away')
    await peer.ready('abc', gateway.url)
    await until(() => world.sessions.calls.includes('saveSession 0'))
    expect(world.gate.history).not.toContain('release 0 ready')
    world.sessions.failure = null
    await until(() => world.gate.history.includes('release 0 ready'))
    expect(world.sessions.rows.get(0)?.sessionId).toBe('abc')
  })
})

describe('an IDENTIFY that is on its way', () => {
  test('becomes a session before the shard is handed over', async () => {
    const handover = new AbortController()
    let released = 0
    const manager = world.manager(gateway.url, {
      claims: {
        run(onClaim: (claim: ShardClaim) => void): Promise<void> {
          onClaim({
            shardId: 0,
            fence: { epoch: 1, revision: 1 },
            lost: new AbortController().signal,
            handover: handover.signal,
            isInTime: true,
            confirm: () => Promise.resolve(true),
            release: () => Promise.resolve(void released++),
          })
          return Promise.resolve()
        },
      },
    })
    const peer = await gateway.peer(0)
    await peer.hello()
    await peer.next(2)
    handover.abort()
    await nextTurn()
    await peer.ready('first', gateway.url)
    await until(() => released === 1)
    expect(peer.closeCode).toBe(4900)
    expect(world.sessions.rows.get(0)?.sessionId).toBe('first')
    expect(manager.status()).toEqual([])
  })

  test('becomes a session before the process stops', async () => {
    const manager = world.manager(gateway.url)
    const peer = await gateway.peer(0)
    await peer.hello()
    await peer.next(2)
    const stopped = manager.stop(() => Promise.resolve())
    await nextTurn()
    await peer.ready('first', gateway.url)
    await stopped
    expect(world.sessions.rows.get(0)?.sessionId).toBe('first')
  })
})

describe('ends of a connection', () => {
  test('op 7 closes with a code that keeps the session, then resumes', async () => {
    world.manager(gateway.url)
    const first = await readyPeer()
    await first.send({ op: 7, d: null, s: 99 })
    await until(() => first.closeCode !== null)
    expect(first.closeCode).toBe(4900)
    const { resume } = await resumingPeer(1)
    expect(resume).toMatchObject({ session_id: 'first', seq: 1 })
    expect(world.gaps).toEqual([])
  })

  test('op 7 instead of HELLO connects again', async () => {
    world.manager(gateway.url)
    const first = await gateway.peer(0)
    await first.send({ op: 7, d: null })
    const second = await gateway.peer(1)
    await second.hello()
    await second.next(2)
  })

  test('op 9 true resumes on a new connection', async () => {
    world.manager(gateway.url)
    const first = await readyPeer()
    await first.send({ op: 9, d: true })
    const { resume } = await resumingPeer(1)
    expect(resume).toMatchObject({ session_id: 'first', seq: 1 })
  })

  test.each([{ op: 9, d: false }, { op: 9 }, { op: 9, d: null, s: 7 }])(
    'op 9 as %j drops the session as a gap and identifies on the generic URL',
    async (payload) => {
      world.manager(gateway.url)
      const first = await readyPeer()
      await first.dispatch('TYPING_START', 2, {})
      await first.send(payload)
      const second = await gateway.peer(1)
      await second.hello()
      await second.next(2)
      expect(world.gaps).toEqual([
        { shardId: 0, sessionId: 'first', from: 3, to: null, cause: 'session_refused' },
      ])
      expect(world.sessions.rows.has(0)).toBe(false)
      await second.ready('second', gateway.url)
      await second.dispatch('TYPING_START', 2, {})
      await until(() => world.sink.events.length === 4)
      const positions = world.sink.events.map(({ position }) => position)
      expect(positions).toEqual([...positions].sort((a, b) => a - b))
      expect(new Set(positions).size).toBe(4)
    },
  )

  test.each([4003, 4007, 4009])('close %d identifies anew', async (code) => {
    world.manager(gateway.url)
    const first = await readyPeer()
    first.close(code)
    const second = await gateway.peer(1)
    await second.hello()
    await second.next(2)
    expect(world.gaps).toHaveLength(1)
    expect(world.gate.history).toContain('commit 0 close_code')
  })

  test.each([1000, 1001, 1011, 4000, 4001, 4002, 4005, 4008, 4321])(
    'close %d resumes',
    async (code) => {
      world.manager(gateway.url)
      const first = await readyPeer()
      first.close(code)
      const { resume } = await resumingPeer(1)
      expect(resume).toMatchObject({ session_id: 'first' })
    },
  )

  test.each([4004, 4010, 4011, 4012, 4013, 4014])(
    'close %d stops every shard with the cure, and nothing connects again',
    async (code) => {
      world.shardCount = 2
      world.manager(gateway.url)
      const peers = [await gateway.peer(0), await gateway.peer(1)]
      for (const peer of peers) {
        await peer.hello()
        await peer.next(2)
      }
      peers[0]!.close(code)
      await until(() => world.fatal.length === 1 && peers[1]!.closeCode !== null)
      expect(world.fatal[0]!.code).toBe('SHARD_CLOSED_FATALLY')
      expect(world.fatal[0]!.details['closeCode']).toBe(code)
      expect(world.fatal[0]!.message.length).toBeGreaterThan(80)
      expect(peers[1]!.closeCode).toBe(4900)
      await world.stop()
      expect(gateway.peers).toHaveLength(2)
    },
  )

  test.each([
    [4014, 'GUILD_MEMBERS, MESSAGE_CONTENT'],
    [4013, '1<<30'],
  ])('close %d names the intents that can be meant', async (code, names) => {
    world.manager(gateway.url, { intents: 1 | 2 | 32768 | (1 << 30) })
    const peer = await gateway.peer(0)
    await peer.hello()
    await peer.next(2)
    peer.close(code)
    await until(() => world.fatal.length === 1)
    expect(world.fatal[0]!.message).toContain(`: ${names}.`)
  })

  test('a resume URL that cannot be reached: RESUME on the generic URL, no identify', async () => {
    const resumeGateway = await FakeGateway.start()
    world.manager(gateway.url)
    const first = await gateway.peer(0)
    await first.hello()
    await first.next(2)
    await first.ready('abc', resumeGateway.url)
    await until(() => world.sessions.rows.has(0))
    await resumeGateway.stop()
    first.drop()
    const { resume } = await resumingPeer(1)
    expect(resume).toMatchObject({ session_id: 'abc', seq: 1 })
    expect(world.gate.history.filter((entry) => entry.startsWith('acquire'))).toHaveLength(1)
  })

  test('a gateway that refuses the upgrade is tried again', async () => {
    gateway.refuseWith = 503
    world.manager(gateway.url)
    await until(() => world.counters.read('gateway_connections_failed_total') > 1)
    gateway.refuseWith = 0
    const peer = await gateway.peer(0)
    await peer.hello()
    await peer.next(2)
  })

  test('no HELLO: the connection is given up', async () => {
    world.manager(gateway.url, { timeouts: { helloMs: 50 } })
    await gateway.peer(0)
    const second = await gateway.peer(1)
    await second.hello()
    await second.next(2)
  })

  test('a RESUME that is only ever answered with close codes ends in an identify', async () => {
    world.manager(gateway.url, { timeouts: { backoffBaseMs: 1, backoffMaxMs: 2 } })
    const first = await readyPeer()
    first.close(4000)
    for (let index = 1; index <= 8; index++) {
      const { peer } = await resumingPeer(index)
      peer.close(4000)
    }
    const last = await gateway.peer(9)
    await last.hello()
    await last.next(2)
    expect(world.gaps).toMatchObject([{ cause: 'session_refused', from: 2 }])
  })

  test('an operator restart resumes', async () => {
    const manager = world.manager(gateway.url)
    const first = await readyPeer()
    manager.restart(0)
    await resumingPeer(1)
    expect(first.closeCode).toBe(4900)
  })
})

describe('heartbeats', () => {
  test('carry null before READY and the acknowledged sequence after it', async () => {
    world.manager(gateway.url)
    const peer = await gateway.peer(0)
    await peer.hello()
    await peer.next(2)
    await peer.send({ op: 1, d: null })
    expect(await peer.next(1, 0)).toBeNull()
    await peer.ready('abc', gateway.url)
    await peer.dispatch('TYPING_START', 2, {})
    await peer.send({ op: 1, d: null })
    expect(await peer.next(1, 1)).toBe(2)
  })

  test('a READY with sequence 0 is a sequence', async () => {
    world.manager(gateway.url)
    const peer = await gateway.peer(0)
    await peer.hello()
    await peer.next(2)
    await peer.ready('abc', gateway.url, 0)
    await peer.send({ op: 1 })
    expect(await peer.next(1, 0)).toBe(0)
    await peer.dispatch('TYPING_START', 1, {})
    peer.drop()
    const { resume } = await resumingPeer(1)
    expect(resume).toMatchObject({ seq: 1 })
    expect(world.sink.sequences).toEqual([0, 1])
  })

  test('a connection that acknowledges nothing is a zombie: closed and resumed', async () => {
    world.manager(gateway.url)
    const first = await readyPeer('abc', 40)
    await until(() => first.closeCode !== null)
    expect(first.closeCode).toBe(4900)
    expect(world.counters.read('gateway_connections_zombie_total')).toBe(1)
    await resumingPeer(1)
  })

  test('READY may be late as long as heartbeats are acknowledged', async () => {
    // Five beats last longer than the silence that is allowed: 200 + 300 ms.
    world.manager(gateway.url, { timeouts: { silenceMs: 300 } })
    const peer = await gateway.peer(0)
    await peer.hello(200)
    await peer.next(2)
    for (let beat = 0; beat < 5; beat++) {
      await peer.next(1, beat)
      await peer.send({ op: 11 })
    }
    await peer.ready('late', gateway.url)
    await until(() => world.sessions.rows.get(0)?.sessionId === 'late')
    expect(gateway.peers).toHaveLength(1)
  })

  test('silence instead of READY gives the permit back', async () => {
    world.manager(gateway.url, { timeouts: { silenceMs: 10 } })
    const peer = await gateway.peer(0)
    await peer.hello(60)
    await peer.next(2)
    await until(() => world.gate.history.includes('release 0 timeout'))
  })
})

describe('replays', () => {
  test('events that were read already are dropped and counted', async () => {
    world.manager(gateway.url)
    const first = await readyPeer()
    for (const s of [2, 3]) await first.dispatch('TYPING_START', s, {})
    await until(() => world.sink.events.length === 3)
    first.drop()
    const { peer } = await resumingPeer(1)
    for (const s of [2, 3, 4]) await peer.dispatch('TYPING_START', s, {})
    await peer.dispatch('RESUMED', 5, null)
    await until(() => world.managers[0]!.status()[0]!.state === 'ready')
    expect(world.sink.sequences).toEqual([1, 2, 3, 4])
    expect(world.counters.read('gateway_events_repeated_total')).toBe(2)
  })

  test('a restart resumes from the stored sequence with the stored query, and identifies nothing', async () => {
    const before = world.manager(gateway.url)
    const first = await readyPeer()
    for (const s of [2, 3, 4]) await first.dispatch('TYPING_START', s, {})
    await until(() => world.sink.events.length === 4)
    await before.stop()
    expect(first.closeCode).toBe(4900)
    expect(world.sessions.rows.get(0)?.sequence).toBe(4)
    world.manager(gateway.url, { query: { encoding: 'json', compress: 'none' } })
    const { peer, resume } = await resumingPeer(1)
    expect(peer.query.get('encoding')).toBe('etf')
    expect(resume).toMatchObject({ session_id: 'first', seq: 4 })
    await peer.dispatch('TYPING_START', 5, {})
    await until(() => world.sink.events.length === 5)
    expect(world.gate.history.filter((entry) => entry.startsWith('commit'))).toHaveLength(1)
  })

  test.each([
    ['intents', { intents: 513 }, 1],
    ['shard_count', {}, 2],
  ] as const)(
    'another %s identifies anew, announced as a gap',
    async (why, options, shardCount) => {
      const before = world.manager(gateway.url)
      await readyPeer()
      await before.stop()
      world.shardCount = shardCount
      world.manager(gateway.url, options)
      for (let index = 1; index <= shardCount; index++) {
        const peer = await gateway.peer(index)
        await peer.hello()
        await peer.next(2)
      }
      expect(world.gate.history).toContain(`commit 0 ${why}`)
      expect(world.gaps).toMatchObject([
        { shardId: 0, from: 2, to: null, cause: 'session_replaced' },
      ])
    },
  )
})

describe('a full queue', () => {
  test('parks the shard until there is room; nothing is lost', async () => {
    world.manager(gateway.url)
    const first = await readyPeer()
    await first.dispatch('TYPING_START', 2, {})
    await until(() => world.sink.events.length === 2)
    world.sink.isFull = true
    for (const s of [3, 4, 5]) await first.dispatch('TYPING_START', s, {})
    await until(() => first.closeCode !== null)
    expect(first.closeCode).toBe(4900)
    expect(world.managers[0]!.status()[0]!.state).toBe('parked')
    world.sink.room()
    const { peer, resume } = await resumingPeer(1)
    expect(resume).toMatchObject({ seq: 2 })
    for (const s of [3, 4, 5]) await peer.dispatch('TYPING_START', s, {})
    await until(() => world.sink.events.length === 5)
    expect(world.sink.sequences).toEqual([1, 2, 3, 4, 5])
    expect(world.sink.shedding).toEqual([])
  })

  test('without room in time the shard sheds and resumes', async () => {
    world.manager(gateway.url, { timeouts: { parkMs: 50 } })
    const first = await readyPeer()
    world.sink.isFull = true
    await first.dispatch('TYPING_START', 2, {})
    await resumingPeer(1)
    expect(world.sink.shedding).toEqual([0])
  })

  test('a READY that found no room is delivered before its session goes on', async () => {
    world.manager(gateway.url)
    const first = await gateway.peer(0)
    await first.hello()
    await first.next(2)
    world.sink.isFull = true
    await first.ready('abc', gateway.url)
    await until(() => world.managers[0]!.status()[0]!.state === 'parked')
    world.sink.room()
    const { peer, resume } = await resumingPeer(1)
    expect(resume).toMatchObject({ session_id: 'abc', seq: 1 })
    await peer.dispatch('TYPING_START', 2, {})
    await until(() => world.sink.events.length === 2)
    expect(world.sink.names).toEqual(['READY', 'TYPING_START'])
  })
})

describe('ownership', () => {
  test('a shard whose fence is lost is closed and forgotten, and writes nothing more', async () => {
    const manager = world.manager(gateway.url)
    const first = await readyPeer()
    world.sessions.lost.add(0)
    await first.dispatch('TYPING_START', 2, {})
    await until(() => first.closeCode !== null)
    expect(first.closeCode).toBe(4900)
    expect(manager.status()).toEqual([])
    expect(() => manager.restart(0)).toThrow('SHARD_NOT_OWNED')
  })

  test('a shard that somebody else has taken over is never connected', async () => {
    world.sessions.lost.add(0)
    const manager = world.manager(gateway.url)
    await until(() => manager.status().length === 0)
    expect(gateway.peers).toEqual([])
  })

  /** One claim that cannot be confirmed while `isConfirmed` is false. */
  function doubtful(): {
    claims: ShardClaims
    isConfirmed: boolean
    isInTime: boolean
    lost: AbortController
  } {
    const lost = new AbortController()
    const doubt = {
      isConfirmed: true,
      isInTime: true,
      lost,
      claims: {
        run: (onClaim: (claim: ShardClaim) => void): Promise<void> => {
          onClaim({
            shardId: 0,
            fence: { epoch: 1, revision: 1 },
            lost: lost.signal,
            handover: new AbortController().signal,
            get isInTime() {
              return doubt.isInTime
            },
            confirm: () => Promise.resolve(doubt.isConfirmed),
            release: () => Promise.resolve(),
          })
          return Promise.resolve()
        },
      },
    }
    return doubt
  }

  test('is proven before RESUME: by the claim, else by the fence read back', async () => {
    const doubt = doubtful()
    world.manager(gateway.url, { claims: doubt.claims })
    const first = await readyPeer()
    doubt.isConfirmed = false
    first.drop()
    await resumingPeer(1)
    expect(world.sessions.calls).toContain('holds 0')
    expect(world.managers[0]!.status()).toHaveLength(1)
  })

  test('that the store denies ends the shard instead of a RESUME', async () => {
    const doubt = doubtful()
    const manager = world.manager(gateway.url, { claims: doubt.claims })
    const first = await readyPeer()
    doubt.isConfirmed = false
    world.sessions.lost.add(0)
    first.drop()
    const second = await gateway.peer(1)
    await second.hello()
    await until(() => manager.status().length === 0)
    expect(second.received).toEqual([])
  })

  test('is proven before IDENTIFY by the claim alone', async () => {
    const doubt = doubtful()
    doubt.isConfirmed = false
    world.manager(gateway.url, { claims: doubt.claims })
    const first = await gateway.peer(0)
    await first.hello()
    await until(() => first.closeCode !== null)
    expect(first.received).toEqual([])
    expect(world.gate.history.slice(0, 2)).toEqual(['acquire 0', 'release 0 unused'])
    doubt.isConfirmed = true
    const next = await gateway.peer(gateway.peers.length)
    await next.hello()
    await next.next(2)
  })

  /** A process that is stopped while it records an IDENTIFY wakes when another one may own the shard. */
  function stoppedInCommit(onWake: () => void): IdentifyGate {
    return {
      async acquire(shardId) {
        const permit = await world.gate.acquire(shardId)
        const commit: typeof permit.commit = async (why) => {
          await permit.commit(why)
          onWake()
        }
        return { ...permit, commit }
      },
    }
  }

  test('that was taken over while the IDENTIFY was recorded sends none, and ends', async () => {
    const gate = stoppedInCommit(() => world.sessions.lost.add(0))
    const manager = world.manager(gateway.url, { claims: doubtful().claims, gate })
    const first = await gateway.peer(0)
    await first.hello()
    await until(() => manager.status().length === 0)
    expect(first.received).toEqual([])
    expect(world.gate.history).toContain('commit 0 first')
  })

  test('whose time ran out while the IDENTIFY was recorded sends none', async () => {
    const doubt = doubtful()
    const gate = stoppedInCommit(() => (doubt.isInTime = false))
    world.manager(gateway.url, { claims: doubt.claims, gate })
    const first = await gateway.peer(0)
    await first.hello()
    await until(() => first.closeCode !== null)
    expect(first.received).toEqual([])
    expect(world.gate.history.slice(0, 3)).toEqual([
      'acquire 0',
      'commit 0 first',
      'release 0 closed',
    ])
  })

  test('that is lost closes the shard at once', async () => {
    const doubt = doubtful()
    const manager = world.manager(gateway.url, { claims: doubt.claims })
    const first = await readyPeer()
    doubt.lost.abort()
    expect(manager.status()).toEqual([])
    await until(() => first.closeCode !== null)
    expect(first.closeCode).toBe(4900)
  })

  test('waits for the store instead of identifying without it', async () => {
    world.sessions.failure = new Error('the store is away')
    world.manager(gateway.url)
    await until(() => world.sessions.calls.length > 0)
    expect(gateway.peers).toEqual([])
    world.sessions.failure = null
    const peer = await gateway.peer(0)
    await peer.hello()
    await peer.next(2)
  })
})

describe('commands', () => {
  const voice = { lane: 'direct', op: 4, d: { guild_id: '1' } } as const

  test('go out on the shard’s connection', async () => {
    const manager = world.manager(gateway.url)
    const peer = await readyPeer()
    await manager.submit(0, voice).sent
    expect(await peer.next(4)).toEqual({ guild_id: '1' })
  })

  test('that Discord would answer with a close are refused by name', async () => {
    const manager = world.manager(gateway.url)
    await readyPeer()
    const large = { ...voice, d: { guild_id: 'x'.repeat(5000) } }
    await expect(manager.submit(0, large).sent).rejects.toThrow('SHARD_PAYLOAD_TOO_LARGE')
    expect(() => manager.submit(1, voice)).toThrow('SHARD_NOT_OWNED')
  })

  test('wait for the limit, through a reconnect too, and are refused when the shard is stopped', async () => {
    const manager = world.manager(gateway.url)
    const peer = await readyPeer()
    const sends = Array.from({ length: 240 }, () => manager.submit(0, voice).sent)
    const outcomes = Promise.allSettled(sends)
    await peer.next(4, 100)
    peer.drop()
    const resumed = await gateway.peer(1)
    await resumed.hello()
    await resumed.next(6)
    await resumed.dispatch('RESUMED', 2, {})
    // The new connection has a window of its own.
    await resumed.next(4, 100)
    await manager.stop()
    const failed = (await outcomes).filter((outcome) => outcome.status === 'rejected')
    expect(failed.length).toBeGreaterThan(5)
    expect(String((failed[0] as PromiseRejectedResult).reason)).toContain('SHARD_NOT_READY')
    expect(peer.received.length).toBeLessThanOrEqual(120)
    expect(resumed.received.length).toBeLessThanOrEqual(120)
  })

  test('for members tell what becomes of them: chunks by nonce, RATE_LIMITED obeyed', async () => {
    const manager = world.manager(gateway.url)
    const peer = await readyPeer()
    const seen: { outcome: string; members: number; rateLimitedUntilMs: number }[] = []
    manager.requestMembers(
      0,
      { guildId: 7n, query: 'a', limit: 9, presences: false, nonce: 'n' },
      (now) => seen.push(now),
    )
    expect(await peer.next(8)).toEqual({ guild_id: '7', query: 'a', limit: 9, nonce: 'n' })
    const meta = { guild_id: 7n, nonce: 'n' }
    await peer.dispatch('RATE_LIMITED', 2, { opcode: 8, retry_after: 0.05, meta })
    await peer.next(8, 1)
    const members = [{ user: { id: 1n } }, { user: { id: 2n } }]
    const chunk = { guild_id: 7n, members, chunk_index: 0, chunk_count: 1, nonce: 'n' }
    await peer.dispatch('GUILD_MEMBERS_CHUNK', 3, { ...chunk, not_found: [3n] })
    await until(() => seen.at(-1)?.outcome === 'DONE')
    expect(seen.map(({ outcome }) => outcome)).toEqual(['SENT', 'QUEUED', 'SENT', 'DONE'])
    expect(seen[1]!.rateLimitedUntilMs).toBeGreaterThan(0)
    expect(seen[3]).toMatchObject({ chunks: 1, members: 2, notFound: ['3'] })
    expect(world.counters.read('gateway_commands_rate_limited_total', { op: '8' })).toBe(1)
  })
})
