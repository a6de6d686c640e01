import { afterEach, describe, expect, test } from 'vitest'
import { startSim } from '../../sim/index.ts'
import type { Sim, SimOptions } from '../../sim/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { until } from '../support/until.ts'
import { connect, connectReady } from './raw-client.ts'
import type { RawClient } from './raw-client.ts'

let sim: Sim
const clock = { fake: new FakeClock() }
async function start(options: Partial<SimOptions> = {}): Promise<Sim> {
  clock.fake = new FakeClock()
  sim = await startSim(
    { guilds: 2, membersMax: 60, identifyWindowMs: 0, helloMs: 0, ...options },
    { clock: clock.fake },
  )
  return sim
}
afterEach(() => sim.stop())

async function drop(client: RawClient): Promise<void> {
  client.ws.terminate()
  await until(() => sim.sessions.every((session) => session.reader === null), { what: 'the drop' })
}

describe('RESUME', () => {
  test('of an unknown session is answered with op 9 false, and the connection may identify', async () => {
    const client = await connect(await start())
    client.resume(sim, 'no-such-session', 1)
    expect(await client.waitOp(9)).toMatchObject({ d: false })
    client.identify(sim)
    await client.waitFor('READY')
    expect(sim.ledger.resumes).toMatchObject([{ outcome: 'unknown', seq: 1 }])
  })

  test('with a sequence that was never sent is closed with 4007 and ends the session', async () => {
    const first = await connectReady(await start())
    await drop(first)
    const second = await connect(sim)
    second.resume(sim, first.sessionId, 1_000_000)
    expect((await second.waitClosed()).code).toBe(4007)
    expect(sim.sessions).toEqual([])
    expect(sim.ledger.ends).toMatchObject([{ cause: 'invalid_seq', session: first.sessionId }])
  })

  test('of another token is closed with 4004', async () => {
    const first = await connectReady(await start())
    const second = await connect(sim)
    second.send(6, { token: 'MQ.b.c', session_id: first.sessionId, seq: 1 })
    expect((await second.waitClosed()).code).toBe(4004)
    expect(sim.sessions).toHaveLength(1)
  })

  test.each([
    ['close', 4009],
    ['invalid-session', null],
  ] as const)('90 s after the disconnect is too late: %s', async (expiredAnswer, code) => {
    const first = await connectReady(await start({ expiredAnswer }))
    await until(() => first.sequence === sim.sessions[0]!.sequence)
    const { sequence } = first
    await drop(first)
    await clock.fake.advance(89_000)
    expect(sim.sessions).toHaveLength(1)
    while (sim.sessions[0]!.sequence < sequence + 10) sim.step()
    const last = sim.sessions[0]!.sequence
    await clock.fake.advance(1_000)
    expect(sim.sessions).toHaveLength(0)
    const second = await connect(sim)
    second.resume(sim, first.sessionId, sequence)
    if (code === null) expect(await second.waitOp(9)).toMatchObject({ d: false })
    else expect((await second.waitClosed()).code).toBe(code)
    expect(sim.ledger.gaps()).toMatchObject([
      {
        shard: 0,
        session: first.sessionId,
        cause: 'expired',
        from: sequence + 1,
        to: last,
        resumeSeq: sequence,
      },
    ])
  })

  test('within 90 s starts the time anew', async () => {
    const first = await connectReady(await start())
    await drop(first)
    await clock.fake.advance(80_000)
    const second = await connect(sim)
    second.resume(sim, first.sessionId, 1)
    await second.waitFor('RESUMED')
    await drop(second)
    await clock.fake.advance(80_000)
    expect(sim.sessions).toHaveLength(1)
  })

  test('from before the replay buffer is answered with op 9 false, and the gap is known', async () => {
    const first = await connectReady(await start({ replayEvents: 20 }))
    await until(() => first.sequence === sim.sessions[0]!.sequence)
    const { sequence } = first
    await drop(first)
    while (sim.sessions[0]!.sequence < sequence + 21) sim.step()
    const last = sim.sessions[0]!.sequence
    const second = await connect(sim)
    second.resume(sim, first.sessionId, sequence)
    expect(await second.waitOp(9)).toMatchObject({ d: false })
    expect(sim.ledger.gaps()).toMatchObject([
      {
        cause: 'replay_exceeded',
        from: sequence + 1,
        to: last,
        lastSent: sequence,
        resumeSeq: sequence,
      },
    ])
  })

  test('reaches back exactly as far as the buffer', async () => {
    const first = await connectReady(await start({ replayEvents: 20 }))
    await drop(first)
    while (sim.sessions[0]!.sequence < 40) sim.step()
    const last = sim.sessions[0]!.sequence
    const second = await connect(sim)
    second.resume(sim, first.sessionId, last - 20)
    await second.waitFor('RESUMED')
    expect(second.dispatches).toHaveLength(21)
  })

  test('keeps max(100, min(3500, guilds × 75)) events by default', async () => {
    const first = await connectReady(await start())
    await drop(first)
    while (sim.sessions[0]!.sequence < 200) sim.step()
    const session = sim.sessions[0]!
    expect(session.canReplayAfter(session.sequence - 150)).toBe(true)
    expect(session.canReplayAfter(session.sequence - 151)).toBe(false)
  })

  test('finds nothing of what a heartbeat confirmed, if the buffer is trimmed', async () => {
    const first = await connectReady(await start({ replayTrim: true }))
    sim.step(30)
    await until(() => first.sequence === sim.sessions[0]!.sequence)
    first.send(1, 10)
    await first.waitOp(11)
    await drop(first)
    expect(sim.sessions[0]!.confirmed).toBe(10)
    const late = await connect(sim)
    late.resume(sim, first.sessionId, 10)
    await late.waitFor('RESUMED')
    await drop(late)
    const early = await connect(sim)
    early.resume(sim, first.sessionId, 9)
    expect(await early.waitOp(9)).toMatchObject({ d: false })
  })

  test('takes the session from a connection that still has it', async () => {
    const first = await connectReady(await start())
    const second = await connect(sim)
    second.resume(sim, first.sessionId, 1)
    await second.waitFor('RESUMED')
    await first.waitClosed()
    sim.step(10)
    await until(() => second.sequence === sim.sessions[0]!.sequence)
    expect(sim.sessions).toHaveLength(1)
  })

  test('says in the ledger whether the query is that of the identify', async () => {
    const first = await connectReady(await start(), { encoding: 'etf', compress: 'zlib-stream' })
    await drop(first)
    const second = await connect(sim, { encoding: 'json' })
    second.resume(sim, first.sessionId, 1)
    await second.waitFor('RESUMED')
    expect(sim.ledger.resumes).toMatchObject([{ outcome: 'resumed', sameQuery: false }])
  })
})

describe('a session', () => {
  test.each([1000, 1001])('ends when the client closes with %i', async (code) => {
    const client = await connectReady(await start())
    client.ws.close(code)
    await until(() => sim.sessions.length === 0)
    expect(sim.ledger.ends).toMatchObject([{ cause: 'closed', lastSent: client.sequence }])
    expect(sim.ledger.closes).toMatchObject([{ by: 'client', code }])
  })

  test.each([4900, 3000])('lives on when the client closes with %i', async (code) => {
    const client = await connectReady(await start())
    client.ws.close(code)
    await until(() => sim.sessions[0]?.reader === null)
    const session = sim.sessions[0]!
    const { sequence } = session
    while (session.sequence < sequence + 5) sim.step()
    expect(session.canReplayAfter(sequence)).toBe(true)
  })

  test('ends with 4009 when no heartbeat comes for two intervals', async () => {
    const client = await connectReady(await start())
    await clock.fake.advance(80_000)
    client.send(1, null)
    await client.waitOp(11)
    await clock.fake.advance(82_000)
    expect(client.closed).toBeNull()
    await clock.fake.advance(1_000)
    expect((await client.waitClosed()).code).toBe(4009)
    expect(sim.ledger.ends).toMatchObject([{ cause: 'timed_out' }])
  })

  test('drops a reader that takes nothing for 20 s, and stays', async () => {
    const client = await connectReady(await start({ guilds: 4 }))
    client.ws.pause()
    const session = sim.sessions[0]!
    await until(
      () => {
        sim.step(500)
        return session.sequence - session.lastSent > 1000
      },
      { timeoutMs: 15_000, what: 'a full socket' },
    )
    await clock.fake.advance(26_000)
    await until(() => session.reader === null)
    expect(session.end).toBeNull()
    await until(() => sim.ledger.closes.length === 1)
    expect(sim.ledger.closes).toMatchObject([
      { by: 'server', reason: 'stalled reader', code: 1006 },
    ])
  })
})
