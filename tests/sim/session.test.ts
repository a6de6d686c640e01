import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { startSim } from '../../sim/index.ts'
import type { Sim } from '../../sim/index.ts'
import { shardOfGuild } from '../../src/discord/index.ts'
import { until } from '../support/until.ts'
import { connect, connectReady } from './raw-client.ts'

const TRANSPORTS = [
  ['json', 'none'],
  ['json', 'zlib-stream'],
  ['json', 'zstd-stream'],
  ['etf', 'none'],
  ['etf', 'zlib-stream'],
  ['etf', 'zstd-stream'],
] as const

describe.each(TRANSPORTS)('a session over %s, %s', (encoding, compress) => {
  let sim: Sim
  beforeEach(async () => {
    sim = await startSim({ guilds: 8, membersMax: 60, shards: 2, maxConcurrency: 2 })
  })
  afterEach(() => sim.stop())

  test('starts with HELLO, READY and a GUILD_CREATE for each guild of the shard', async () => {
    const client = await connectReady(sim, { encoding, compress, identify: { shard: [1, 2] } })
    expect(client.payloads[0]).toMatchObject({ op: 10, s: null, t: null })
    const ready = client.of('READY')[0]!
    expect(ready.s).toBe(1)
    const d = ready.d as { shard: number[]; guilds: { id: string | bigint }[]; v: number }
    expect(d).toMatchObject({ v: 10, shard: [1, 2] })
    expect(d.guilds.every((guild) => shardOfGuild(BigInt(guild.id), 2) === 1)).toBe(true)
    await until(() => client.of('GUILD_CREATE').length === d.guilds.length)
    const created = client.of('GUILD_CREATE').map((payload) => (payload.d as { id: bigint }).id)
    expect(created).toEqual(d.guilds.map((guild) => guild.id))
  })

  test('replays what was missed, in order, and ends with RESUMED', async () => {
    const first = await connectReady(sim, { encoding, compress })
    sim.step(60)
    await until(() => first.sequence === sim.sessions[0]!.sequence)
    const seen = first.sequence
    first.ws.terminate()
    await until(() => sim.sessions[0]!.reader === null)
    sim.step(60)
    const second = await connect(sim, { encoding, compress })
    second.resume(sim, first.sessionId, seen - 3)
    await second.waitFor('RESUMED')
    const last = sim.sessions[0]!.sequence
    expect(last).toBeGreaterThan(seen)
    expect(second.dispatches.map((payload) => payload.s)).toEqual(
      Array.from({ length: last - seen + 3 }, (_, index) => seen - 2 + index),
    )
    expect(second.dispatches.at(-1)?.t).toBe('RESUMED')
    expect(second.dispatches.slice(0, 3)).toEqual(first.dispatches.slice(-3))
    sim.step(20)
    await until(() => second.sequence === sim.sessions[0]!.sequence)
  })

  test('answers heartbeats', async () => {
    const client = await connect(sim, { encoding, compress })
    client.send(1, null)
    expect(await client.waitOp(11)).toMatchObject({ op: 11, d: null })
  })
})
