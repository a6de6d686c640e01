import { join } from 'node:path'
import {
  type Client,
  credentials,
  loadPackageDefinition,
  type ServiceClientConstructor,
  type ServiceError,
} from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { shardOfGuild } from '../../src/discord/index.ts'
import type { Sim } from '../../sim/index.ts'
import { freshDatabase, type FreshDatabase } from '../support/postgres.ts'
import type { Program } from '../support/program.ts'
import { sharedRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'
import {
  queryRows,
  readLists,
  startDiscord,
  startGateway,
  storedSequences,
  untilQuiet,
  untilReady,
} from './run.ts'
import { readTopMap } from './checker/etf-term.ts'
import { jsonMap } from './checker/json-form.ts'
import { type Run, stateFindings } from './whole.ts'

const SHARDS = 2
/** More than one chunk, and more than large_threshold: GUILD_CREATE does not list them. */
const MEMBERS = 1200
const WHITELIST = ['GUILD_MEMBERS_CHUNK', 'GUILD_MEMBER_ADD']
const GATEWAY_PROTO = join(import.meta.dirname, '../../proto/gateway.proto')

describe('members requested by gRPC, with GUILD_MEMBERS_CHUNK in WHITELIST_EVENTS', () => {
  const redis = sharedRedis()
  let sim: Sim
  let database: FreshDatabase
  let gateway: Program
  let client: Client
  let run: Run
  let guildId: string
  let knownBefore: number

  beforeAll(async () => {
    database = await freshDatabase()
    sim = await startDiscord({ shards: SHARDS, guilds: 6, membersMax: MEMBERS, rate: 0, seed: 61 })
    gateway = startGateway(
      sim,
      [
        `-psql=${database.url}`,
        `-redis=${redis.url}`,
        `-redis-prefix=${redis.prefix}`,
        '-payload=envelope',
        // The last one counts.
        '-addr=127.0.0.1:0',
      ],
      { WHITELIST_EVENTS: WHITELIST.join(',') },
    )
    run = {
      sim,
      gateways: [gateway],
      shardCount: SHARDS,
      postgresUrl: database.url,
      redisUrl: redis.url,
      redisPrefix: redis.prefix,
      whitelist: WHITELIST,
    }
    await untilReady(gateway, SHARDS)
    const { address } = (await gateway.line('serving gRPC')) as { address?: string }
    const definition = loadSync(GATEWAY_PROTO, { keepCase: true, longs: String })
    const { gateway: services } = loadPackageDefinition(definition) as unknown as {
      gateway: { Gateway: ServiceClientConstructor }
    }
    client = new services.Gateway(address!, credentials.createInsecure())
    await untilQuiet(sim, () => storedSequences(database.url))
    const guilds = await queryRows<{ id: string; members: number }>(
      database.url,
      `select id::text, (data->>'member_count')::int as members from guilds order by members desc`,
    )
    expect(guilds[0]?.members).toBe(MEMBERS)
    guildId = guilds[0]!.id
    knownBefore = await memberRows()
    await requestMembers(guildId, shardOfGuild(BigInt(guildId), SHARDS))
    await until(async () => (await memberRows()) === MEMBERS, {
      timeoutMs: 20_000,
      what: `${MEMBERS} rows of members`,
    })
    await untilQuiet(sim, () => storedSequences(database.url))
  }, 90_000)

  afterAll(async () => {
    client.close()
    gateway.kill('SIGKILL')
    await gateway.exited
    await sim.stop()
    await database.drop()
  })

  async function memberRows(): Promise<number> {
    const [row] = await queryRows<{ count: number }>(
      database.url,
      `select count(*)::int as count from members where guild_id = ${guildId}`,
    )
    return row!.count
  }

  function requestMembers(guild: string, shard: number): Promise<void> {
    const stub = client as unknown as Record<
      string,
      (request: object, done: (error: ServiceError | null) => void) => void
    >
    return new Promise((resolve, reject) => {
      stub['RequestGuildMembers']!({ guild_id: guild, shard }, (error) => {
        if (error === null) resolve()
        else reject(error)
      })
    })
  }

  test('every member of the guild is in State, where only a few were', async () => {
    expect(knownBefore).toBeLessThan(MEMBERS / 2)
    expect(await stateFindings(run)).toBe('')
  })

  test('the chunks are in their list, and no event that is not in the whitelist is in any', async () => {
    const lists = await readLists(redis.url, redis.prefix)
    expect([...lists.keys()]).toEqual([`${redis.prefix}GUILD_MEMBERS_CHUNK`])
    const chunks = lists.get(`${redis.prefix}GUILD_MEMBERS_CHUNK`)!.map((entry) => {
      const d = readTopMap(entry).get('d')!.value
      return jsonMap(d) as unknown as { guild_id: string; members: { user: { id: string } }[] }
    })
    expect(chunks).toHaveLength(Math.ceil(MEMBERS / 1000))
    expect(new Set(chunks.map((chunk) => chunk.guild_id))).toEqual(new Set([guildId]))
    const ids = new Set(chunks.flatMap(({ members }) => members.map(({ user }) => user.id)))
    const rows = await queryRows<{ id: string }>(
      database.url,
      `select user_id::text as id from members where guild_id = ${guildId}`,
    )
    expect(ids).toEqual(new Set(rows.map(({ id }) => id)))
  })

  test('the end is clean', async () => {
    expect(await gateway.stop()).toEqual({ code: 0, signal: null })
  })
})
