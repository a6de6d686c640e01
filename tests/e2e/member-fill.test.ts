/** -members all through a kill -9 and RATE_LIMITED: every list complete, no limit broken, nothing asked for twice without need. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Sim } from '../../sim/index.ts'
import { freshDatabase, type FreshDatabase } from '../support/postgres.ts'
import type { Program } from '../support/program.ts'
import { sharedRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { queryRows, readLists, startDiscord, startGateway, untilReady } from './run.ts'

const SHARDS = 2
const GUILDS = 24
/** So that the test need not wait for Discord's 30 s. */
const MEMBERS_INTERVAL_MS = 500

const redis = sharedRedis()
let sim: Sim
let database: FreshDatabase
const gateways: Program[] = []

beforeAll(async () => {
  database = await freshDatabase()
  sim = await startDiscord({
    shards: SHARDS,
    guilds: GUILDS,
    membersMax: 1500,
    // So that GUILD_CREATE lists hardly anybody.
    largeGuildMembers: 1,
    rate: 0,
    seed: 8,
    membersIntervalMs: MEMBERS_INTERVAL_MS,
  })
})

afterAll(async () => {
  for (const gateway of gateways) gateway.kill('SIGKILL')
  await Promise.all(gateways.map((gateway) => gateway.exited))
  await sim.stop()
  await database.drop()
})

async function start(): Promise<Program> {
  const gateway = startGateway(sim, [
    `-psql=${database.url}`,
    `-redis=${redis.url}`,
    `-redis-prefix=${redis.prefix}`,
    '-members=all',
  ])
  gateways.push(gateway)
  await untilReady(gateway, SHARDS)
  return gateway
}

async function complete(): Promise<Set<string>> {
  const rows = await queryRows<{ id: string }>(
    database.url,
    'select id::text from guilds where members_complete and members_as_of is not null',
  )
  return new Set(rows.map(({ id }) => id))
}

const askedFor = (): string[] =>
  sim.gateway.commands.commands.flatMap(({ wholeListOf }) => wholeListOf?.toString() ?? [])

test('every list is fetched, a kill -9 in the middle goes on, RATE_LIMITED is obeyed', async () => {
  sim.fault({ kind: 'rate-limit-members', delayMs: 1500, count: 2 })
  const first = await start()
  await until(() => askedFor().length >= 5, { timeoutMs: 20_000, what: 'the first requests' })
  first.kill('SIGKILL')
  await first.exited
  const before = { complete: await complete(), asked: askedFor().length }
  const second = await start()
  await until(async () => (await complete()).size === GUILDS, {
    timeoutMs: 60_000,
    what: 'every list complete',
  })
  // Complete before the kill: never asked for again in this session.
  const askedLater = askedFor().slice(before.asked)
  expect(askedLater.filter((id) => before.complete.has(id))).toEqual([])
  const world = sim.world as unknown as {
    guild(id: bigint): { members: { user: { id: bigint } }[] }
  }
  const rows = await queryRows<{ guild: string; users: string[] }>(
    database.url,
    'select guild_id::text as guild, array_agg(user_id::text order by user_id) as users from members group by 1',
  )
  expect(rows).toHaveLength(GUILDS)
  for (const { guild, users } of rows) {
    const ids = world.guild(BigInt(guild)).members.map(({ user }) => user.id)
    expect(users).toEqual(ids.sort((a, b) => (a < b ? -1 : 1)).map(String))
  }
  // Chunks of our own are for the cache alone.
  const lists = await readLists(redis.url, redis.prefix)
  expect([...lists.keys()].filter((key) => key.endsWith('GUILD_MEMBERS_CHUNK'))).toEqual([])
  const limited = [...sim.ledger.events()].filter(({ t }) => t === 'RATE_LIMITED')
  expect(limited.length).toBeGreaterThanOrEqual(2)
  const broken = sim.gateway.commands.broken().filter((line) => !line.startsWith('members of'))
  expect(broken).toEqual([])
  expect(await second.stop()).toEqual({ code: 0, signal: null })
}, 120_000)
