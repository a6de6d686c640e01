/** The bots of examples/ against a simulated Discord and a gateway, as the demo runs them. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client, GatewayDispatchEvents } from '@discordjs/core'
import { REST } from '@discordjs/rest'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { silentLog } from '../../src/base/index.ts'
import { DiscordjsGateway } from '../../src/consumer/discordjs/index.ts'
import { grpcSubscription } from '../../src/consumer/index.ts'
import type { Sim } from '../../sim/index.ts'
import { adminOf } from '../consumer/world.ts'
import { startDiscord, startGateway, untilReady } from '../e2e/run.ts'
import { type FreshDatabase, freshDatabase } from '../support/postgres.ts'
import { Program } from '../support/program.ts'
import { startRedis, type TestServer } from '../support/servers.ts'
import { until } from '../support/until.ts'

const SHARDS = 2
const BOTS = ['redis-list', 'redis-stream', 'grpc', 'discordjs']
const folder = mkdtempSync(join(tmpdir(), 'gateway-bots-'))
let sim: Sim
let redis: TestServer
let gateway: Program
let address: string
let database: FreshDatabase
const bots: Program[] = []

beforeAll(async () => {
  ;[sim, redis] = await Promise.all([startDiscord({ shards: SHARDS, guilds: 6 }), startRedis()])
  database = await freshDatabase()
  const file = join(folder, 'destinations.yaml')
  writeFileSync(
    file,
    `destinations:
  - {name: subscribers, kind: grpc-subscribe, required: true}
  - {name: lists, kind: redis-list, address: "${redis.url}"}
  - {name: stream, kind: redis-stream, address: "${redis.url}", encoding: json}
`,
  )
  gateway = startGateway(sim, [
    `-psql=${database.url}`,
    `-destinations=${file}`,
    '-addr=127.0.0.1:0',
  ])
  address = String((await gateway.line('serving gRPC'))['address'])
  await untilReady(gateway, SHARDS)
}, 90_000)

afterAll(async () => {
  await Promise.all(bots.map((bot) => bot.stop()))
  await gateway.stop()
  await Promise.all([sim.stop(), redis.stop(), database.drop()])
  rmSync(folder, { recursive: true, force: true })
})

/** What a bot finds in its environment when the demo's line is copied. */
function environment(): Record<string, string> {
  return {
    DISCORD_API: `${sim.url}/api`,
    DISCORD_TOKEN: sim.token,
    GATEWAY: address,
    REDIS_URL: redis.url,
    NODE_OPTIONS: '--conditions=gateway-source',
  }
}

describe('the bots of examples/', () => {
  test('each answers a ping once: by list, stream, gRPC, @discordjs/core, and in Python', async () => {
    const names = [...BOTS, 'python']
    bots.push(...BOTS.map((name) => new Program('examples/main.ts', [name], environment())))
    const python = 'examples/python/ping_pong.py'
    bots.push(
      new Program(python, [], { ...environment(), PATH: process.env['PATH'] ?? '' }, 'python3'),
    )
    await Promise.all(
      bots.map((bot) =>
        bot.waitFor(() => (bot.lines.includes('ready') ? true : null), 'ready', 40_000),
      ),
    )
    sim.writeMessage(null, 'ping')
    sim.writeMessage(null, 'something else')
    const admin = adminOf(redis.url)
    // The bots' own messages come back as events, as Discord sends them.
    const answers = async (): Promise<string[]> =>
      (await admin.xrange('gateway:stream:all', '-', '+'))
        .map(([, fields]) => JSON.parse(fields.at(-1)!) as { content?: string })
        .flatMap(({ content }) => (content?.startsWith('pong by ') === true ? [content] : []))
    await until(async () => (await answers()).length >= names.length, { timeoutMs: 20_000 })
    expect((await answers()).sort()).toEqual(names.map((name) => `pong by ${name}`).sort())
    const ends = await Promise.all(bots.splice(0).map((bot) => bot.stop()))
    expect(ends).toEqual(Array(names.length).fill({ code: 0, signal: null }))
    expect(await admin.keys('gateway:consumer:*')).toEqual([])
    admin.disconnect()
  }, 90_000)

  test('a Client of @discordjs/core asks for members through the gateway', async () => {
    const discordjs = new DiscordjsGateway({
      from: grpcSubscription({
        address,
        name: 'members',
        events: ['GUILD_MEMBERS_CHUNK', 'MESSAGE_CREATE'],
      }),
      commands: { address },
      log: silentLog,
    })
    const client = new Client({ rest: new REST(), gateway: discordjs })
    const contents: string[] = []
    client.on(GatewayDispatchEvents.MessageCreate, ({ data }) => void contents.push(data.content))
    await discordjs.connect()
    // The first event tells the number of shards.
    sim.writeMessage(null, 'hello')
    await until(() => contents.length > 0)
    const [guild] = sim.world.guildIds(1, SHARDS)
    const { members, nonce } = await client.requestGuildMembers({
      guild_id: String(guild),
      query: '',
      limit: 0,
    })
    expect(members.length).toBeGreaterThan(1)
    expect(nonce).toMatch(/^\d+$/)
    await client.updatePresence(0, {
      since: null,
      activities: [],
      status: 'idle' as never,
      afk: false,
    })
    await discordjs.destroy()
  })
})
