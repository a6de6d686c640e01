/** /healthz and /readyz: what each of them looks at, and as an operator asks a running gateway. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { GatewayHealth, type GatewayHealthDeps } from '../../cmd/gateway/health.ts'
import type { ShardStatus } from '../../src/shard/index.ts'
import { startSim, type Sim } from '../../sim/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { freshDatabase, type FreshDatabase } from '../support/postgres.ts'
import { Program } from '../support/program.ts'
import { startRedis, type TestServer } from '../support/servers.ts'
import { until } from '../support/until.ts'

function shard(shardId: number, fields: Partial<ShardStatus> = {}): ShardStatus {
  return {
    shardId,
    fence: { epoch: 1, revision: 1 },
    state: 'ready',
    sessionId: 'a',
    received: 5,
    acknowledged: 5,
    heartbeatIntervalMs: 40_000,
    heartbeatRttMs: 30,
    lastFrameAgeMs: 100,
    events: 5,
    connections: 1,
    identifies: 1,
    resumes: 0,
    resumed: 0,
    resumesLost: 0,
    replayed: 0,
    reconnects: new Map(),
    badFrames: 0,
    ...fields,
  }
}

function healthOf(shards: readonly ShardStatus[], deps: Partial<GatewayHealthDeps> = {}) {
  const clock = new FakeClock()
  const health = new GatewayHealth({
    clock,
    shards: () => shards,
    destinations: () => [],
    stats: () => [],
    askDatabase: () => Promise.resolve([]),
    guildsAwaited: () => 0,
    isInFleet: false,
    ...deps,
  })
  return { clock, health }
}

describe('/healthz', () => {
  test('holds while every shard hears an ACK per interval, however idle its guilds are', () => {
    const { health } = healthOf([shard(0, { lastFrameAgeMs: 79_000 })])
    expect(health.live()['shards']).toMatchObject({ isOk: true })
  })

  test('names a shard that hears nothing beyond its heartbeat', () => {
    const { health } = healthOf([shard(0), shard(7, { lastFrameAgeMs: 96_000 })])
    expect(health.live()['shards']).toMatchObject({ isOk: false, details: { silent: [7] } })
  })

  test('does not mind shards that wait: for a permit, for room, for Discord', () => {
    const lastFrameAgeMs = 3_600_000
    const { health } = healthOf([
      shard(0, { state: 'queued', lastFrameAgeMs }),
      shard(1, { state: 'parked', lastFrameAgeMs }),
      shard(2, { state: 'waiting', lastFrameAgeMs }),
    ])
    expect(health.live()['shards']).toMatchObject({ isOk: true })
  })

  test('tells of a loop that stood still for 15 s, and forgets it after 10 s', async () => {
    const { clock, health } = healthOf([])
    expect(health.live()['loop']).toMatchObject({ isOk: true })
    clock.stall(20_000)
    expect(health.live()['loop']).toMatchObject({ isOk: false })
    await clock.advance(0)
    expect(health.live()['loop']).toMatchObject({ isOk: false })
    await clock.advance(11_000)
    expect(health.live()['loop']).toMatchObject({ isOk: true })
  })
})

describe('/readyz', () => {
  test('asks for nine of ten shards', async () => {
    const shards = Array.from({ length: 10 }, (_, id) => shard(id))
    shards[0] = shard(0, { state: 'resuming' })
    expect((await healthOf(shards).health.ready())['shards']).toMatchObject({ isOk: true })
    shards[1] = shard(1, { state: 'queued' })
    expect((await healthOf(shards).health.ready())['shards']).toMatchObject({ isOk: false })
  })

  test('a worker of a fleet is ready without shards, a process that should hold all is not', async () => {
    expect((await healthOf([], { isInFleet: true }).health.ready())['shards']?.isOk).toBe(true)
    expect((await healthOf([]).health.ready())['shards']?.isOk).toBe(false)
  })

  test('says that the database fails, or does not answer in 2 s', async () => {
    const failing = healthOf([], { askDatabase: () => Promise.reject(new Error('gone')) })
    expect((await failing.health.ready())['database']?.isOk).toBe(false)
    const hanging = healthOf([], { askDatabase: () => new Promise(() => undefined) })
    const answer = hanging.health.ready()
    await hanging.clock.advance(2000)
    expect((await answer)['database']?.isOk).toBe(false)
  })

  test('waits for the guilds that READY announced', async () => {
    const ready = await healthOf([], { guildsAwaited: () => 3 }).health.ready()
    expect(ready['guilds']).toMatchObject({ isOk: false, details: { awaited: 3 } })
  })
})

describe('a running gateway', () => {
  let sim: Sim
  let redis: TestServer
  let database: FreshDatabase
  let gateway: Program
  let url: string

  beforeAll(async () => {
    ;[sim, redis, database] = await Promise.all([
      startSim({ shards: 2, guilds: 6, maxConcurrency: 2 }),
      startRedis(),
      freshDatabase(),
    ])
    gateway = new Program(
      'cmd/gateway/main.ts',
      [
        '-prod',
        '-addr=none',
        '-http=127.0.0.1:0',
        '-shard-metrics',
        `-psql=${database.url}`,
        `-redis=${redis.url}`,
        `-discord-api=${sim.apiUrl}`,
      ],
      { DISCORD_TOKEN: sim.token },
    )
    url = String((await gateway.line('serving HTTP'))['url'])
  })

  afterAll(async () => {
    gateway.kill('SIGKILL')
    await gateway.exited
    await Promise.all([sim.stop(), redis.stop(), database.drop()])
  })

  const ask = async (path: string) => {
    const answer = await fetch(`${url}${path}`)
    return {
      code: answer.status,
      body: (await answer.json()) as {
        status: string
        checks: Record<string, { ok: boolean; reason: string }>
      },
    }
  }

  test('becomes ready when its shards are and their guilds have come', async () => {
    await until(async () => (await ask('/readyz')).code === 200, { what: 'readiness' })
    const { body } = await ask('/readyz')
    expect(body).toMatchObject({
      status: 'ok',
      checks: {
        shards: { ok: true, held: 2, ready: 2 },
        destinations: { ok: true },
        database: { ok: true },
        guilds: { ok: true, awaited: 0 },
      },
    })
    expect((await ask('/healthz')).body).toMatchObject({ status: 'ok' })
  })

  test('counts bytes, flushes, batches and each shard on /metrics', async () => {
    sim.step(200)
    const page = async (): Promise<string> => (await fetch(`${url}/metrics`)).text()
    const value = (text: string, series: string): number =>
      Number(
        text
          .split('\n')
          .find((line) => line.startsWith(`${series} `))
          ?.split(' ')[1],
      )
    await until(async () => value(await page(), 'gateway_unacknowledged_events') === 0, {
      what: 'everything acknowledged',
    })
    const text = await page()
    const compressed = value(text, 'gateway_received_bytes_total{form="compressed"}')
    expect(compressed).toBeGreaterThan(0)
    expect(value(text, 'gateway_received_bytes_total{form="inflated"}')).toBeGreaterThan(compressed)
    expect(text).toMatch(/gateway_push_flush_seconds_count\{destination="redis"\} [1-9]/)
    expect(text).toMatch(/gateway_cache_batch_rows_count [1-9]/)
    expect(text).toMatch(/gateway_cache_commit_seconds_count [1-9]/)
    expect(text).toContain('gateway_push_lag_seconds{destination="redis"} 0')
    expect(text).toContain('gateway_shard_state{shard="1",state="ready"} 1')
    expect(text).toMatch(/gateway_shard_received_sequence\{shard="0"\} [1-9]/)
    expect(text).toMatch(/gateway_build_info\{version="[^"]+",node="[^"]+"\} 1/)
    expect(text).toContain('nodejs_eventloop_lag_seconds')
  })

  test('counts a reconnect by its cause, and the resume that it won', async () => {
    sim.fault({ kind: 'close', shard: 1, code: 4000 })
    await until(
      async () => {
        const text = await (await fetch(`${url}/metrics`)).text()
        return (
          text.includes('gateway_shard_reconnects_total{shard="1",cause="closed"} 1') &&
          text.includes('gateway_reconnects_total{cause="closed"} 1') &&
          text.includes('gateway_shard_resumes_total{shard="1",outcome="resumed"} 1')
        )
      },
      { what: 'the reconnect' },
    )
  })

  test('rows that the database has already are counted as unchanged', async () => {
    const count = async (): Promise<number> => {
      const text = await (await fetch(`${url}/metrics`)).text()
      return Number(/gateway_cache_rows_unchanged_total (\d+)/.exec(text)?.[1] ?? 0)
    }
    const before = await count()
    // Op 9 without resume: READY and every GUILD_CREATE again, with the same objects.
    sim.fault({ kind: 'invalid-session', shard: 0, resumable: false })
    await until(async () => (await count()) > before, { what: 'unchanged rows', timeoutMs: 20_000 })
  })

  test('is not ready, and still alive, while Redis is away', async () => {
    await redis.stop()
    await until(async () => (await ask('/readyz')).code === 503, { what: 'unreadiness' })
    const { body } = await ask('/readyz')
    expect(body.status).toBe('not ok')
    expect(body.checks['destinations']).toMatchObject({ ok: false, away: ['redis'] })
    expect(body.checks['database']).toMatchObject({ ok: true })
    expect((await ask('/healthz')).code).toBe(200)
  })
})
