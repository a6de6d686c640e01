/**
 * Hostile clients on the listener of `state`: connections that say nothing, requests that never end, giant headers and
 * bodies, what is no HTTP. Those who ask are answered all the while, memory stays within bounds, nobody gets what is not theirs.
 */
import { Agent, get } from 'node:http'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { memoryCounters, Secret, silentLog, systemClock } from '../../src/base/index.ts'
import { migrate, openDatabase } from '../../src/cache/index.ts'
import { Attacker, badHttp2, HOSTILE_CONNECTIONS, residentMib } from '../support/hostile.ts'
import { freshDatabase, type FreshDatabase } from '../support/postgres.ts'
import { Program } from '../support/program.ts'
import { until } from '../support/until.ts'

const GUILD = '197038439483310086'
const READ = { authorization: 'Bearer read' }
const WINDOW_MS = 1000
const GROWN_MIB_MAX = 200

let database: FreshDatabase
let state: Program
let url: string
let port: number
const attacker = new Attacker()

beforeAll(async () => {
  database = await freshDatabase()
  const db = await openDatabase(
    { url: new Secret(database.url), name: 'test' },
    { clock: systemClock, random: Math.random, log: silentLog, counters: memoryCounters() },
  )
  await migrate(db, { log: silentLog })
  await db.query('insert into guilds (id, data) values ($1, $2)', [GUILD, `{"id":"${GUILD}"}`])
  await db.close()
  state = new Program(
    'cmd/state/main.ts',
    ['-prod', '-addr=127.0.0.1:0', `-psql=${database.url}`],
    { GATEWAY_READ_TOKEN: 'read', GATEWAY_WRITE_TOKEN: 'write' },
  )
  url = new URL(String((await state.line('serving State'))['url'])).origin
  port = Number(new URL(url).port)
})

afterAll(async () => {
  attacker.close()
  state.kill('SIGKILL')
  await state.exited
  await database.drop()
})

/** One request, on a connection of its own if there is no agent. */
function ask(agent: Agent | false): Promise<number> {
  return new Promise((resolve, reject) => {
    get(`${url}/v1/events/guilds/${GUILD}`, { agent, headers: READ }, (response) => {
      response.resume()
      response.once('end', () => resolve(response.statusCode ?? 0))
    }).once('error', reject)
  })
}

interface Served {
  readonly rate: number
  readonly p99Ms: number
}

function said({ rate, p99Ms }: Served): string {
  return `${rate.toFixed(0)} requests/s with p99 ${p99Ms.toFixed(1)} ms`
}

/** One after the other, half of them on new connections, until the time is over and `during` has ended. */
async function served(during: Promise<unknown>): Promise<Served> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const times: number[] = []
  let isOver = false
  void during.finally(() => (isOver = true))
  const startedAt = performance.now()
  while (!isOver || performance.now() - startedAt < WINDOW_MS) {
    const askedAt = performance.now()
    expect(await ask(times.length % 2 === 0 ? agent : false)).toBe(200)
    times.push(performance.now() - askedAt)
  }
  agent.destroy()
  const rate = (times.length * 1000) / (performance.now() - startedAt)
  times.sort((a, b) => a - b)
  return { rate, p99Ms: times[Math.floor(times.length * 0.99)]! }
}

test('who asks is served among the hostile ones, who are cut off in time and cost bounded memory', async () => {
  const quiet = await served(Promise.resolve())
  const memoryMib = residentMib(state.pid)
  const giant = `POST /v1/events/guilds/${GUILD} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer write\r\nContent-Type: application/json\r\nContent-Length: 4000000000\r\n\r\n${'x'.repeat(200_000)}`
  const attack = async (): Promise<void> => {
    const all: Promise<unknown>[] = []
    for (let n = 0; n < HOSTILE_CONNECTIONS; n++) {
      // Nothing at all, a request head without end, one whose body never comes, a preface that breaks off.
      const bytes = [
        '',
        'GET /v1/events/guilds HTTP/1.1\r\nHost: a\r\nX-Slow: ',
        'POST /v1/events/guilds HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n',
        'PRI * HT',
      ][n % 4]!
      all.push(attacker.connect(port, bytes))
    }
    for (let n = 0; n < 5; n++) {
      all.push(attacker.answerTo(port, giant))
      for (const bytes of badHttp2()) all.push(attacker.answerTo(port, bytes))
    }
    await Promise.all(all)
  }
  const attacked = await served(attack())
  const beset = await served(Promise.resolve())
  const grownMib = residentMib(state.pid) - memoryMib
  console.log(
    `state, ${HOSTILE_CONNECTIONS} connections: ${said(quiet)} before, ${said(attacked)} while they come, ${said(beset)} while they are there, ${grownMib.toFixed(0)} MiB more`,
  )
  expect(grownMib).toBeLessThan(GROWN_MIB_MAX)
  // Half of its requests came on new connections: they get in.
  expect(beset.rate).toBeGreaterThan(quiet.rate / 4)
  expect(beset.p99Ms).toBeLessThan(Math.max(250, quiet.p99Ms * 10))
  // Slow heads have 10 s, whatever they go on sending.
  await until(() => attacker.open <= HOSTILE_CONNECTIONS / 4, {
    what: 'the end of those that send no request head',
    timeoutMs: 20_000,
  })
  expect(state.isRunning).toBe(true)
  expect(state.logLines().filter(({ level }) => level === 'error')).toEqual([])
}, 60_000)

test.each([
  ['a head beyond 64 KiB', `GET / HTTP/1.1\r\nHost: a\r\nX: ${'y'.repeat(100_000)}\r\n\r\n`, 431],
  ['no HTTP', 'HELO mail.example\r\n\r\n', 400],
  ['a header with a NUL', 'GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n', 400],
  [
    'two lengths',
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: a\r\n\r\n',
    400,
  ],
  ['a length below zero', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n', 400],
])('%s is refused', async (_what, bytes, status) => {
  const answer = await attacker.answerTo(port, bytes)
  expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
  expect(answer).not.toContain('process_cpu')
})

test('without the right token, or by tricks with the path, nobody reads or writes', async () => {
  for (const authorization of [
    '',
    'Bearer',
    'Bearer reae',
    `Bearer ${'r'.repeat(30_000)}`,
    'Basic read',
  ]) {
    const response = await fetch(`${url}/v1/events/guilds/${GUILD}`, { headers: { authorization } })
    expect(response.status, authorization.slice(0, 20)).toBe(401)
  }
  for (const path of [
    `/v1/events/../events/guilds/${GUILD}`,
    `//v1/events/guilds/${GUILD}`,
    `/v1/events/guilds/%2e%2e/guilds/${GUILD}`,
    '/v1/events/guilds/%00',
    '/../../package.json',
  ]) {
    const answer = await attacker.answerTo(
      port,
      `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
    )
    expect(answer, path).toMatch(/^HTTP\/1\.1 4\d\d /)
    expect(answer, path).not.toMatch(/"dependencies"|"id"/)
  }
})
