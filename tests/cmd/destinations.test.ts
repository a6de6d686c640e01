import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { startSim, type Sim } from '../../sim/index.ts'
import { freshDatabase } from '../support/postgres.ts'
import { Program } from '../support/program.ts'
import { startRedis, type TestServer } from '../support/servers.ts'
import { until } from '../support/until.ts'

let folder: string
let sim: Sim
let database: Awaited<ReturnType<typeof freshDatabase>>
let servers: TestServer[]
let admins: Redis[]
let programs: Program[]

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'gateway-many-'))
  sim = await startSim({ shards: 1, guilds: 4, rate: 200, seed: 5 })
  servers = await Promise.all([startRedis(), startRedis()])
  admins = servers.map((server) => new Redis(server.url, { maxRetriesPerRequest: null }))
  for (const admin of admins) admin.on('error', () => undefined)
  database = await freshDatabase()
  programs = []
})

afterEach(async () => {
  for (const program of programs) program.kill('SIGKILL')
  await Promise.all(programs.map((program) => program.exited))
  for (const admin of admins) admin.disconnect()
  await Promise.all(servers.map((server) => server.stop()))
  await sim.stop()
  await database.drop()
  rmSync(folder, { recursive: true, force: true })
})

function gateway(argv: string[], env: Record<string, string> = {}): Program {
  const program = new Program(
    'cmd/gateway/main.ts',
    [
      '-prod',
      '-addr=none',
      '-http=none',
      `-psql=${database.url}`,
      `-discord-api=${sim.apiUrl}`,
    ].concat(argv),
    { DISCORD_TOKEN: sim.token, ...env },
  )
  programs.push(program)
  return program
}

/** Names of the events in the lists of a Redis, and how many there are of each. */
async function lists(admin: Redis, prefix = 'gateway:events:'): Promise<Map<string, number>> {
  const found = new Map<string, number>()
  for (const key of await admin.keys(`${prefix}*`)) {
    found.set(key.slice(prefix.length), await admin.llen(key))
  }
  return found
}

const NOWHERE = '127.0.0.1:1'

test('MULTI_REDIS: own whitelists, and a dead address stops neither the start nor the others', async () => {
  const [one, two] = servers
  const program = gateway([], {
    WHITELIST_EVENTS: 'MESSAGE_CREATE,GUILD_MEMBER_ADD',
    MULTI_REDIS: JSON.stringify({ [NOWHERE]: [], [one!.url]: ['MESSAGE_CREATE'], [two!.url]: [] }),
  })
  await program.line('started')
  await until(async () => (await lists(admins[0]!)).has('MESSAGE_CREATE'))
  await until(async () => (await lists(admins[1]!)).size === 2)
  expect([...(await lists(admins[0]!)).keys()]).toEqual(['MESSAGE_CREATE'])
  // The dead one holds the end up for as long as a stop may take, and what it lacks is said.
  program.kill('SIGTERM')
  expect((await program.exited).code).toBe(0)
  const atStop = program.output.split('\n').find((line) => line.includes('"undelivered"'))
  expect(atStop).toContain(NOWHERE)
  // What the live ones got is the same to the last event.
  const counts = await Promise.all(
    admins.map(async (admin) => (await lists(admin)).get('MESSAGE_CREATE')),
  )
  expect(counts[0]).toBe(counts[1])
}, 60_000)

test('-destinations: each with its filter and form; one that comes up late gets what was kept', async () => {
  const [one, two] = servers
  await two!.shutDown()
  const file = join(folder, 'destinations.yaml')
  writeFileSync(
    file,
    `destinations:
  - {name: bots, kind: redis-list, address: "${one!.url}", required: true, encoding: json}
  - name: audit
    kind: redis-list
    address: "${two!.url}"
    prefix: "audit:"
    payload: envelope
    encoding: json
    events: [MESSAGE_CREATE]
  - {name: watchers, kind: grpc-subscribe}
  - {name: history, kind: redis-stream, address: "${one!.url}", events: [MESSAGE_CREATE]}
  - {name: out, kind: stdout, events: [MESSAGE_CREATE]}
`,
  )
  const program = gateway([`-destinations=${file}`])
  await program.line('started')
  await until(async () => ((await lists(admins[0]!)).get('MESSAGE_CREATE') ?? 0) >= 20)
  await two!.start()
  await until(async () => ((await lists(admins[1]!, 'audit:')).get('MESSAGE_CREATE') ?? 0) >= 20)
  const text = readFileSync(file, 'utf8')
  writeFileSync(file, text.replace('kind: stdout', 'knd: stdout'))
  program.kill('SIGHUP')
  const refused = await program.line(
    'destinations: the file is refused, the old one stays in force',
  )
  expect(refused['error']).toMatch(/destinations\.yaml:\d+:\d+: .*`kind`/)
  const late = `  - {name: late, kind: redis-list, address: "${one!.url}", prefix: "late:"}\n`
  writeFileSync(file, text + late)
  program.kill('SIGHUP')
  await until(async () => (await lists(admins[0]!, 'late:')).size > 0)
  sim.setRate(0)
  program.kill('SIGTERM')
  expect((await program.exited).code).toBe(0)
  const [bare] = await admins[0]!.lrange('gateway:events:MESSAGE_CREATE', 0, 0)
  const [enveloped] = await admins[1]!.lrange('audit:MESSAGE_CREATE', 0, 0)
  expect(JSON.parse(enveloped!)).toMatchObject({
    t: 'MESSAGE_CREATE',
    d: JSON.parse(bare!) as object,
  })
  expect([...(await lists(admins[1]!, 'audit:')).keys()]).toEqual(['MESSAGE_CREATE'])
  expect((await lists(admins[1]!, 'audit:')).get('MESSAGE_CREATE')).toBe(
    (await lists(admins[0]!)).get('MESSAGE_CREATE'),
  )
  const lines = program.logLines().filter(({ t }) => t === 'MESSAGE_CREATE')
  expect(lines.length).toBe(await admins[0]!.xlen('gateway:stream:all'))
  expect(lines[0]).toMatchObject({ op: 0, d: JSON.parse(bare!) as object })
}, 60_000)

test('a required one of several that cannot be reached ends the start with its name', async () => {
  const file = join(folder, 'destinations.json')
  const dead = { name: 'bots', kind: 'redis-list', address: servers[0]!.url, required: true }
  const other = { name: 'audit', kind: 'redis-list', address: servers[1]!.url }
  // Refused logins are not waited for.
  await admins[0]!.config('SET', 'requirepass', 'secret')
  writeFileSync(file, JSON.stringify({ destinations: [dead, other] }))
  const program = gateway([`-destinations=${file}`])
  expect((await program.exited).code).toBe(1)
  expect(program.output).toContain('[PUSH_REFUSED]')
}, 60_000)
