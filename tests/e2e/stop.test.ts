import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Sim } from '../../sim/index.ts'
import type { Program } from '../support/program.ts'
import { startPostgres, startRedis, type TestServer } from '../support/servers.ts'
import {
  gapLines,
  startDiscord,
  startGateway,
  storedSequences,
  untilEvents,
  untilQuiet,
  untilReady,
} from './run.ts'
import { identifyFindings, queueFindings, type Run, stateFindings } from './whole.ts'

const SHARDS = 2
const PREFIX = 'gateway:events:'
const STOP_MS_MAX = 10_500
/** Nothing is read yet, so nothing is to be drained. */
const EARLY_STOP_MS_MAX = 5000

interface Servers {
  readonly postgres: TestServer
  readonly redis: TestServer
}

interface Outage {
  readonly name: string
  begin(servers: Servers): Promise<void>
  end(servers: Servers): Promise<void>
}

const OUTAGES: readonly Outage[] = [
  {
    name: 'Postgres frozen',
    begin: async ({ postgres }) => postgres.freeze(),
    end: async ({ postgres }) => postgres.thaw(),
  },
  {
    name: 'Redis frozen',
    begin: async ({ redis }) => redis.freeze(),
    end: async ({ redis }) => redis.thaw(),
  },
  {
    name: 'Postgres killed with -9',
    begin: ({ postgres }) => postgres.kill(),
    end: ({ postgres }) => postgres.start(),
  },
]

async function startServers(): Promise<Servers> {
  const [postgres, redis] = await Promise.all([startPostgres(), startRedis({ appendonly: true })])
  return { postgres, redis }
}

async function stopServers(servers: Servers): Promise<void> {
  for (const server of [servers.postgres, servers.redis]) server.thaw()
  await Promise.all([servers.postgres.stop(), servers.redis.stop()])
}

function gatewayOf(sim: Sim, { postgres, redis }: Servers): Program {
  return startGateway(sim, [`-psql=${postgres.url}`, `-redis=${redis.url}`, '-payload=envelope'])
}

/** SIGTERM, and how long the end took. */
async function stop(gateway: Program): Promise<{ code: number | null; tookMs: number }> {
  const startedAt = performance.now()
  const { code } = await gateway.stop()
  return { code, tookMs: performance.now() - startedAt }
}

describe.concurrent.for(OUTAGES)('SIGTERM while events wait, $name', (outage) => {
  let servers: Servers
  let sim: Sim
  let run: Run
  let identifiesBefore: number
  let end: Awaited<ReturnType<typeof stop>>
  const gateways: Program[] = []

  beforeAll(async () => {
    servers = await startServers()
    sim = await startDiscord({ shards: SHARDS, guilds: 40, membersMax: 300, rate: 0, seed: 31 })
    run = {
      sim,
      gateways,
      shardCount: SHARDS,
      postgresUrl: servers.postgres.url,
      redisUrl: servers.redis.url,
      redisPrefix: PREFIX,
    }
    gateways.push(gatewayOf(sim, servers))
    await untilReady(gateways[0]!, SHARDS)
    sim.setRate(200)
    await untilEvents(sim, 200)
    await outage.begin(servers)
    await untilEvents(sim, 300)
    identifiesBefore = sim.ledger.identifies.length
    end = await stop(gateways[0]!)
    sim.setRate(0)
    await outage.end(servers)
    gateways.push(gatewayOf(sim, servers))
    await untilReady(gateways[1]!, SHARDS)
    await untilQuiet(sim, () => storedSequences(servers.postgres.url))
    expect(await gateways[1]!.stop()).toEqual({ code: 0, signal: null })
  }, 120_000)

  afterAll(async () => {
    for (const gateway of gateways) gateway.kill('SIGKILL')
    await sim.stop()
    await stopServers(servers)
  })

  test('the process ends within 10 s', () => {
    expect(end.code).toBe(0)
    expect(end.tookMs).toBeLessThan(STOP_MS_MAX)
  })

  test('its last line says what was not delivered, and where it is', () => {
    const message = gateways[0]!.logLines().at(-1)?.['msg']
    expect(message).toBe(
      outage.name === 'Redis frozen'
        ? 'stopped: what is not delivered lies on the disk for the next start'
        : 'stopped: the next start resumes behind what was delivered',
    )
  })

  test('the next start resumes and identifies nothing', () => {
    expect(sim.ledger.identifies).toHaveLength(identifiesBefore)
    expect(sim.ledger.resumes.map(({ outcome }) => outcome)).toEqual(['resumed', 'resumed'])
    expect(identifyFindings(run)).toBe('')
  })

  test('the lists and State hold everything all the same', async () => {
    expect(gapLines(...gateways)).toEqual([])
    expect(await queueFindings(run)).toBe('')
    expect(await stateFindings(run)).toBe('')
  })
})

describe('SIGTERM before the gateway has started', () => {
  let servers: Servers
  let sim: Sim
  const gateways: Program[] = []

  beforeAll(async () => {
    servers = await startServers()
    sim = await startDiscord({ shards: SHARDS, guilds: 4, rate: 0, seed: 32 })
  })

  afterAll(async () => {
    for (const gateway of gateways) gateway.kill('SIGKILL')
    await sim.stop()
    await stopServers(servers)
  })

  test.for([
    {
      name: 'it waits for Redis',
      said: 'reached Discord',
      begin: async () => servers.redis.freeze(),
      end: async () => servers.redis.thaw(),
    },
    {
      name: 'it waits for Postgres',
      said: 'database does not answer, trying again',
      begin: () => servers.postgres.kill(),
      end: () => servers.postgres.start(),
    },
  ])(
    'while $name: it ends within 5 s and has identified nothing',
    { timeout: 40_000 },
    async (wait) => {
      await wait.begin()
      try {
        const gateway = gatewayOf(sim, servers)
        gateways.push(gateway)
        await gateway.line(wait.said)
        const { code, tookMs } = await stop(gateway)
        expect(code).toBe(0)
        expect(tookMs).toBeLessThan(EARLY_STOP_MS_MAX)
        expect(gateway.logLines().map(({ msg }) => msg)).not.toContain('started')
        expect(sim.ledger.identifies).toEqual([])
      } finally {
        await wait.end()
      }
    },
  )
})
