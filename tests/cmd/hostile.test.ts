/**
 * Hostile clients on every listener of a running gateway: slow headers, half-open and idle connections, giant bodies, bad HTTP/2
 * frames, tricks with paths, wrong tokens. The data path does not notice, and nobody gets what is not theirs.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startSim, type Sim } from '../../sim/index.ts'
import { Attacker, badHttp2, HOSTILE_CONNECTIONS, residentMib } from '../support/hostile.ts'
import { freshDatabase, type FreshDatabase } from '../support/postgres.ts'
import { Program } from '../support/program.ts'
import { sharedRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'

const WINDOW_MS = 2000
/** What the limits of both listeners may come to: connections, and the largest bodies under way. */
const GROWN_MIB_MAX = 200

let sim: Sim
let database: FreshDatabase
let gateway: Program
let url: string
let ports: { readonly http: number; readonly grpc: number }
const attacker = new Attacker()

beforeAll(async () => {
  ;[sim, database] = await Promise.all([
    startSim({ shards: 2, guilds: 6, maxConcurrency: 2, rate: 200 }),
    freshDatabase(),
  ])
  const redis = sharedRedis()
  gateway = new Program(
    'cmd/gateway/main.ts',
    [
      '-prod',
      '-addr=127.0.0.1:0',
      '-http=127.0.0.1:0',
      `-psql=${database.url}`,
      `-redis=${redis.url}`,
      `-redis-prefix=${redis.prefix}`,
      `-discord-api=${sim.apiUrl}`,
    ],
    { DISCORD_TOKEN: sim.token, GATEWAY_ADMIN_TOKEN: 'right' },
  )
  url = String((await gateway.line('serving HTTP'))['url'])
  const grpc = String((await gateway.line('serving gRPC'))['address'])
  ports = { http: Number(new URL(url).port), grpc: Number(grpc.split(':').at(-1)) }
  await until(async () => (await fetch(`${url}/readyz`)).ok, {
    what: 'readiness',
    timeoutMs: 20_000,
  })
})

afterAll(async () => {
  attacker.close()
  gateway.kill('SIGKILL')
  await gateway.exited
  await Promise.all([sim.stop(), database.drop()])
})

async function delivered(): Promise<{ events: number; flushes: number; seconds: number }> {
  const text = await (await fetch(`${url}/metrics`)).text()
  const value = (name: string): number =>
    Number(new RegExp(`^${name}\\S* (\\S+)$`, 'm').exec(text)?.[1])
  return {
    events: value('gateway_push_delivered_events_total'),
    flushes: value('gateway_push_flush_seconds_count'),
    seconds: value('gateway_push_flush_seconds_sum'),
  }
}

/** Delivered events per second and mean flush time over a window. */
async function measure(during: () => Promise<void>): Promise<{ rate: number; flushMs: number }> {
  const startedAt = performance.now()
  const before = await delivered()
  await during()
  await until(() => performance.now() - startedAt >= WINDOW_MS, { what: 'the window' })
  const after = await delivered()
  const seconds = (performance.now() - startedAt) / 1000
  return {
    rate: (after.events - before.events) / seconds,
    flushMs:
      ((after.seconds - before.seconds) * 1000) / Math.max(1, after.flushes - before.flushes),
  }
}

test('the data path does not notice, and every listener answers afterwards', async () => {
  const quiet = await measure(() => Promise.resolve())
  const memoryMib = residentMib(gateway.pid)
  const attacked = await measure(async () => {
    const { http, grpc } = ports
    const all: Promise<unknown>[] = []
    for (const port of [http, grpc]) {
      for (let n = 0; n < HOSTILE_CONNECTIONS / 2; n++) all.push(attacker.connect(port))
      for (let n = 0; n < 30; n++) {
        all.push(attacker.connect(port, 'GET /metrics HTTP/1.1\r\nHost: a\r\nX-Slow: '))
      }
      for (let n = 0; n < 30; n++) all.push(attacker.connect(port, 'PRI * HT'))
      for (const bytes of badHttp2()) {
        for (let n = 0; n < 5; n++) all.push(attacker.answerTo(port, bytes))
      }
    }
    const giant = `POST /dashboard/actions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 4000000000\r\n\r\n${'x'.repeat(200_000)}`
    for (let n = 0; n < 5; n++) all.push(attacker.answerTo(http, giant))
    await Promise.all(all)
  })
  // Half, on a machine that does other things as well: a data path that waits for them would stand still.
  expect(attacked.rate).toBeGreaterThan(quiet.rate / 2)
  expect(attacked.flushMs).toBeLessThan(Math.max(100, quiet.flushMs * 20))
  expect((await fetch(`${url}/healthz`)).status).toBe(200)
  expect(gateway.isRunning).toBe(true)
  const grownMib = residentMib(gateway.pid) - memoryMib
  console.log(
    `gateway, ${HOSTILE_CONNECTIONS} connections: ${quiet.rate.toFixed(0)} → ${attacked.rate.toFixed(0)} events/s, flush ${quiet.flushMs.toFixed(1)} → ${attacked.flushMs.toFixed(1)} ms, ${grownMib.toFixed(0)} MiB more`,
  )
  expect(grownMib).toBeLessThan(GROWN_MIB_MAX)
  const lines = gateway.logLines().filter(({ level }) => level === 'error')
  expect(lines).toEqual([])
  expect(sim.ledger.resumes).toEqual([])
}, 40_000)

test('of those that send no request 1,024 stay on each listener, and a new client gets in', async () => {
  for (const port of [ports.http, ports.grpc]) {
    const crowd = new Attacker()
    // In waves that the kernel's queue of a listener holds: beyond it a client believes it is connected and is not.
    for (let wave = 0; wave < 13; wave++) {
      await Promise.all(Array.from({ length: 100 }, () => crowd.connect(port)))
    }
    await until(() => crowd.open <= 1024, { what: `room on port ${port}` })
    const client = new Program('cmd/gatewayctl/main.ts', [
      'status',
      `-addr=127.0.0.1:${ports.grpc}`,
    ])
    expect((await client.exited).code, client.output).toBe(0)
    expect((await fetch(`${url}/healthz`)).status).toBe(200)
    crowd.close()
  }
})

test('no path leads out of what is served', async () => {
  const tricks = [
    '/../../package.json',
    '/dashboard/../../package.json',
    '/dashboard/%2e%2e/%2e%2e/package.json',
    '/dashboard/..%2f..%2fpackage.json',
    '/dashboard/....//package.json',
    '/%00',
    '/metrics%00.html',
    '//etc/passwd',
    '/dashboard\\..\\..\\package.json',
  ]
  for (const path of tricks) {
    const answer = await attacker.answerTo(
      ports.http,
      `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
    )
    expect(answer, path).toMatch(/^HTTP\/1\.1 4\d\d /)
    expect(answer, path).not.toMatch(/"dependencies"|root:/)
  }
})

test('a header without end is cut off, and what may not be sent is refused', async () => {
  const long = await attacker.answerTo(
    ports.http,
    `GET / HTTP/1.1\r\nHost: a\r\nX: ${'y'.repeat(100_000)}\r\n\r\n`,
  )
  expect(long).toMatch(/^HTTP\/1\.1 431 /)
  const smuggled = await attacker.answerTo(
    ports.http,
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: a\r\n\r\n',
  )
  expect(smuggled).toMatch(/^HTTP\/1\.1 400 /)
  expect(smuggled).not.toContain('gateway_shards')
})
