import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Sim } from '../../sim/index.ts'
import { freshDatabase, type FreshDatabase } from '../support/postgres.ts'
import type { Program } from '../support/program.ts'
import { sharedRedis } from '../support/redis.ts'
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
import { gapFindings, identifyFindings, queueFindings, type Run, stateFindings } from './whole.ts'

const SHARDS = 2
const FORGOTTEN = 'the shard is no longer ours: closed and forgotten'

interface Pair {
  readonly sim: Sim
  readonly database: FreshDatabase
  readonly run: Run
  readonly first: Program
  startSecond(): Promise<Program>
  end(): Promise<void>
}

async function startPair(seed: number): Promise<Pair> {
  const redis = sharedRedis()
  const database = await freshDatabase()
  const sim = await startDiscord({
    shards: SHARDS,
    guilds: 40,
    membersMax: 300,
    rate: 0,
    seed,
    // The frozen one sends none: its sessions must outlive the start of the second one, however busy the machine is.
    heartbeatTimeoutMs: 60_000,
  })
  const gateways: Program[] = []
  const start = async (podId: string): Promise<Program> => {
    const gateway = startGateway(sim, [
      `-podId=${podId}`,
      `-psql=${database.url}`,
      `-redis=${redis.url}`,
      `-redis-prefix=${redis.prefix}`,
      '-payload=envelope',
    ])
    gateways.push(gateway)
    await untilReady(gateway, SHARDS)
    return gateway
  }
  const first = await start('first')
  return {
    sim,
    database,
    run: {
      sim,
      gateways,
      shardCount: SHARDS,
      postgresUrl: database.url,
      redisUrl: redis.url,
      redisPrefix: redis.prefix,
    },
    first,
    startSecond: () => start('second'),
    async end() {
      for (const gateway of gateways) gateway.kill('SIGKILL')
      await Promise.all(gateways.map((gateway) => gateway.exited))
      await sim.stop()
      await database.drop()
    },
  }
}

function untilForgotten(gateway: Program): Promise<true> {
  return gateway.waitFor(
    () => {
      const lost = gateway.logLines().filter(({ msg }) => msg === FORGOTTEN)
      return new Set(lost.map(({ shardId }) => shardId)).size === SHARDS ? true : null
    },
    'every shard forgotten',
    40_000,
  )
}

/** Owner and fence of each shard, and which workers identified, as Postgres has it. */
async function ownership(url: string): Promise<{ owners: unknown[]; identifiedBy: unknown[] }> {
  const rows = await queryRows(
    url,
    `select owner, fence_epoch = (select epoch from gateway_fleet) as newest
       from gateway_sessions order by shard`,
  )
  const identifies = await queryRows(url, 'select worker from gateway_identifies order by id')
  return { owners: rows, identifiedBy: identifies.map(({ worker }) => worker) }
}

const OWNED_BY_SECOND = [0, 1].map(() => ({ owner: 'gateway-second', newest: true }))

describe.concurrent('a second gateway on the same database', () => {
  let pair: Pair
  let second: Program
  let sequences: Map<string, number>

  beforeAll(async () => {
    pair = await startPair(41)
    const { sim, first, database } = pair
    sim.setRate(100)
    await untilEvents(sim, 100)
    second = await pair.startSecond()
    await untilForgotten(first)
    await untilEvents(sim, 200)
    sim.setRate(0)
    await untilQuiet(sim, () => storedSequences(database.url))
    sequences = await storedSequences(database.url)
    expect(await first.stop()).toEqual({ code: 0, signal: null })
  }, 120_000)

  afterAll(() => pair.end())

  test('resumes every session; neither identifies again', () => {
    expect(pair.sim.ledger.identifies).toHaveLength(SHARDS)
    const taken = pair.sim.ledger.resumes.filter(({ outcome }) => outcome === 'resumed')
    expect(new Set(taken.map(({ shard }) => shard)).size).toBe(SHARDS)
  })

  test('owns every row; the end of the first, which has forgotten its shards, moves none', async () => {
    const { database } = pair
    expect(await ownership(database.url)).toEqual({
      owners: OWNED_BY_SECOND,
      identifiedBy: ['gateway-first', 'gateway-first'],
    })
    expect(await storedSequences(database.url)).toEqual(sequences)
    expect(pair.sim.sessions.every(({ reader }) => reader !== null)).toBe(true)
  })

  test('misses nothing, and State holds what a client could know of the world', async () => {
    expect(gapLines(...pair.run.gateways)).toEqual([])
    expect(await queueFindings(pair.run)).toBe('')
    expect(await stateFindings(pair.run)).toBe('')
    expect(await second.stop()).toEqual({ code: 0, signal: null })
  })
})

describe.concurrent.for([
  { name: 'events wait in its sockets', rate: 100, seed: 42 },
  { name: 'nothing happens', rate: 0, seed: 43 },
])(
  'a gateway that is frozen while a second one takes over and gets new sessions, $name',
  ({ rate, seed }) => {
    let pair: Pair

    beforeAll(async () => {
      pair = await startPair(seed)
      const { sim, first, database } = pair
      sim.setRate(rate)
      if (rate > 0) await untilEvents(sim, 100)
      else await untilQuiet(sim, () => storedSequences(database.url))
      first.kill('SIGSTOP')
      if (rate > 0) await untilEvents(sim, 100)
      sim.setRate(0)
      const second = await pair.startSecond()
      await untilQuiet(sim, () => storedSequences(database.url))
      const before = sim.sessions.map(({ id }) => id)
      sim.fault({ kind: 'invalid-session', resumable: false })
      await until(
        () =>
          sim.sessions.filter(({ id, reader }) => reader !== null && !before.includes(id))
            .length === SHARDS,
        { timeoutMs: 30_000, what: 'a new session of every shard' },
      )
      sim.setRate(rate)
      first.kill('SIGCONT')
      await untilForgotten(first)
      sim.setRate(100)
      await untilEvents(sim, 100)
      sim.setRate(0)
      await untilQuiet(sim, () => storedSequences(database.url))
      for (const gateway of [first, second]) {
        expect(await gateway.stop()).toEqual({ code: 0, signal: null })
      }
    }, 120_000)

    afterAll(() => pair.end())

    test('sends no IDENTIFY: each shard had its first session and the one that replaced it', () => {
      const shards = pair.sim.ledger.identifies.map(({ shard }) => shard)
      expect(shards.sort((a, b) => a - b)).toEqual([0, 0, 1, 1])
    })

    test('writes nothing: rows and identifies are those of the owner', async () => {
      const { owners, identifiedBy } = await ownership(pair.database.url)
      expect(owners).toEqual(OWNED_BY_SECOND)
      expect(identifiedBy).toEqual([
        'gateway-first',
        'gateway-first',
        'gateway-second',
        'gateway-second',
      ])
      expect(await stateFindings(pair.run)).toBe('')
    })

    test('names nothing as lost; the owner names what Discord took away', async () => {
      expect(gapLines(pair.first)).toEqual([])
      expect(gapFindings(pair.run)).toBe('')
      expect(identifyFindings(pair.run)).toBe('')
    })

    test('hands on nothing but repeats: the lists hold what the ledger says, in its order', async () => {
      expect(await queueFindings(pair.run)).toBe('')
    })
  },
)
