import { afterEach, describe, expect, test } from 'vitest'
import { startSim } from '../../sim/index.ts'
import type { FaultRequest, Sim, SimOptions } from '../../sim/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { until } from '../support/until.ts'
import { connect, connectReady, RawClient } from './raw-client.ts'
import type { RawOptions } from './raw-client.ts'

let sim: Sim
afterEach(() => sim.stop())

async function ready(
  options: Partial<SimOptions> = {},
  raw: RawOptions = {},
  clock?: FakeClock,
): Promise<RawClient> {
  sim = await startSim(
    { guilds: 2, membersMax: 60, identifyWindowMs: 0, helloMs: 0, ...options },
    clock === undefined ? {} : { clock },
  )
  const client = await connectReady(sim, raw)
  await until(() => client.sequence === sim.sessions[0]!.sequence, { what: 'the guilds' })
  return client
}

async function resumed(client: RawClient, raw: RawOptions = {}): Promise<RawClient> {
  const second = await connect(sim, raw)
  second.resume(sim, client.sessionId, client.sequence)
  await second.waitFor('RESUMED')
  return second
}

describe('a connection', () => {
  test('is dropped without a close frame, and the session resumes', async () => {
    const client = await ready()
    sim.fault({ kind: 'tcp-drop', shard: 0 })
    expect((await client.waitClosed()).code).toBe(1006)
    sim.step(20)
    const second = await resumed(client)
    expect(second.sequence).toBe(sim.sessions[0]!.sequence)
    expect(sim.ledger.closes).toMatchObject([{ code: 1006, by: 'server', reason: 'fault' }])
  })

  test('goes half open: nothing comes, nothing is heard, and the session resumes elsewhere', async () => {
    const client = await ready()
    sim.fault({ kind: 'silence' })
    const { sequence } = client
    sim.step(50)
    client.send(1, sequence)
    await new Promise((resolve) => setTimeout(resolve, 40))
    expect(client.sequence).toBe(sequence)
    expect(client.ops(11)).toEqual([])
    expect(client.closed).toBeNull()
    expect(sim.sessions[0]!.lastSent).toBe(sequence)
    const second = await resumed(client)
    expect(second.dispatches[0]?.s).toBe(sequence + 1)
  })

  test('gets its ACKs late', async () => {
    const clock = new FakeClock()
    const client = await ready({}, {}, clock)
    sim.fault({ kind: 'ack-late', delayMs: 700 })
    client.send(1, null)
    client.send(1, null)
    await until(() => clock.timerCount >= 3)
    await clock.advance(699)
    expect(client.ops(11)).toEqual([])
    await clock.advance(1)
    await client.waitOp(11, 2)
  })

  test('gets no ACK for as many heartbeats as asked', async () => {
    const client = await ready()
    sim.fault({ kind: 'ack-missing', count: 2 })
    for (let count = 0; count < 3; count++) client.send(1, null)
    await client.waitOp(11)
    sim.step(1)
    await until(() => client.sequence === sim.sessions[0]!.sequence)
    expect(client.ops(11)).toHaveLength(1)
  })

  test.each([
    [{ kind: 'reconnect' }, { op: 7, d: null }],
    [{ kind: 'heartbeat-request' }, { op: 1, d: null }],
    [
      { kind: 'invalid-session', resumable: true },
      { op: 9, d: true },
    ],
    [
      { kind: 'invalid-session', resumable: false },
      { op: 9, d: false },
    ],
  ] as [FaultRequest, { op: number; d: unknown }][])('is sent %o', async (fault, payload) => {
    const client = await ready()
    sim.fault(fault)
    expect(await client.waitOp(payload.op)).toMatchObject(payload)
    const isEnded = fault.resumable === false
    expect(sim.sessions).toHaveLength(isEnded ? 0 : 1)
    client.ws.terminate()
    if (!isEnded) await resumed(client)
  })

  test('is closed after op 7 when the client does not do it', async () => {
    const clock = new FakeClock()
    const client = await ready({}, {}, clock)
    sim.fault({ kind: 'reconnect' })
    await client.waitOp(7)
    await clock.advance(3000)
    expect((await client.waitClosed()).code).toBe(4000)
    await resumed(client)
  })

  test.each([
    [4000, true],
    [4001, true],
    [4008, true],
    [1001, true],
    [4003, false],
    [4007, false],
    [4009, false],
    [4004, false],
  ])('is closed with %i; the session lives: %s', async (code, lives) => {
    const client = await ready()
    sim.fault({ kind: 'close', code })
    expect((await client.waitClosed()).code).toBe(code)
    expect(sim.sessions).toHaveLength(lives ? 1 : 0)
    if (lives) await resumed(client)
  })

  test('is greeted with op 7 in place of HELLO', async () => {
    sim = await startSim({ guilds: 1 })
    sim.fault({ kind: 'reconnect-before-hello' })
    const client = new RawClient(sim)
    await client.waitOp(7)
    expect(client.payloads).toHaveLength(1)
  })

  test('is not greeted, or refused', async () => {
    sim = await startSim({ guilds: 1, helloMs: 0 })
    sim.fault({ kind: 'no-hello' })
    const silent = new RawClient(sim)
    await until(() => silent.ws.readyState === 1)
    sim.fault({ kind: 'refuse-connection' })
    const refused = new RawClient(sim)
    await refused.waitClosed()
    await connect(sim)
    expect(silent.payloads).toEqual([])
  })
})

describe('messages', () => {
  test.each([
    ['segments', 'etf', 'zlib-stream'],
    ['fragments', 'etf', 'zlib-stream'],
    ['messages', 'etf', 'zlib-stream'],
    ['segments', 'json', 'none'],
    ['fragments', 'json', 'none'],
    ['fragments', 'etf', 'zstd-stream'],
  ] as const)('cut in %s arrive whole and in order over %s, %s', async (by, encoding, compress) => {
    const client = await ready({}, { encoding, compress })
    const messages = client.messages
    sim.fault({ kind: 'split', by, pieces: 5, count: 30 })
    sim.step(40)
    await until(() => client.sequence === sim.sessions[0]!.sequence)
    const events = client.dispatches.length
    expect(client.dispatches.map((payload) => payload.s)).toEqual(
      Array.from({ length: events }, (_, index) => index + 1),
    )
    if (by === 'messages') expect(client.messages - messages).toBeGreaterThan(100)
  })

  test('are held and come at once', async () => {
    const clock = new FakeClock()
    const client = await ready({}, {}, clock)
    const { sequence } = client
    sim.fault({ kind: 'coalesce', ms: 100 })
    sim.step(30)
    client.send(1, null)
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(client.sequence).toBe(sequence)
    await clock.advance(100)
    await until(() => client.sequence === sim.sessions[0]!.sequence)
    await client.waitOp(11)
  })

  test.each(['zlib-stream', 'zstd-stream'] as const)(
    'corrupted in a %s break it, and the session resumes',
    async (compress) => {
      const client = await ready({}, { encoding: 'etf', compress })
      sim.fault({ kind: 'corrupt-stream', count: 3 })
      sim.step(30)
      await until(() => client.isBroken, { what: 'the broken stream' })
      client.ws.terminate()
      const second = await resumed(client, { encoding: 'etf', compress })
      expect(second.sequence).toBe(sim.sessions[0]!.sequence)
    },
  )

  test.each([
    'unknown-tag',
    'truncated',
    'huge-list',
    'huge-map',
    'huge-binary',
    'bad-version',
    'bomb',
    'empty',
    'deep',
  ])('of garbage, %s, cannot be decoded', async (what) => {
    const compress = what === 'empty' ? 'none' : 'zlib-stream'
    const client = await ready({}, { encoding: 'etf', compress })
    sim.fault({ kind: 'garbage', what })
    await until(() => client.isBroken, { what: 'the garbage' })
    client.ws.terminate()
    await until(() => sim.sessions[0]!.reader === null)
    sim.step(5)
    const second = await resumed(client)
    expect(second.sequence).toBe(sim.sessions[0]!.sequence)
  })

  test('of garbage, a name of 1 MiB, is a payload all the same', async () => {
    const client = await ready({}, { encoding: 'etf' })
    sim.fault({ kind: 'garbage', what: 'huge-name' })
    await until(() => client.dispatches.at(-1)?.t?.length === 1024 * 1024)
  })
})

describe('a session', () => {
  test('expires on request', async () => {
    const client = await ready()
    sim.fault({ kind: 'expire-session', session: client.sessionId })
    await client.waitClosed()
    const second = await connect(sim)
    second.resume(sim, client.sessionId, client.sequence)
    expect((await second.waitClosed()).code).toBe(4009)
  })

  test('is replayed slowly, with what happens meanwhile behind it', async () => {
    const clock = new FakeClock()
    const client = await ready({}, {}, clock)
    client.ws.terminate()
    await until(() => sim.sessions[0]!.reader === null)
    const session = sim.sessions[0]!
    const target = session.sequence + 3
    while (session.sequence < target) sim.step()
    const missed = session.sequence - client.sequence
    sim.fault({ kind: 'slow-replay', delayMs: 100 })
    const second = await connect(sim)
    second.resume(sim, client.sessionId, client.sequence)
    await until(() => second.dispatches.length === 1)
    sim.emit({ t: 'ENTITLEMENT_CREATE', guildId: null, d: { id: 1n } })
    for (let count = 1; count <= missed; count++) {
      expect(second.of('RESUMED')).toEqual([])
      await clock.advance(100)
      await until(() => second.dispatches.length > count)
    }
    await clock.advance(100)
    await second.waitFor('RESUMED')
    expect(second.dispatches.at(-2)?.t).toBe('ENTITLEMENT_CREATE')
  })

  test.each([true, false])('is refused its next RESUME with op 9 %s', async (resumable) => {
    const client = await ready()
    client.ws.terminate()
    sim.fault({ kind: 'refuse-resume', resumable })
    const second = await connect(sim)
    second.resume(sim, client.sessionId, client.sequence)
    expect(await second.waitOp(9)).toMatchObject({ d: resumable })
    second.resume(sim, client.sessionId, client.sequence)
    if (resumable) await second.waitFor('RESUMED')
    else await second.waitClosed()
  })

  test('is not started, or without READY', async () => {
    await ready()
    sim.fault({ kind: 'refuse-identify' })
    sim.fault({ kind: 'no-ready' })
    const client = await connect(sim)
    client.identify(sim)
    expect(await client.waitOp(9)).toMatchObject({ d: false })
    client.identify(sim)
    await until(() => sim.sessions.length === 2)
    client.send(1, null)
    await client.waitOp(11)
    expect(client.of('READY')).toEqual([])
  })
})

test('faults strike by the clock, again and again', async () => {
  const clock = new FakeClock()
  const client = await ready({ faults: ['heartbeat-request,after=5s,every=2s,shard=0'] }, {}, clock)
  await clock.advance(4999)
  expect(client.ops(1)).toEqual([])
  await clock.advance(4001)
  await client.waitOp(1, 3)
})

test('a fault that is not known is refused with the nearest name', async () => {
  await ready()
  expect(() => sim.fault({ kind: 'tcp-drip' })).toThrow('did you mean tcp-drop?')
  expect(() => sim.fault({ kind: 'tcp-drop', shard: 7 })).toThrow('SIM_NO_SESSION')
  expect(() => sim.fault({ kind: 'close', code: 1006 })).toThrow('SIM_BAD_FAULT')
  await expect(startSim({ faults: ['tcp-drop,after=soon'] })).rejects.toThrow('SIM_BAD_FAULT')
})
