import type { Redis } from 'ioredis'
import { decodeTerm } from '../../src/etf/index.ts'
import {
  type RedisDestination,
  redisStream,
  type RedisStreamOptions,
} from '../../src/push/index.ts'
import type { TestServer } from '../support/servers.ts'
import type { Received } from './contract.ts'
import { redisOptions } from './redis-subject.ts'

/** Options of a stream destination with a test's defaults: one stream, never trimmed. */
function streamOptions(
  address: string,
  given: Partial<RedisStreamOptions> = {},
): RedisStreamOptions {
  const { keyPrefix: _, payload: __, ...common } = redisOptions(address)
  return { ...common, split: { by: 'none' }, trim: {}, ...given }
}

export async function startedStream(
  server: TestServer,
  given: Partial<RedisStreamOptions> = {},
): Promise<RedisDestination> {
  const destination = redisStream(streamOptions(server.url, given))
  await destination.start()
  return destination
}

export interface Entry {
  readonly id: string
  /** In the order in which they stand. */
  readonly names: readonly string[]
  readonly fields: Readonly<Record<string, Buffer>>
}

export async function entriesOf(admin: Redis, key: string): Promise<Entry[]> {
  return (await admin.xrangeBuffer(key, '-', '+')).map(([id, values]) => {
    const names: string[] = []
    const fields: Record<string, Buffer> = {}
    for (let index = 0; index < values.length; index += 2) {
      names.push(String(values[index]))
      fields[String(values[index])] = values[index + 1]!
    }
    return { id: String(id), names, fields }
  })
}

/** Every stream below the prefix, decoded; each in its order. */
export async function receivedFromStreams(
  admin: Redis,
  prefix = 'gateway:stream:',
): Promise<Received[]> {
  const received: Received[] = []
  for (const key of (await admin.keys(`${prefix}*`)).sort()) {
    for (const { fields } of await entriesOf(admin, key)) {
      received.push({
        shardId: Number(fields['shard']),
        sessionId: String(fields['session']),
        sequence: Number(fields['s']),
        eventName: String(fields['t']),
        d: decodeTerm(fields['d']!),
        isLate: fields['late'] !== undefined,
      })
    }
  }
  return received
}
