/**
 * Hostile clients on every listener of a running gateway: slow headers, half-open and idle connections, giant bodies, bad HTTP/2
 * frames, tricks with paths, wrong tokens. The data path does not notice, and nobody gets what is not theirs.
 */
import { connect, type Socket } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startSim, type Sim } from '../../sim/index.ts'
import { freshDatabase, type FreshDatabase } from '../support/postgres.ts'
import { Program } from '../support/program.ts'
import { sharedRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'

const IDLE_CONNECTIONS = 400
const WINDOW_MS = 2000

let sim: Sim
let database: FreshDatabase
let gateway: Program
let url: string
let ports: { readonly http: number; readonly grpc: number }
const sockets: Socket[] = []

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
  for (const socket of sockets) socket.destroy()
  gateway.kill('SIGKILL')
  await gateway.exited
  await Promise.all([sim.stop(), database.drop()])
})

function open(port: number, bytes: string | Buffer = ''): Promise<Socket> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    sockets.push(socket)
    socket.on('error', () => resolve(socket))
    socket.once('connect', () => {
      if (bytes.length > 0) socket.write(bytes)
      resolve(socket)
    })
  })
}

/** What comes back until the other side closes, at most for a while. */
function answerTo(port: number, bytes: string | Buffer): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
    sockets.push(socket)
    let text = ''
    const timer = setTimeout(() => socket.destroy(), 1500)
    socket.on('data', (data) => (text += data.toString('latin1')))
    socket.on('error', () => undefined)
    socket.once('close', () => {
      clearTimeout(timer)
      resolve(text)
    })
  })
}

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
  const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
  const frame = (length: number, type: number): Buffer =>
    Buffer.concat([
      Buffer.from([length >> 16, (length >> 8) & 255, length & 255, type, 0, 0, 0, 0, 1]),
      Buffer.alloc(Math.min(length, 20_000), 0xff),
    ])
  const attacked = await measure(async () => {
    const { http, grpc } = ports
    const all: Promise<unknown>[] = []
    for (const port of [http, grpc]) {
      for (let n = 0; n < IDLE_CONNECTIONS / 2; n++) all.push(open(port))
      for (let n = 0; n < 30; n++)
        all.push(open(port, 'GET /metrics HTTP/1.1\r\nHost: a\r\nX-Slow: '))
      for (let n = 0; n < 30; n++) all.push(open(port, 'PRI * HT'))
      // Frames beyond the settings, of no type, before any SETTINGS; headers that are none.
      for (const bytes of [frame(0xffffff, 0), frame(100, 0xee), frame(64, 1), frame(20_000, 4)]) {
        for (let n = 0; n < 5; n++) all.push(answerTo(port, Buffer.concat([preface, bytes])))
      }
    }
    const giant = `POST /dashboard/actions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 4000000000\r\n\r\n${'x'.repeat(200_000)}`
    for (let n = 0; n < 5; n++) all.push(answerTo(http, giant))
    await Promise.all(all)
  })
  // Half, on a machine that does other things as well: a data path that waits for them would stand still.
  expect(attacked.rate).toBeGreaterThan(quiet.rate / 2)
  expect(attacked.flushMs).toBeLessThan(Math.max(100, quiet.flushMs * 20))
  expect((await fetch(`${url}/healthz`)).status).toBe(200)
  expect(gateway.isRunning).toBe(true)
  const lines = gateway.logLines().filter(({ level }) => level === 'error')
  expect(lines).toEqual([])
  expect(sim.ledger.resumes).toEqual([])
}, 40_000)

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
    const answer = await answerTo(
      ports.http,
      `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
    )
    expect(answer, path).toMatch(/^HTTP\/1\.1 4\d\d /)
    expect(answer, path).not.toMatch(/"dependencies"|root:/)
  }
})

test('a header without end is cut off, and what may not be sent is refused', async () => {
  const long = await answerTo(
    ports.http,
    `GET / HTTP/1.1\r\nHost: a\r\nX: ${'y'.repeat(100_000)}\r\n\r\n`,
  )
  expect(long).toMatch(/^HTTP\/1\.1 431 /)
  const smuggled = await answerTo(
    ports.http,
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: a\r\n\r\n',
  )
  expect(smuggled).toMatch(/^HTTP\/1\.1 400 /)
  expect(smuggled).not.toContain('gateway_shards')
})
