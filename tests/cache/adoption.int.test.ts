/** A database of tatsuworks/gateway with data in it: adopted, interrupted, given back. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { afterEach, expect, test } from 'vitest'
import { type Log, Secret, silentLog, systemClock } from '../../src/base/index.ts'
import {
  type Database,
  isAdopted,
  migrate,
  openDatabase,
  planAdoption,
  planRollback,
  runPlan,
} from '../../src/cache/index.ts'
import { freshDatabase } from '../support/postgres.ts'
import { deps } from './cache-setup.ts'

const ANCESTOR = readFileSync(
  fileURLToPath(new URL('fixtures/ancestor.sql', import.meta.url)),
  'utf8',
)
const OURS =
  'channels emojis guilds guilds_persistent members messages presence roles threads voice_states'
/** One try: the tests hold locks on purpose. */
const quick = {
  clock: systemClock,
  random: () => 0,
  log: silentLog,
  lockTimeoutMs: 50,
  lockAttempts: 1,
}

const closers: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function ancestor(): Promise<{ database: Database; client: pg.Client; url: string }> {
  const fresh = await freshDatabase()
  closers.push(() => fresh.drop())
  const client = new pg.Client({ connectionString: fresh.url, application_name: 'tatsu' })
  await client.connect()
  closers.push(() => client.end())
  await client.query(ANCESTOR)
  return { database: await open(fresh.url), client, url: fresh.url }
}

async function open(url: string): Promise<Database> {
  const database = await openDatabase({ url: new Secret(url), name: 'test' }, deps)
  closers.push(() => database.close())
  return database
}

async function adopt(database: Database, log: Log = silentLog): Promise<void> {
  const plan = await planAdoption(database)
  await runPlan(database, plan!, { ...quick, log })
  await migrate(database, deps)
}

async function giveBack(database: Database): Promise<void> {
  const plan = await planRollback(database)
  await runPlan(database, plan!, quick)
}

/** Rows of every table, as one number that changes with any of them. */
async function contents(database: Database): Promise<unknown> {
  const sums: Record<string, unknown> = {}
  for (const table of [...OURS.split(' '), 'shards']) {
    const shown = table === 'guilds' ? 'id, data' : table === 'guilds_persistent' ? 'id' : '*'
    const [row] = await database.query(
      `select count(*), sum(hashtextextended(t::text, 0)::numeric)::text as sum from (select ${shown} from ${table}) t`,
    )
    sums[table] = row
  }
  return sums
}

async function unlogged(database: Database): Promise<string[]> {
  const rows = await database.query<{ name: string }>(
    `select relname as name from pg_class where relkind = 'r' and relpersistence = 'u' order by 1`,
  )
  return rows.map(({ name }) => name)
}

/** Columns, keys and indexes, without the names that indexes happen to have. */
async function schema(database: Database): Promise<unknown> {
  const columns = await database.query(
    `select table_name as table, column_name as column, data_type as type, is_nullable as nullable
     from information_schema.columns
     where table_schema = 'public' and table_name not in ('shards', 'gateway_adoption') order by 1, 2`,
  )
  const indexes = await database.query(
    `select distinct regexp_replace(indexdef, 'INDEX \\S+ ON', 'INDEX ON') as definition from pg_indexes
     where schemaname = 'public' and tablename not in ('shards', 'gateway_adoption') order by 1`,
  )
  return { columns, indexes }
}

test('the plan tells sizes, locks and who is connected, and changes nothing', async () => {
  const { database } = await ancestor()
  const before = await contents(database)
  const plan = (await planAdoption(database))!
  expect(plan.tables.find(({ name }) => name === 'members')).toMatchObject({ isUnlogged: true })
  expect(plan.tables.find(({ name }) => name === 'members')!.bytes).toBeGreaterThan(100_000)
  const rewrites = plan.steps.filter(({ lock }) => lock === 'exclusive')
  const rewritten = rewrites.map(({ what }) => /^set (\w+) LOGGED/.exec(what)?.[1])
  expect(new Set(rewritten)).toEqual(
    new Set(OURS.split(' ').filter((name) => name !== 'guilds_persistent')),
  )
  // The smallest first.
  expect(rewrites.map(({ bytes }) => bytes)).toEqual(
    rewrites.map(({ bytes }) => bytes).sort((a, b) => a - b),
  )
  expect(plan.others).toEqual(['tatsu'])
  expect(await contents(database)).toEqual(before)
  expect(await isAdopted(database)).toBe(false)
})

test('adopted, it has the schema of a database of ours, every row, and no unlogged table of ours', async () => {
  const { database } = await ancestor()
  const before = await contents(database)
  await adopt(database)
  expect(await contents(database)).toEqual(before)
  expect(await unlogged(database)).toEqual(['shards'])
  const fresh = await freshDatabase()
  closers.push(() => fresh.drop())
  const ours = await open(fresh.url)
  await migrate(ours, deps)
  expect(await schema(database)).toEqual(await schema(ours))
  expect(await planAdoption(database)).toBeNull()
})

test('its guilds are present, it can still write to every table, its triggers no longer touch membership', async () => {
  const { database, client } = await ancestor()
  await adopt(database)
  // Present: none of them is announced as joined again.
  expect(
    await database.query('select state, count(*)::int4 as n from guilds_persistent group by 1'),
  ).toEqual([{ state: 'present', n: 200 }])
  const upserts = [
    `insert into guilds (id, data) values (5, '{}') on conflict (id) do update set data = excluded.data`,
    `insert into members (guild_id, user_id, data) values (5, 6, '{}') on conflict (guild_id, user_id) do update set data = excluded.data`,
    `insert into channels (id, guild_id, data) values (7, 5, '{}') on conflict (id, guild_id) do update set data = excluded.data`,
    `insert into presence (user_id, guild_id, data) values (6, 5, '{}') on conflict (user_id, guild_id) do nothing`,
    `insert into threads (id, owner_id, parent_id, guild_id, data) values (8, 6, 7, 5, '{}')`,
    `insert into messages (id, data) values (99, '{}')`,
    `insert into guilds_persistent (id) values (5)`,
    `insert into shards (id, name, seq, sess) values (0, 'gateway', 5, 'x') on conflict (id, name) do update set seq = excluded.seq`,
    `delete from guilds where id = 5`,
  ]
  for (const sql of upserts) await client.query(sql)
  expect(await database.query('select id from guilds_persistent where id = 5')).toHaveLength(1)
})

test('a table in use stops it after its tries; what is done stays done, and the rest follows', async () => {
  const { database, client } = await ancestor()
  await client.query('begin; select from members limit 1')
  const steps: string[] = []
  const log: Log = { ...silentLog, info: (_, fields) => void steps.push(String(fields?.['what'])) }
  await expect(adopt(database, log)).rejects.toMatchObject({ code: 'CACHE_ADOPTION_BUSY' })
  expect(await unlogged(database)).toContain('members')
  expect(await unlogged(database)).not.toContain('voice_states')
  await expect(migrate(database, deps)).rejects.toMatchObject({ code: 'CACHE_ANCESTOR_DATABASE' })
  await client.query('rollback')
  const before = steps.length
  expect(before).toBeGreaterThan(3)
  const plan = (await planAdoption(database))!
  expect(plan.steps.some(({ what }) => what.includes('voice_states LOGGED'))).toBe(false)
  await adopt(database, log)
  expect(await unlogged(database)).toEqual(['shards'])
})

test('an index whose making was interrupted is made anew', async () => {
  const { database, client } = await ancestor()
  await client.query('create index threads_parent_id_idx on threads (parent_id)')
  await client.query(
    `update pg_index set indisvalid = false where indexrelid = 'threads_parent_id_idx'::regclass`,
  )
  await adopt(database)
  expect(
    await database.query(
      `select indisvalid from pg_index where indexrelid = 'threads_parent_id_idx'::regclass`,
    ),
  ).toEqual([{ indisvalid: true }])
})

test('given back, triggers, unlogged tables and its own membership are there again; a gateway refuses it', async () => {
  const { database, client } = await ancestor()
  const before = { contents: await contents(database), unlogged: await unlogged(database) }
  await adopt(database)
  // A guild that is being joined is none that the ancestor has seen.
  await client.query(`insert into guilds_persistent (id, state) values (3, 'joining')`)
  await giveBack(database)
  expect(await contents(database)).toEqual(before.contents)
  expect(await unlogged(database)).toEqual(before.unlogged)
  await client.query(`insert into guilds (id, data) values (4, '{}')`)
  expect(await database.query('select id from guilds_persistent where id = 4')).toHaveLength(1)
  await client.query('delete from guilds where id = 4')
  expect(await database.query('select id from guilds_persistent where id = 4')).toHaveLength(0)
  await expect(migrate(database, deps)).rejects.toMatchObject({ code: 'CACHE_ANCESTOR_DATABASE' })
  expect(await planRollback(database)).toBeNull()
})

test('it can be adopted again after it was given back, and given back in two halves', async () => {
  const { database, client } = await ancestor()
  await adopt(database)
  await client.query('begin; select from members limit 1')
  await expect(giveBack(database)).rejects.toMatchObject({ code: 'CACHE_ADOPTION_BUSY' })
  await client.query('rollback')
  expect(await isAdopted(database)).toBe(false)
  await giveBack(database)
  expect(await unlogged(database)).toContain('members')
  await adopt(database)
  expect(await unlogged(database)).toEqual(['shards'])
  const [row] = await database.query<{ n: number }>(
    'select count(*)::int4 as n from gateway_migrations',
  )
  expect(row!.n).toBeGreaterThan(1)
})

test('a second adoption at the same time is refused', async () => {
  const { database, client } = await ancestor()
  await client.query('select pg_advisory_lock(1734440037, 1633972080)')
  await expect(adopt(database)).rejects.toMatchObject({ code: 'CACHE_ADOPTION_BUSY' })
})
