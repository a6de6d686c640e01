import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Sim } from '../../sim/index.ts'
import { freshDatabase, type FreshDatabase } from '../support/postgres.ts'
import type { Program } from '../support/program.ts'
import { sharedRedis } from '../support/redis.ts'
import { startEtcd, type TestServer } from '../support/servers.ts'
import { until } from '../support/until.ts'
import {
  gapLines,
  queryRows,
  startDiscord,
  startGateway,
  storedSequences,
  untilEvents,
  untilQuiet,
} from './run.ts'
import { queueFindings, type Run, stateFindings } from './whole.ts'

const SHARDS = 6
const TTL_MS = 3000

interface Fleet {
  readonly sim: Sim
  readonly etcd: TestServer
  readonly database: FreshDatabase
  readonly run: Run & { readonly gateways: Program[] }
  start(podId: string, argv?: readonly string[]): Program
  end(): Promise<void>
}

async function startFleet(seed: number): Promise<Fleet> {
  const redis = sharedRedis()
  const [database, etcd, sim] = await Promise.all([
    freshDatabase(),
    startEtcd(),
    startDiscord({ shards: SHARDS, guilds: 40, membersMax: 100, rate: 0, seed }),
  ])
  const gateways: Program[] = []
  return {
    sim,
    etcd,
    database,
    run: {
      sim,
      gateways,
      shardCount: SHARDS,
      postgresUrl: database.url,
      redisUrl: redis.url,
      redisPrefix: redis.prefix,
    },
    start(podId, argv = []) {
      const gateway = startGateway(sim, [
        `-podId=${podId}`,
        `-etcd=${etcd.url}`,
        `-lease-ttl=${TTL_MS / 1000}`,
        '-rebalance-settle=1',
        '-rebalance-percent=100',
        `-psql=${database.url}`,
        `-redis=${redis.url}`,
        `-redis-prefix=${redis.prefix}`,
        '-payload=envelope',
        ...argv,
      ])
      gateways.push(gateway)
      return gateway
    },
    async end() {
      for (const gateway of gateways) gateway.kill('SIGKILL')
      await Promise.all(gateways.map((gateway) => gateway.exited))
      await Promise.all([sim.stop(), etcd.stop()])
      await database.drop()
    },
  }
}

function readers(sim: Sim): number {
  return sim.sessions.filter(({ reader }) => reader !== null).length
}

/** The owner of each shard by the session rows. */
async function owners(url: string): Promise<Map<number, string>> {
  const rows = await queryRows<{ shard: number; owner: string }>(
    url,
    'select shard, owner from gateway_sessions order by shard',
  )
  return new Map(rows.map(({ shard, owner }) => [shard, owner]))
}

async function shares(url: string): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const owner of (await owners(url)).values()) counts[owner] = (counts[owner] ?? 0) + 1
  return counts
}

function untilShares(url: string, expected: Record<string, number>): Promise<void> {
  return until(
    async () => {
      const now = await shares(url)
      const names = new Set([...Object.keys(now), ...Object.keys(expected)])
      return [...names].every((name) => now[name] === expected[name])
    },
    { timeoutMs: 30_000, what: `shares ${JSON.stringify(expected)}` },
  )
}

function untilAllRead(sim: Sim): Promise<void> {
  return until(() => readers(sim) === SHARDS, { timeoutMs: 30_000, what: 'every shard read' })
}

/** The longest time for which a shard that has a session had no reader, from now on. */
function watchAbsence(sim: Sim): { end(): number } {
  const since = new Map<string, number>()
  let longest = 0
  const look = (): void => {
    const now = performance.now()
    for (const { id, reader } of sim.sessions) {
      if (reader !== null) since.delete(id)
      else {
        if (!since.has(id)) since.set(id, now)
        longest = Math.max(longest, now - since.get(id)!)
      }
    }
  }
  const timer = setInterval(look, 5)
  return {
    end() {
      look()
      clearInterval(timer)
      return longest
    },
  }
}

describe.concurrent('workers that share shards by etcd', () => {
  let fleet: Fleet
  let killMs = 0
  let rollingAbsenceMs = 0

  beforeAll(async () => {
    fleet = await startFleet(51)
    const { sim, database } = fleet
    fleet.start('a')
    await untilAllRead(sim)
    // The second one gets its share by rebalancing.
    const second = fleet.start('b')
    await untilShares(database.url, { 'gateway-a': 3, 'gateway-b': 3 })
    await untilAllRead(sim)
    sim.setRate(100)
    await untilEvents(sim, 100)
    second.kill('SIGKILL')
    const killedAt = performance.now()
    await untilShares(database.url, { 'gateway-a': 6 })
    await untilAllRead(sim)
    killMs = performance.now() - killedAt
    fleet.start('b')
    await untilShares(database.url, { 'gateway-a': 3, 'gateway-b': 3 })
    await untilAllRead(sim)
    fleet.start('c')
    await untilShares(database.url, { 'gateway-a': 2, 'gateway-b': 2, 'gateway-c': 2 })
    await untilAllRead(sim)
    await untilEvents(sim, 50)
    const absence = watchAbsence(sim)
    for (const podId of ['a', 'b', 'c']) {
      const old = fleet.run.gateways.find(
        (gateway) => gateway.isRunning && gateway.output.includes(`"worker":"${podId}.`),
      )!
      expect(await old.stop()).toEqual({ code: 0, signal: null })
      const fresh = fleet.start(podId)
      await fresh.line('joined the fleet')
    }
    await untilShares(database.url, { 'gateway-a': 2, 'gateway-b': 2, 'gateway-c': 2 })
    await untilAllRead(sim)
    rollingAbsenceMs = absence.end()
    sim.setRate(0)
    await untilQuiet(sim, () => storedSequences(database.url))
  }, 120_000)

  afterAll(() => fleet.end())

  test('after kill -9 of one the other has resumed within the TTL and 2 s', () => {
    expect(killMs).toBeLessThan(TTL_MS + 2000)
  })

  test('in a rolling restart no shard is away for 2 s', () => {
    expect(rollingAbsenceMs).toBeLessThan(2000)
  })

  test('join, kill -9 and rolling restart cost no identify', () => {
    const shards = fleet.sim.ledger.identifies.map(({ shard }) => shard)
    expect(shards.sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5])
  })

  test('nothing is lost', async () => {
    expect(gapLines(...fleet.run.gateways)).toEqual([])
    expect(await queueFindings(fleet.run)).toBe('')
    expect(await stateFindings(fleet.run)).toBe('')
  })
})

describe.concurrent('a worker that is frozen for two TTLs while another takes its shards', () => {
  let fleet: Fleet
  let frozen: Program
  let identifiesBefore = 0

  beforeAll(async () => {
    fleet = await startFleet(52)
    const { sim, database } = fleet
    frozen = fleet.start('a')
    await untilAllRead(sim)
    fleet.start('b')
    await untilShares(database.url, { 'gateway-a': 3, 'gateway-b': 3 })
    await untilAllRead(sim)
    sim.setRate(100)
    await untilEvents(sim, 100)
    identifiesBefore = sim.ledger.identifies.length
    frozen.kill('SIGSTOP')
    await untilShares(database.url, { 'gateway-b': 6 })
    await new Promise((resolve) => setTimeout(resolve, TTL_MS))
    frozen.kill('SIGCONT')
    // It notices, and gets its share again.
    await untilShares(database.url, { 'gateway-a': 3, 'gateway-b': 3 })
    await untilAllRead(sim)
    sim.setRate(0)
    await untilQuiet(sim, () => storedSequences(database.url))
  }, 120_000)

  afterAll(() => fleet.end())

  test('costs no identify', () => {
    expect(fleet.sim.ledger.identifies.length).toBe(identifiesBefore)
  })

  test('writes nothing that the owner has written, and loses nothing', async () => {
    expect(gapLines(...fleet.run.gateways)).toEqual([])
    expect(await queueFindings(fleet.run)).toBe('')
    expect(await stateFindings(fleet.run)).toBe('')
  })
})
