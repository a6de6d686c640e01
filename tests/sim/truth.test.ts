/**
 * Published clients that nobody of this project wrote, against the simulator: a simulator that only our own
 * client understands would prove nothing.
 */
import { REST } from '@discordjs/rest'
import { CompressionMethod, WebSocketManager, WebSocketShardEvents } from '@discordjs/ws'
import { Client as CloudStorm } from 'cloudstorm'
import { Client as Oceanic } from 'oceanic.js'
import { SnowTransfer } from 'snowtransfer'
import { afterEach, expect, test } from 'vitest'
import { startSim } from '../../sim/index.ts'
import type { Sim } from '../../sim/index.ts'
import { ALL_INTENTS } from '../../src/discord/index.ts'
import { decodeTermAt } from '../../src/etf/index.ts'
import { until } from '../support/until.ts'

interface Received {
  readonly s: number
  readonly t: string
  readonly d: unknown
}

let sim: Sim
let stopClient: () => Promise<void> | void = () => undefined
afterEach(async () => {
  await stopClient()
  await sim.stop()
})

test('@discordjs/ws (JSON, zlib-stream) identifies, receives, is dropped and resumes', async () => {
  sim = await startSim({ guilds: 6, shards: 2, maxConcurrency: 2 })
  const rest = new REST({ api: `${sim.url}/api` }).setToken(sim.token)
  const manager = new WebSocketManager({
    token: sim.token,
    intents: ALL_INTENTS,
    rest,
    compression: CompressionMethod.ZlibNative,
  })
  const received: Received[][] = [[], []]
  manager.on(WebSocketShardEvents.Dispatch, (payload, shardId) => {
    received[shardId]!.push(payload as Received)
  })
  manager.on(WebSocketShardEvents.Error, () => undefined)
  stopClient = async () => manager.destroy()
  await manager.connect()
  await dropAndCompare(received)
})

test('cloudstorm (ETF, zlib-stream) identifies, receives, is dropped and resumes', async () => {
  sim = await startSim({ guilds: 6, shards: 2, maxConcurrency: 2 })
  const client = new CloudStorm(sim.token, {
    intents: ALL_INTENTS,
    snowtransferInstance: new SnowTransfer(`Bot ${sim.token}`, { baseHost: sim.url }),
    ws: { compress: true, encoding: 'etf', connectThrottle: 50 },
  })
  const received: Received[][] = [[], []]
  const errors: unknown[] = []
  client.on('dispatch', (payload) => {
    received[payload.shard_id]!.push(payload as unknown as Received)
  })
  client.on('error', (error) => errors.push(error))
  stopClient = () => client.disconnect()
  await client.connect()
  // Its reader takes a big of other than eight bytes apart in the wrong order (`view.getUint32(x), true`).
  await dropAndCompare(received, { readsShortBigs: false })
  expect(errors).toEqual([])
})

test('oceanic.js (JSON, zstd-stream) identifies, receives, is dropped and resumes', async () => {
  sim = await startSim({ guilds: 6, shards: 2, maxConcurrency: 2 })
  const client = new Oceanic({
    auth: `Bot ${sim.token}`,
    rest: { baseURL: `${sim.url}/api/v10` },
    gateway: {
      intents: ALL_INTENTS,
      maxShards: 'auto',
      compress: 'zstd-stream',
      autoReconnect: true,
    },
  })
  const received: Received[][] = [[], []]
  const errors: unknown[] = []
  client.on('packet', (payload, shardId) => {
    // Cloned: it takes what it has processed out of its packets.
    if (payload.op === 0) received[shardId]!.push(structuredClone(payload) as unknown as Received)
  })
  client.on('error', (error) => errors.push(error))
  client.on('warn', () => undefined)
  stopClient = () => client.disconnect(false)
  await client.connect()
  await dropAndCompare(received)
})

/** Both shards live, events, TCP dropped, events meanwhile, RESUME; in the end both got what the ledger has. */
async function dropAndCompare(
  received: Received[][],
  { readsShortBigs = true }: { readonly readsShortBigs?: boolean } = {},
): Promise<void> {
  await until(() => sim.stats().connectedSessions === 2, {
    timeoutMs: 15_000,
    what: 'two sessions',
  })
  sim.step(300)
  await caughtUp(received)
  sim.fault({ kind: 'tcp-drop' })
  await until(() => sim.stats().connectedSessions === 0, { what: 'the drop' })
  sim.step(100)
  await until(() => sim.stats().resumes === 2, { timeoutMs: 15_000, what: 'two resumes' })
  sim.step(300)
  await caughtUp(received)
  sim.fault({ kind: 'reconnect', ms: 10_000 })
  await until(() => sim.stats().resumes === 4, { timeoutMs: 15_000, what: 'two more resumes' })
  sim.step(100)
  await caughtUp(received)

  expect(sim.stats().identifies).toBe(2)
  expect(sim.ledger.resumes.every((resume) => resume.sameQuery)).toBe(true)
  for (const [shard, events] of received.entries()) {
    const ledger = [...sim.ledger.events({ shard })]
    expect(events.map(({ s, t }) => `${s} ${t}`)).toEqual(ledger.map(({ s, t }) => `${s} ${t}`))
    for (const [index, event] of ledger.entries()) {
      const d = decodeTermAt(event.d!, 0, event.d!.length)
      const got = readsShortBigs ? events[index]!.d : withShortBigsOf(d, events[index]!.d)
      expect(plain(got), `${event.s} ${event.t}`).toEqual(plain(d))
    }
  }
}

async function caughtUp(received: Received[][]): Promise<void> {
  await until(
    () =>
      sim.sessions.every((session) => received[session.shardId]!.at(-1)?.s === session.sequence),
    { timeoutMs: 15_000, what: 'the last event' },
  )
}

/** Large integers as strings: the clients differ in what they make of SMALL_BIG_EXT. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString()
  if (typeof value === 'number' && Math.abs(value) >= 2 ** 31) return String(value)
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, plain(entry)]))
  }
  return value
}

/** `got`, with what `sent` has where a big of fewer than eight bytes stands. */
function withShortBigsOf(sent: unknown, got: unknown): unknown {
  if (typeof sent === 'bigint' || typeof sent === 'number') {
    return sent >= 2 ** 31 && sent < 2 ** 56 ? sent : got
  }
  if (Array.isArray(sent) && Array.isArray(got)) {
    return got.map((entry, index) => withShortBigsOf(sent[index], entry))
  }
  if (typeof sent === 'object' && sent !== null && typeof got === 'object' && got !== null) {
    const truth = sent as Record<string, unknown>
    const entries = Object.entries(got)
    return Object.fromEntries(
      entries.map(([key, entry]) => [key, withShortBigsOf(truth[key], entry)]),
    )
  }
  return got
}
