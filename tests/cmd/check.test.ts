/** `gateway -check`, with each thing broken in turn. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { checkGateway, wantsCheck } from '../../cmd/gateway/check/check.ts'
import { type CheckRow, renderRows } from '../../cmd/gateway/check/row.ts'
import {
  memoryCounters,
  Secret,
  silentLog,
  systemClock,
  systemRandom,
} from '../../src/base/index.ts'
import { Fleet, migrate, openDatabase } from '../../src/cache/index.ts'
import { startSim } from '../../sim/index.ts'
import { queryRows } from '../e2e/run.ts'
import { type FreshDatabase, freshDatabase } from '../support/postgres.ts'
import { Program } from '../support/program.ts'
import { freePort } from '../support/server-process.ts'
import { startEtcd, startRedis, type TestServer } from '../support/servers.ts'

const BOT = '1100000000000000001'
const TOKEN = `${Buffer.from(BOT).toString('base64url')}.abc.def`
/** Presences, members and contents, as a bot in few guilds has them. */
const ALL_FLAGS = (1 << 13) | (1 << 15) | (1 << 19)

/** Discord's REST, as far as -check asks it. */
const discord = {
  status: 200,
  remaining: 990,
  flags: ALL_FLAGS as number | null,
}
const folder = mkdtempSync(join(tmpdir(), 'gateway-check-'))
let api: Server
let apiUrl: string
let redis: TestServer
let admin: Redis
let database: FreshDatabase

beforeAll(async () => {
  api = createServer((request, response) => {
    const isBot = request.url?.endsWith('/gateway/bot') === true
    const limit = {
      total: 1000,
      remaining: discord.remaining,
      reset_after: 7_200_000,
      max_concurrency: 1,
    }
    const body = isBot
      ? { url: 'wss://gateway.example', shards: 4, session_start_limit: limit }
      : { flags: discord.flags }
    response.writeHead(discord.status).end(JSON.stringify(body))
  })
  await new Promise<void>((resolve) => api.listen(0, '127.0.0.1', resolve))
  apiUrl = `http://127.0.0.1:${(api.address() as AddressInfo).port}/api`
  ;[redis, database] = await Promise.all([startRedis({ appendonly: true }), freshDatabase()])
  admin = new Redis(redis.url)
})

afterAll(async () => {
  admin.disconnect()
  api.close()
  await Promise.all([redis.stop(), database.drop()])
  rmSync(folder, { recursive: true, force: true })
})

beforeEach(() => {
  Object.assign(discord, { status: 200, remaining: 990, flags: ALL_FLAGS })
})

async function check(
  given: Readonly<Record<string, string>> = {},
  env: Readonly<Record<string, string>> = {},
): Promise<CheckRow[]> {
  const flags: Record<string, string> = {
    token: TOKEN,
    'discord-api': apiUrl,
    psql: database.url,
    redis: redis.url,
    ...given,
  }
  const argv = Object.entries(flags).map(([flag, value]) => `-${flag}=${value}`)
  return checkGateway(['-check', ...argv], env, {
    version: '0.0.0',
    clock: systemClock,
    random: systemRandom,
    timeoutMs: 400,
  })
}

/** What is not ok; each with a cure. */
async function problems(
  given: Readonly<Record<string, string>> = {},
  env: Readonly<Record<string, string>> = {},
): Promise<Record<string, string>> {
  const bad = (await check(given, env)).filter(({ state }) => state === 'not ok')
  expect(bad.every(({ cure }) => cure !== '')).toBe(true)
  return Object.fromEntries(bad.map(({ part, found }) => [part, found]))
}

/** The settings hold until the test ends. */
async function withRedis(
  settings: Readonly<Record<string, string>>,
  use: () => Promise<void>,
): Promise<void> {
  const before: [string, string][] = []
  for (const [name, value] of Object.entries(settings)) {
    before.push([name, ((await admin.config('GET', name)) as string[])[1]!])
    await admin.config('SET', name, value)
  }
  try {
    await use()
  } finally {
    for (const [name, value] of before) await admin.config('SET', name, value)
  }
}

/** A database of its own, in a state that -check shall find. */
async function withDatabase(
  prepare: (url: string) => Promise<void>,
  use: (url: string) => Promise<void>,
): Promise<void> {
  const other = await freshDatabase()
  try {
    await prepare(other.url)
    await use(other.url)
  } finally {
    await other.drop()
  }
}

async function migrated(url: string, name = 'gateway', botUserId = BOT): Promise<void> {
  const common = {
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    counters: memoryCounters(),
  }
  const opened = await openDatabase({ url: new Secret(url), name: 'test' }, common)
  await migrate(opened, { log: silentLog })
  await Fleet.open(opened, { name, botUserId: BigInt(botUserId) })
  await opened.close()
}

describe('gateway -check', () => {
  test('finds nothing to do where nothing is broken, and says what it saw', async () => {
    const rows = await check()
    expect(rows.filter(({ state }) => state !== 'ok')).toEqual([])
    expect(rows.map(({ part }) => part)).toEqual([
      'configuration',
      'token',
      'Discord',
      'identify budget',
      'intents',
      'Postgres',
      'migrations',
      'fleet',
      'redis: redis-list',
      'redis: durability',
      'redis: memory',
    ])
    const text = renderRows(rows)
    expect(text).toContain('990 of 1000 left')
    expect(text).toMatch(/ready to start$/)
    expect(text).not.toContain(TOKEN)
    // A check changes nothing.
    expect(
      await queryRows(database.url, 'select 1 from pg_class where relname ~ $$^gateway_$$'),
    ).toEqual([])
  })

  test('a configuration that cannot be read is its only row', async () => {
    expect(await problems({ redsi: 'x' })).toEqual({
      configuration: expect.stringContaining('did you mean -redis') as string,
    })
    const file = join(folder, 'destinations.yaml')
    writeFileSync(file, 'destinations:\n  - {name: a, kind: redis-list, adress: "localhost"}\n')
    expect(await problems({ destinations: file, redis: '' })).toEqual({
      configuration: expect.stringContaining(`${file}:2:`) as string,
    })
  })

  test.each([
    ['is none of a bot', { token: 'abc' }, 200, "its first part is not a bot's user id"],
    ['is refused', {}, 401, 'Reset'],
  ])('a token that %s', async (_what, given, status, text) => {
    discord.status = status
    expect(await problems(given)).toEqual({ token: expect.stringContaining(text) as string })
  })

  test('Discord that does not answer', async () => {
    const found = await problems({ 'discord-api': `http://127.0.0.1:${await freePort()}/api` })
    expect(Object.keys(found)).toEqual(['Discord'])
  })

  test('fewer identifies than this start needs', async () => {
    discord.remaining = 53
    expect(await problems()).toEqual({
      'identify budget': '53 of 1000 left, 50 of them in reserve; this start needs 4 for 4 shards',
    })
    discord.remaining = 54
    expect(await problems()).toEqual({})
  })

  test('sessions that can be resumed need no identify', async () => {
    discord.remaining = 0
    await withDatabase(
      async (url) => {
        await migrated(url)
        await queryRows(url, 'update gateway_fleet set shard_count = 1')
        await queryRows(
          url,
          `insert into gateway_sessions (name, shard, session_id, fence_epoch, fence_revision)
           values ('gateway', 0, 's', 1, 1)`,
        )
      },
      async (url) => expect(await problems({ psql: url })).toEqual({}),
    )
  })

  test('privileged intents that are not switched on', async () => {
    discord.flags = 1 << 13
    expect(
      await problems({ intents: 'GUILDS,GUILD_MEMBERS,GUILD_PRESENCES,MESSAGE_CONTENT' }),
    ).toEqual({
      intents: 'not allowed for this bot: GUILD_MEMBERS, MESSAGE_CONTENT',
    })
    expect(await problems({ intents: 'GUILDS' })).toEqual({})
    discord.flags = null
    const [row] = (await check()).filter(({ state }) => state === 'unknown')
    expect(row).toMatchObject({ part: 'intents' })
  })

  test('events that no intent brings', async () => {
    const env = { WHITELIST_EVENTS: 'TYPING_START,INTERACTION_CREATE' }
    expect(await problems({ intents: 'GUILDS' }, env)).toEqual({
      'redis: events': 'will never come with these intents: TYPING_START',
    })
  })

  test('a Postgres that is away, and one that takes no writes', async () => {
    const port = await freePort()
    const found = await problems({ psql: `postgres://gateway@127.0.0.1:${port}/gateway` })
    expect(Object.keys(found)).toEqual(['Postgres'])
    await withDatabase(
      async (url) => {
        const name = new URL(url).pathname.slice(1)
        await queryRows(url, `alter database ${name} set default_transaction_read_only = on`)
      },
      async (url) =>
        expect(await problems({ psql: url })).toEqual({
          Postgres: expect.stringContaining('takes no writes') as string,
        }),
    )
  })

  test('a database of another program, of another bot, of another fleet, with another migration', async () => {
    await withDatabase(
      async (url) => void (await queryRows(url, 'create table guilds (id int8, data jsonb)')),
      async (url) =>
        expect(await problems({ psql: url })).toEqual({
          migrations: expect.stringContaining('guilds') as string,
        }),
    )
    await withDatabase(
      (url) => migrated(url, 'other', '5'),
      async (url) => {
        expect(await problems({ psql: url })).toEqual({
          fleet: `the database belongs to the bot 5, not to ${BOT}`,
        })
        await queryRows(url, `update gateway_fleet set bot_user_id = ${BOT}`)
        expect(await problems({ psql: url })).toEqual({
          fleet: 'the database belongs to the fleet "other", not to "gateway"',
        })
        await queryRows(url, `update gateway_migrations set sha256 = '' where number = 2`)
        const found = await problems({ psql: url, name: 'other' })
        expect(found['migrations']).toContain('0002_')
      },
    )
  })

  test('a Redis that forgets, that throws away, that is a replica, that is away, that wants a password', async () => {
    await withRedis({ appendonly: 'no' }, async () =>
      expect(await problems()).toEqual({
        'redis: durability': expect.stringContaining('appendonly is no') as string,
      }),
    )
    await withRedis({ appendfsync: 'no' }, async () =>
      expect(await problems()).toEqual({
        'redis: durability': expect.stringContaining('appendfsync is no') as string,
      }),
    )
    await withRedis({ maxmemory: '100mb', 'maxmemory-policy': 'allkeys-lru' }, async () =>
      expect(await problems()).toEqual({
        'redis: memory': expect.stringContaining('allkeys-lru') as string,
      }),
    )
    await withRedis({ 'maxmemory-policy': 'allkeys-lru' }, async () =>
      expect(await problems()).toEqual({}),
    )
    await admin.replicaof('127.0.0.1', 1)
    expect((await problems())['redis: redis-list']).toContain('is a replica')
    await admin.replicaof('NO', 'ONE')
    const away = await problems({ redis: `127.0.0.1:${await freePort()}` })
    expect(Object.keys(away)).toEqual(['redis: redis-list'])
    await withRedis({ requirepass: 'secret' }, async () =>
      expect((await problems())['redis: redis-list']).toContain('refuses the login'),
    )
  })

  test('a Redis that does not tell its settings is neither ok nor not ok', async () => {
    await admin.acl('SETUSER', 'pusher', 'on', '>x', '~*', '+rpush', '+ping', '+client', '+info')
    const rows = await check({ redis: redis.url.replace('redis://', 'redis://pusher:x@') })
    const unknown = rows.filter(({ state }) => state === 'unknown').map(({ part }) => part)
    expect(unknown).toEqual(['redis: durability', 'redis: memory'])
  })

  test('several destinations, each by its name', async () => {
    const file = join(folder, 'several.yaml')
    writeFileSync(
      file,
      `destinations:
  - {name: lists, kind: redis-list, address: "${redis.url}"}
  - {name: gone, kind: redis-stream, address: "127.0.0.1:${await freePort()}"}
  - {name: pushed, kind: grpc-push, addresses: ["127.0.0.1:${await freePort()}"]}
  - {name: watchers, kind: grpc-subscribe}
`,
    )
    expect(Object.keys(await problems({ destinations: file, redis: '', addr: 'none' }))).toEqual([
      'gone: redis-stream',
      'pushed: grpc-push',
      'watchers: grpc-subscribe',
    ])
  })

  test('an etcd that is away, and one that is there', async () => {
    const found = await problems({ etcd: `http://127.0.0.1:${await freePort()}` })
    expect(Object.keys(found)).toEqual(['etcd'])
    const etcd = await startEtcd()
    expect(await problems({ etcd: etcd.url })).toEqual({})
    await etcd.stop()
  })

  test('an embedded store that is no folder, and one that is made', async () => {
    const file = join(folder, 'a-file')
    writeFileSync(file, '')
    const embedded = { psql: '', redis: 'none' }
    expect(await problems({ ...embedded, data: file })).toEqual({
      'embedded store': `${file} is not a folder`,
    })
    expect(await problems({ ...embedded, data: join(folder, 'new', 'data') })).toEqual({})
  })
})

describe('the program', () => {
  test('prints the table and exits with 0 against the simulator, with 1 when something is not ok', async () => {
    const sim = await startSim({ guilds: 1 })
    const env = { DISCORD_TOKEN: sim.token }
    const argv = ['-check', `-discord-api=${sim.apiUrl}`, `-data=${join(folder, 'data')}`]
    const good = new Program('cmd/gateway/main.ts', argv, env)
    const bad = new Program(
      'cmd/gateway/main.ts',
      [...argv, `-redis=127.0.0.1:${await freePort()}`],
      env,
    )
    expect(await good.exited, good.output).toEqual({ code: 0, signal: null })
    expect(good.output).toMatch(/^ok {7}token /m)
    expect(await bad.exited).toEqual({ code: 1, signal: null })
    expect(bad.output).toMatch(
      /^not ok {3}redis: redis-list .*\n {9}→ docs\/errors\.md#push_unreachable\n/m,
    )
    expect(bad.output).toMatch(/^1 not ok$/m)
    await sim.stop()
  }, 30_000)

  test.each([
    [['-check'], {}, true],
    [['--check=true'], {}, true],
    [['-check=false'], { GATEWAY_CHECK: '1' }, false],
    [[], { GATEWAY_CHECK: '1' }, true],
    [['-checks'], {}, false],
  ])('%j with %j is a check: %j', (argv, env, expected) => {
    expect(wantsCheck(argv, env)).toBe(expected)
  })
})
