import { type PayloadForm, payloadWriter } from '../payload.ts'
import { RedisDestination, type RedisOptions } from './destination.ts'
import { listForm } from './list-form.ts'
import { streamForm, type StreamSplit, type StreamTrim } from './stream-form.ts'

export interface RedisListOptions extends RedisOptions {
  /** Before the event name in the key. Default `gateway:events:`. */
  readonly keyPrefix?: string | undefined
  readonly payload: PayloadForm
  /** Marks what was pushed, under this name of the fleet: no event is repeated after a crash. */
  readonly marks?: string | undefined
}

/** `RPUSH gateway:events:<EVENT> payload…` */
export function redisList(options: RedisListOptions): RedisDestination {
  const { keyPrefix = 'gateway:events:', payload, encoding, marks } = options
  return new RedisDestination(
    options,
    listForm(keyPrefix, payloadWriter(payload, encoding)),
    marks === undefined ? undefined : `${marks}:${keyPrefix}`,
  )
}

export interface RedisStreamOptions extends RedisOptions {
  /** Before `all`, the event name, or the partition's number in the key. Default `gateway:stream:`. */
  readonly keyPrefix?: string | undefined
  readonly split: StreamSplit
  readonly trim: StreamTrim
}

/** `XADD gateway:stream:all * t … s … shard … session … class … d …` */
export function redisStream(options: RedisStreamOptions): RedisDestination {
  const { keyPrefix = 'gateway:stream:', clock } = options
  return new RedisDestination(
    options,
    streamForm({ ...options, prefix: keyPrefix, nowMs: () => clock.now() }),
  )
}
