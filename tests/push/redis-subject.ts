import { Redis } from 'ioredis'
import {
  type Log,
  memoryCounters,
  seededRandom,
  silentLog,
  systemClock,
} from '../../src/base/index.ts'
import { decodeTerm } from '../../src/etf/index.ts'
import { type RedisDestination, redisList, type RedisListOptions } from '../../src/push/index.ts'
import type { TestServer } from '../support/servers.ts'
import type { Received } from './contract.ts'
import { recordedLanes } from './recorded-lanes.ts'

/** Options of a Redis destination with a test's defaults: envelope in ETF, a fast clock's patience. */
export function redisOptions(
  address: string,
  given: Partial<RedisListOptions> = {},
): RedisListOptions {
  return {
    name: 'redis',
    address,
    connectionName: 'gateway-test',
    payload: 'envelope',
    encoding: 'etf',
    limits: { eventsMax: 10_000, bytesMax: 64 * 1024 * 1024 },
    acks: recordedLanes(),
    onDrop: () => undefined,
    clock: systemClock,
    random: seededRandom(1),
    log: silentLog,
    counters: memoryCounters(),
    ...given,
  }
}

export async function startedRedis(
  server: TestServer,
  given: Partial<RedisListOptions> = {},
): Promise<RedisDestination> {
  const destination = redisList(redisOptions(server.url, given))
  await destination.start()
  return destination
}

/** Every list below the prefix, decoded; each in its order. */
export async function receivedFrom(admin: Redis, prefix = 'gateway:events:'): Promise<Received[]> {
  const received: Received[] = []
  for (const key of (await admin.keys(`${prefix}*`)).sort()) {
    for (const item of await admin.lrangeBuffer(key, 0, -1)) {
      const term = decodeTerm(item) as Record<string, unknown>
      received.push({
        shardId: Number(term['shard']),
        sessionId: String(term['session_id']),
        sequence: Number(term['s']),
        eventName: String(term['t']),
        d: term['d'],
        isLate: term['late'] === true,
      })
    }
  }
  return received
}

/** `s` of the bare payloads `{ s }`, by list in the order of the lists' names. */
export async function bareLists(admin: Redis, prefix = 'gateway:events:'): Promise<number[][]> {
  const keys = (await admin.keys(`${prefix}*`)).sort()
  const lists = await Promise.all(keys.map((key) => admin.lrangeBuffer(key, 0, -1)))
  return lists.map((list) => list.map((item) => Number((decodeTerm(item) as { s: unknown }).s)))
}

export function adminOf(server: TestServer): Redis {
  const admin = new Redis(server.url, { maxRetriesPerRequest: null })
  admin.on('error', () => undefined)
  return admin
}

/** Ends the destination's connections at the server. */
export async function killClients(admin: Redis): Promise<number> {
  const list = (await admin.client('LIST')) as string
  let killed = 0
  for (const line of list.split('\n')) {
    if (!line.includes('name=gateway-test')) continue
    killed += Number(await admin.client('KILL', 'ID', /id=(\d+)/.exec(line)![1]!))
  }
  return killed
}

export interface LogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  readonly message: string
  readonly fields: Readonly<Record<string, unknown>>
}

/** A log that keeps its lines. */
export function recordedLog(lines: LogLine[], bound: Readonly<Record<string, unknown>> = {}): Log {
  const at =
    (level: LogLine['level']) =>
    (message: string, fields: Readonly<Record<string, unknown>> = {}): void => {
      lines.push({ level, message, fields: { ...bound, ...fields } })
    }
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (fields) => recordedLog(lines, { ...bound, ...fields }),
  }
}
