import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import {
  memoryCounters,
  Secret,
  seededRandom,
  silentLog,
  systemClock,
} from '../../src/base/index.ts'
import { type Database, migrate, openDatabase } from '../../src/cache/index.ts'
import { type FreshDatabase, freshDatabase } from '../support/postgres.ts'
import { startPostgres } from '../support/servers.ts'
import { until } from '../support/until.ts'

const GUILD = '197038439483310086'
const running = new Set<ChildProcess>()

interface Program {
  readonly child: ChildProcess
  /** Standard output and standard error. */
  out(): string
  err(): string
  exited: Promise<number | null>
}

function run(args: readonly string[], env: Record<string, string> = {}): Program {
  const child = spawn(process.execPath, ['cmd/state/main.ts', ...args], {
    env: { PATH: process.env['PATH'] ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  running.add(child)
  let out = ''
  let err = ''
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()))
  const exited = once(child, 'close').then(([code]) => {
    running.delete(child)
    return code as number | null
  })
  return { child, out: () => out, err: () => err, exited }
}

async function serving(program: Program): Promise<string> {
  const pattern = /(http:\/\/[0-9.:]+)\/v1\/events/
  await until(() => pattern.test(program.err()) || program.child.exitCode !== null, {
    what: 'state is serving',
  })
  return pattern.exec(program.err())![1]!
}

async function open(url: string): Promise<Database> {
  return openDatabase(
    { url: new Secret(url), name: 'test' },
    { clock: systemClock, random: seededRandom(1), log: silentLog, counters: memoryCounters() },
  )
}

async function fill(url: string): Promise<void> {
  const db = await open(url)
  await migrate(db, { log: silentLog })
  await db.query('insert into guilds (id, data) values ($1, $2)', [GUILD, `{"id":"${GUILD}"}`])
  await db.close()
}

afterEach(() => {
  for (const child of running) child.kill('SIGKILL')
})

describe('state', () => {
  let database: FreshDatabase

  beforeAll(async () => {
    database = await freshDatabase()
    await fill(database.url)
    return () => database.drop()
  })

  test('-help and -version are told on standard output and exit with 0', async () => {
    const help = run(['--help'])
    const version = run(['-version'])
    expect(await help.exited).toBe(0)
    expect(help.out()).toMatch(/^state: serves the guild state .*-addr.*-psql/s)
    expect(await version.exited).toBe(0)
    expect(version.out()).toMatch(/^state \d+\.\d+\.\d+\n$/)
  })

  test.each([
    [[], 'A gateway without -psql keeps its state itself and serves it on its own -http address.'],
    [['-psql='], 'state needs -psql'],
    [['-adr', ':1'], '-adr is not a flag of this program; did you mean -addr.'],
    [['-psql'], '-psql needs a value'],
  ])('%j exits with 1 and a sentence', async (args, sentence) => {
    const program = run(args)
    expect(await program.exited).toBe(1)
    expect(program.err()).toContain(sentence)
    expect(program.err()).not.toContain('    at ')
  })

  test('an address that is taken is named, and the password is not', async () => {
    const first = run(['-psql', database.url, '-addr', '127.0.0.1:0'])
    const address = new URL(await serving(first)).host
    const url = new URL(database.url)
    url.password = 'hunter2'
    const second = run([`-psql=${url.toString()}`, `-addr=${address}`])
    expect(await second.exited).toBe(1)
    expect(second.err()).toContain(`Cannot listen on ${address}: another program listens there.`)
    expect(second.err()).not.toContain('hunter2')
  })

  test('serves what the gateway wrote, and exits with 0 on SIGTERM', async () => {
    const program = run(['-prod', '-pprof'], {
      GATEWAY_PSQL: database.url,
      GATEWAY_ADDR: '127.0.0.1:0',
    })
    const url = await serving(program)
    const response = await fetch(`${url}/v1/events/guilds/${GUILD}`)
    expect(await response.json()).toEqual({ id: GUILD })
    expect(await (await fetch(`${url}/healthz`)).text()).toMatch(/^Version: \d/)
    expect(await (await fetch(`${url}/metrics`)).text()).toContain('process_cpu_seconds_total')
    program.child.kill('SIGTERM')
    expect(await program.exited).toBe(0)
    for (const line of program.err().trim().split('\n'))
      expect(() => JSON.parse(line)).not.toThrow()
  })

  test('on a database that no gateway has used it starts, and says so in each answer', async () => {
    const empty = await freshDatabase()
    const program = run(['-psql', empty.url, '-addr', '127.0.0.1:0'])
    const url = await serving(program)
    const before = await fetch(`${url}/v1/events/guilds/${GUILD}`)
    expect([before.status, await before.text()]).toEqual([
      503,
      'The database holds no gateway tables yet: no gateway has run on it.',
    ])
    await fill(empty.url)
    expect((await fetch(`${url}/v1/events/guilds/${GUILD}`)).status).toBe(200)
    program.child.kill('SIGINT')
    expect(await program.exited).toBe(0)
    await empty.drop()
  })

  test('answers 503 while Postgres is away, and as before when it is back', async () => {
    const postgres = await startPostgres({ fsync: false })
    await fill(postgres.url)
    const program = run(['-psql', postgres.url, '-addr', '127.0.0.1:0'])
    const url = await serving(program)
    const statusOf = async (): Promise<number> =>
      (await fetch(`${url}/v1/events/guilds/${GUILD}`)).status
    expect(await statusOf()).toBe(200)
    await postgres.kill()
    expect(await statusOf()).toBe(503)
    await postgres.start()
    await until(async () => (await statusOf()) === 200, { what: 'state finds Postgres again' })
    program.child.kill('SIGTERM')
    expect(await program.exited).toBe(0)
    await postgres.stop()
  })
})
