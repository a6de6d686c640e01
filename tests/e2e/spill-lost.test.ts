/** A worker's disk is gone for good, with what was acknowledged by lying on it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { execute } from '../../cmd/gatewayctl/run.ts'
import type { Sim } from '../../sim/index.ts'
import { freshDatabase, type FreshDatabase } from '../support/postgres.ts'
import type { Program } from '../support/program.ts'
import { startRedis, type TestServer } from '../support/servers.ts'
import { until } from '../support/until.ts'
import {
  gapLines,
  queryRows,
  startDiscord,
  startGateway,
  storedSequences,
  untilEvents,
  untilQuiet,
  untilReady,
} from './run.ts'

const SHARDS = 2

interface Spill {
  readonly spill: string
  readonly worker: string
  readonly destination: string
  readonly shard: number
  readonly session: string
  readonly first: number
  readonly last: number
  readonly events: number
  readonly held_by: string
}

describe('a worker that dies while its Redis is away, and its disk with it', () => {
  let folder: string
  let sim: Sim
  let redis: TestServer
  let database: FreshDatabase
  let second: Program
  let shown: Spill[]
  let expected: { shard: number; session: string; first: number; last: number; events: number }[]
  const gateways: Program[] = []

  async function worker(podId: string): Promise<Program> {
    const gateway = startGateway(sim, [
      '-addr=127.0.0.1:0',
      `-podId=${podId}`,
      `-data=${join(folder, podId)}`,
      `-destinations=${join(folder, 'destinations.yaml')}`,
      `-psql=${database.url}`,
    ])
    gateways.push(gateway)
    await untilReady(gateway, SHARDS)
    return gateway
  }

  async function ctl(gateway: Program, ...argv: string[]): Promise<{ code: number; text: string }> {
    const { address } = (await gateway.line('serving gRPC')) as { address: string }
    const { exitCode, stdout, stderr } = await execute([`-addr=${address}`, ...argv], {})
    return { code: exitCode, text: stdout + stderr }
  }

  const spillsOf = async (gateway: Program): Promise<Spill[]> =>
    (JSON.parse((await ctl(gateway, 'spills', '-json')).text) as { spills: Spill[] }).spills

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'gateway-lost-'))
    ;[redis, database, sim] = await Promise.all([
      startRedis({}),
      freshDatabase(),
      startDiscord({ shards: SHARDS, guilds: 10, membersMax: 20, rate: 0, seed: 5 }),
    ])
    writeFileSync(
      join(folder, 'destinations.yaml'),
      `destinations:
  - name: bots
    kind: redis-list
    address: ${redis.url}
    required: false
    events: [MESSAGE_CREATE, TYPING_START]
`,
    )
    const first = await worker('a')
    await untilQuiet(sim, () => storedSequences(database.url))
    await redis.kill()
    const before = sim.ledger.size
    sim.setRate(300)
    await untilEvents(sim, 400)
    sim.setRate(0)
    // Acknowledged although Redis is away: it lies on the disk.
    await untilQuiet(sim, () => storedSequences(database.url))
    const wanted = [...sim.ledger.events()]
      .slice(before)
      .filter(({ t }) => t === 'MESSAGE_CREATE' || t === 'TYPING_START')
    expected = Array.from({ length: SHARDS }, (_, shard) => {
      const lines = wanted.filter((line) => line.shard === shard)
      const { session, s: from } = lines[0]!
      return { shard, session, first: from, last: lines.at(-1)!.s, events: lines.length }
    })
    shown = await spillsOf(first)
    const refused = await ctl(first, 'lost', shown[0]!.spill)
    expect(refused).toEqual({ code: 1, text: expect.stringContaining('SERVER_SPILL_HELD') })
    first.kill('SIGKILL')
    await first.exited
    rmSync(join(folder, 'a'), { recursive: true })
    await redis.start()
    second = await worker('b')
  }, 60_000)

  afterAll(async () => {
    for (const gateway of gateways) gateway.kill('SIGKILL')
    await sim.stop()
    await redis.stop()
    await database.drop()
    rmSync(folder, { recursive: true, force: true })
  })

  test('had written what lies there with the acknowledgement of it', () => {
    expect(shown).toMatchObject(
      expected.map((range) => ({
        ...range,
        worker: 'gateway-a',
        destination: 'bots',
        held_by: 'a',
      })),
    )
    expect(new Set(shown.map(({ spill }) => spill)).size).toBe(1)
  })

  test('is shown by its successor, and counted as a gap once, when an operator declares it lost', async () => {
    const [{ spill }] = shown as [Spill]
    const left = await spillsOf(second)
    expect(left).toMatchObject(expected.map((range) => ({ ...range, held_by: '' })))
    expect(gapLines(second)).toEqual([])
    const events = expected.reduce((sum, range) => sum + range.events, 0)
    expect(await ctl(second, 'lost', spill)).toEqual({
      code: 0,
      text: `spill ${spill} is lost: ${events} events of ${SHARDS} shards are counted as a gap\n`,
    })
    await until(() => gapLines(second).length === SHARDS)
    expect(gapLines(second)).toEqual(
      expected.map(({ shard, session, first, last }) => ({
        shard,
        session,
        from: first,
        to: last,
        cause: 'spill_lost',
        destination: 'bots',
      })),
    )
    const { url } = (await second.line('serving HTTP')) as unknown as { url: string }
    const metrics = await (await fetch(`${url}/metrics`)).text()
    expect(metrics).toContain(`gateway_gap_events_total{cause="spill_lost"} ${events}`)
    expect(await ctl(second, 'lost', spill)).toEqual({
      code: 1,
      text: expect.stringContaining('SERVER_SPILL_UNKNOWN'),
    })
    expect((await ctl(second, 'spills')).text).toBe('nothing lies in a spill\n')
    expect(await queryRows(database.url, 'select * from gateway_spills')).toEqual([])
  })
})
