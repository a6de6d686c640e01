import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Sim } from '../../sim/index.ts'
import { freshDatabase } from '../support/postgres.ts'
import type { Program } from '../support/program.ts'
import { sharedRedis } from '../support/redis.ts'
import {
  everyMutation,
  ledgerOf,
  startDiscord,
  startGateway,
  untilQuiet,
  untilReady,
} from './run.ts'
import { gapFindings, identifyFindings, queueFindings, type Run, stateFindings } from './whole.ts'

const SHARDS = 4
const TRAFFIC_MS = 30_000

/** When (ms after the shards are ready) what happens to whom. */
const FAULTS: readonly (readonly [number, Parameters<Sim['fault']>[0]])[] = [
  [2000, { kind: 'tcp-drop', shard: 0 }],
  [3000, { kind: 'silence', shard: 1 }],
  [5000, { kind: 'reconnect', shard: 2 }],
  [7000, { kind: 'invalid-session', shard: 3, resumable: true }],
  [9000, { kind: 'corrupt-stream', shard: 0 }],
  [12_000, { kind: 'invalid-session', shard: 2, resumable: false }],
  [14_000, { kind: 'split', shard: 3, by: 'segments', pieces: 5, count: 200 }],
  [15_000, { kind: 'heartbeat-request', shard: 0 }],
  [16_000, { kind: 'coalesce', shard: 1, ms: 200 }],
  [18_000, { kind: 'close', shard: 1, code: 4000 }],
  [20_000, { kind: 'close', shard: 3, code: 4009 }],
  [22_000, { kind: 'tcp-drop' }],
]

/** The whole run and its checks, for one form of the payload. */
export function faultsSuite(payload: 'envelope' | 'd'): void {
  describe(`1,000 changes a second on ${SHARDS} shards for 30 s through faults, -payload ${payload}`, () => {
    let sim: Sim
    let gateway: Program
    let database: Awaited<ReturnType<typeof freshDatabase>>
    let client: Client
    const redis = sharedRedis()

    beforeAll(async () => {
      database = await freshDatabase()
      client = new Client({ connectionString: database.url })
      await client.connect()
      sim = await startDiscord({
        shards: SHARDS,
        guilds: 200,
        rate: 0,
        seed: payload === 'd' ? 2 : 1,
      })
      gateway = startGateway(sim, [
        `-psql=${database.url}`,
        `-redis=${redis.url}`,
        `-redis-prefix=${redis.prefix}`,
        `-payload=${payload}`,
      ])
      await untilReady(gateway, SHARDS)
      sim.setRate(1000)
      const startedAt = performance.now()
      for (const [atMs, fault] of FAULTS) {
        await sleep(startedAt + atMs - performance.now())
        sim.fault(fault)
        everyMutation(sim)
      }
      await sleep(startedAt + TRAFFIC_MS - performance.now())
      sim.setRate(0)
      await untilQuiet(sim, async () => {
        const { rows } = await client.query<{ session_id: string; sequence: string }>(
          'select session_id, sequence from gateway_sessions',
        )
        return new Map(rows.map((row) => [row.session_id, Number(row.sequence)]))
      })
      expect(await gateway.stop()).toEqual({ code: 0, signal: null })
    }, 120_000)

    afterAll(async () => {
      gateway.kill('SIGKILL')
      await client.end()
      await sim.stop()
      await database.drop()
    })

    function run(): Run {
      return {
        sim,
        gateways: [gateway],
        shardCount: SHARDS,
        postgresUrl: database.url,
        redisUrl: redis.url,
        redisPrefix: redis.prefix,
        payload,
      }
    }

    test('the lists hold what the ledger says, in its order, but for the named gaps', async () => {
      expect(ledgerOf(sim).ledger.length).toBeGreaterThan(20_000)
      expect(await queueFindings(run())).toBe('')
    })

    test('each gap is one that the simulator made unavoidable, with its bounds', () => {
      expect(ledgerOf(sim).ends.length).toBeGreaterThanOrEqual(2)
      expect(gapFindings(run())).toBe('')
    })

    test('identifies are those that lost sessions made necessary', () => {
      expect(identifyFindings(run())).toBe('')
    })

    test('State holds what a client could know of the world', async () => {
      const { rows } = await client.query<{ members: string }>(
        'select count(*) as members from members',
      )
      expect(Number(rows[0]?.members)).toBeGreaterThan(1000)
      expect(await stateFindings(run())).toBe('')
    })
  })
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)))
}
