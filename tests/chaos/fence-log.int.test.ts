import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  memoryCounters,
  Secret,
  seededRandom,
  silentLog,
  systemClock,
} from '../../src/base/index.ts'
import { type Database, Fleet, migrate, openDatabase, SessionStore } from '../../src/cache/index.ts'
import { freshDatabase, type FreshDatabase } from '../support/postgres.ts'
import {
  checkFences,
  installFenceLog,
  type LoggedWrite,
  readFenceLog,
} from './harness/fence-log.ts'

const deps = {
  clock: systemClock,
  random: seededRandom(1),
  log: silentLog,
  counters: memoryCounters(),
}
const SESSION = {
  sessionId: 'a',
  resumeGatewayUrl: 'ws://x',
  sequence: 5,
  shardCount: 2,
  intents: 1,
  query: { v: 10, encoding: 'etf', compress: 'none' },
} as const
/** Guild of shard 1 of 2. */
const GUILD = 1n << 22n

describe('the log of fences', () => {
  let fresh: FreshDatabase
  let database: Database
  let client: Client
  let store: SessionStore
  let other: Client

  beforeAll(async () => {
    fresh = await freshDatabase()
    const url = new Secret(fresh.url)
    database = await openDatabase({ url, name: 'gateway-w1' }, deps)
    await migrate(database, deps)
    client = new Client({
      connectionString: fresh.url,
      application_name: 'gateway gateway-w1 lane',
    })
    other = new Client({ connectionString: fresh.url, application_name: 'gateway gateway-w2 lane' })
    await client.connect()
    await other.connect()
    await installFenceLog(client, 2)
    const fleet = await Fleet.open(database, { name: 'gateway', botUserId: 1n })
    store = new SessionStore({ database, fleet, owner: 'gateway-w1', log: silentLog })
    await store.takeOver(1, { epoch: 1, revision: 7 })
    await store.saveSession(1, { epoch: 1, revision: 7 }, SESSION)
    await client.query(`insert into guilds (id, data) values (${GUILD}, '{}')`)
  })

  afterAll(async () => {
    await client.end()
    await other.end()
    await store.close()
    await database.close()
    await fresh.drop()
  })

  test('holds the take-over, the session and the rows with their writer, and finds nothing', async () => {
    const log = await readFenceLog(client)
    expect(log.map(({ kind, shard, owner }) => [kind, shard, owner])).toEqual([
      ['take-over', 1, 'gateway-w1'],
      ['session', 1, 'gateway-w1'],
      ['rows', 1, 'gateway-w1'],
    ])
    expect(checkFences(log)).toEqual([])
  })

  test('tells of rows that a worker writes whose shard another one has taken', async () => {
    await other.query(
      `update gateway_sessions set fence_revision = 9, owner = 'gateway-w2' where shard = 1`,
    )
    await other.query(`update guilds set unavailable = true where id = ${GUILD}`)
    expect(checkFences(await readFenceLog(client))).toEqual([])
    await client.query(`delete from guilds where id = ${GUILD}`)
    expect(checkFences(await readFenceLog(client))).toEqual([
      'write 5 (rows) of gateway-w1 for shard 1: under fence 1.7 after 1.9',
    ])
  })

  test('orders by commits: a transaction that began before the take-over and ended after it is told of', async () => {
    await client.query(`update gateway_sessions set fence_revision = 11 where shard = 1`)
    const before = (await readFenceLog(client)).length
    await client.query('begin')
    await client.query(`insert into guilds (id, data) values (${GUILD}, '{}')`)
    await other.query(`update gateway_sessions set fence_revision = 12 where shard = 1`)
    await client.query('commit')
    const late = checkFences(await readFenceLog(client)).filter((text) => text.includes('1.11'))
    expect(late).toEqual([
      `write ${before + 1} (rows) of gateway-w1 for shard 1: under fence 1.11 after 1.12`,
    ])
  })
})

test('a sequence that falls is told of', () => {
  const write: LoggedWrite = {
    kind: 'take-over',
    writer: 'gateway w1 sessions',
    shard: 0,
    fence: [1, 1],
    owner: 'w1',
    session: 'a',
    sequence: 9,
  }
  const later: LoggedWrite = { ...write, kind: 'session', sequence: 8 }
  expect(checkFences([write, later])).toEqual([
    'write 1 (session) of w1 for shard 0: sequence 8 of session a after 9',
  ])
})
