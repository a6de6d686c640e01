import { Redis } from 'ioredis'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Sim } from '../../sim/index.ts'
import type { Received } from '../push/contract.ts'
import { receivedFrom } from '../push/redis-subject.ts'
import { freshDatabase } from '../support/postgres.ts'
import type { Program } from '../support/program.ts'
import { sharedRedis } from '../support/redis.ts'
import {
  everyMutation,
  gapLines,
  startDiscord,
  startGateway,
  untilQuiet,
  untilReady,
} from './run.ts'
import { gapFindings, identifyFindings, queueFindings, type Run, stateFindings } from './whole.ts'

const SHARDS = 4

/** Faults after which the session can be resumed, all within the first seconds. */
const FAULTS: readonly (readonly [number, Parameters<Sim['fault']>[0]])[] = [
  [1000, { kind: 'tcp-drop', shard: 0 }],
  [2000, { kind: 'reconnect', shard: 1 }],
  [3000, { kind: 'invalid-session', shard: 2, resumable: true }],
  [4000, { kind: 'corrupt-stream', shard: 3 }],
]

describe('the gateway killed with -9 in the middle of 1,000 changes a second', () => {
  let sim: Sim
  let first: Program
  let second: Program
  let database: Awaited<ReturnType<typeof freshDatabase>>
  let client: Client
  let identifiesBefore: number
  const redis = sharedRedis()

  beforeAll(async () => {
    database = await freshDatabase()
    client = new Client({ connectionString: database.url })
    await client.connect()
    sim = await startDiscord({ shards: SHARDS, guilds: 200, rate: 0, seed: 3 })
    const argv = [
      `-psql=${database.url}`,
      `-redis=${redis.url}`,
      `-redis-prefix=${redis.prefix}`,
      '-payload=envelope',
      '-redis-marks',
    ]
    first = startGateway(sim, argv)
    await untilReady(first, SHARDS)
    sim.setRate(1000)
    const startedAt = performance.now()
    for (const [atMs, fault] of FAULTS) {
      await sleep(startedAt + atMs - performance.now())
      sim.fault(fault)
      everyMutation(sim)
    }
    await sleep(startedAt + 6000 - performance.now())
    first.kill('SIGKILL')
    await first.exited
    identifiesBefore = sim.ledger.identifies.length
    second = startGateway(sim, argv)
    await untilReady(second, SHARDS)
    everyMutation(sim)
    await sleep(2000)
    sim.setRate(0)
    await untilQuiet(sim, async () => {
      const { rows } = await client.query<{ session_id: string; sequence: string }>(
        'select session_id, sequence from gateway_sessions',
      )
      return new Map(rows.map((row) => [row.session_id, Number(row.sequence)]))
    })
    expect(await second.stop()).toEqual({ code: 0, signal: null })
  }, 120_000)

  afterAll(async () => {
    for (const gateway of [first, second]) gateway.kill('SIGKILL')
    await client.end()
    await sim.stop()
    await database.drop()
  })

  function run(): Run {
    return {
      sim,
      gateways: [first, second],
      shardCount: SHARDS,
      postgresUrl: database.url,
      redisUrl: redis.url,
      redisPrefix: redis.prefix,
    }
  }

  test('the restart resumed every session and identified nothing', () => {
    expect(sim.ledger.identifies.length).toBe(identifiesBefore)
    expect(identifyFindings(run())).toBe('')
  })

  test('nothing is missing and nothing is a gap', async () => {
    expect(gapLines(first, second)).toEqual([])
    expect(gapFindings(run())).toBe('')
    expect(await queueFindings(run())).toBe('')
  })

  test('nothing is in the queue twice, by the marks in Redis', async () => {
    const received = await receivedEvents(redis)
    const names = received.map(({ sessionId, sequence }) => `${sessionId}:${sequence}`)
    expect(names.length).toBeGreaterThan(1000)
    expect(names.length - new Set(names).size).toBe(0)
  })

  test('State holds what a client could know of the world', async () => {
    expect(await stateFindings(run())).toBe('')
  })
})

async function receivedEvents({
  url,
  prefix,
}: ReturnType<typeof sharedRedis>): Promise<readonly Received[]> {
  const admin = new Redis(url)
  try {
    return await receivedFrom(admin, prefix)
  } finally {
    admin.disconnect()
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)))
}
