import { type Clock, type Random, silentLog } from '../../base/index.ts'
import { RedisConnection } from './connection.ts'

const COMMAND_TIMEOUT_MS = 5_000

/** What a Redis makes of its data, for whoever asks before a start. null: it does not tell this user. */
export interface RedisReport {
  /** The address without user and password. */
  readonly address: string
  readonly version: string | null
  readonly role: string | null
  readonly appendonly: string | null
  readonly appendfsync: string | null
  readonly maxmemoryBytes: number | null
  readonly maxmemoryPolicy: string | null
}

/** @throws PushError when it cannot be reached within the time, or refuses the login. */
export async function reportRedis(options: {
  readonly address: string
  readonly timeoutMs: number
  readonly clock: Clock
  readonly random: Random
}): Promise<RedisReport> {
  const connection = new RedisConnection({
    ...options,
    destination: 'check',
    connectionName: 'gateway-check',
    commandTimeoutMs: COMMAND_TIMEOUT_MS,
    connectTimeoutMs: options.timeoutMs,
    log: silentLog,
  })
  await connection.connect()
  try {
    const { client } = connection
    const info = await client.info().catch(() => '')
    const field = (name: string): string | null =>
      new RegExp(`^${name}:([^\\r\\n]*)`, 'm').exec(info)?.[1] ?? null
    // Managed ones refuse CONFIG, and so do users without the right.
    const setting = async (name: string): Promise<string | null> => {
      const pair = (await client.config('GET', name).catch(() => [])) as string[]
      return pair[1] ?? null
    }
    const maxmemory = await setting('maxmemory')
    return {
      address: connection.shown,
      version: field('redis_version'),
      role: field('role'),
      appendonly: await setting('appendonly'),
      appendfsync: await setting('appendfsync'),
      maxmemoryBytes: maxmemory === null ? null : Number(maxmemory),
      maxmemoryPolicy: await setting('maxmemory-policy'),
    }
  } finally {
    connection.close()
  }
}
