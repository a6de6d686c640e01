import { ByteBuffer, termToJson } from '../etf/index.ts'
import { ConsumerError } from './errors.ts'
import { type EventStamp, NO_STAMP } from './event.ts'

/** First byte of an external term. See Erlang ext_dist. */
const VERSION_MAGIC = 131
/** MAP_EXT: with `-encoding etf-bare` the version byte is missing, and every payload is a map. */
const MAP_EXT = 116
/** What the scratch buffer may keep of a large payload. */
const SCRATCH_BYTES_MAX = 1024 * 1024

let scratch = new ByteBuffer()

/**
 * Any payload of a destination as Discord's JSON API would show it: ids as strings, null for nil.
 * The encoding is told by the first byte, so that it may change while consumers run.
 *
 * @throws ConsumerError CONSUMER_BAD_PAYLOAD
 */
export function decodePayload(bytes: Buffer): unknown {
  try {
    const first = bytes[0]
    if (first === VERSION_MAGIC) return decodeTermAsJson(bytes, 1)
    if (first === MAP_EXT) return decodeTermAsJson(bytes, 0)
    return JSON.parse(bytes.toString('utf8'))
  } catch (cause) {
    throw new ConsumerError(
      'CONSUMER_BAD_PAYLOAD',
      `A payload of ${bytes.length} bytes is neither an external term nor JSON.`,
      { bytes: bytes.length, firstByte: bytes[0] ?? null },
      { cause },
    )
  }
}

function decodeTermAsJson(bytes: Buffer, start: number): unknown {
  scratch.clear()
  termToJson(bytes, start, bytes.length, scratch)
  const text = scratch.bytes.toString('utf8', 0, scratch.length)
  if (scratch.length > SCRATCH_BYTES_MAX) scratch = new ByteBuffer()
  return JSON.parse(text)
}

export interface Unpacked {
  readonly eventName: string | null
  readonly d: unknown
  readonly stamp: EventStamp
}

/**
 * Takes `-payload envelope` apart; anything else is a bare `d`. No payload of Discord's has `op`, `t` and
 * `session_id` at once.
 */
export function unpack(value: unknown): Unpacked {
  if (!isEnvelope(value)) return { eventName: null, d: value, stamp: NO_STAMP }
  return {
    eventName: value.t,
    d: value.d,
    stamp: {
      shardId: value.shard,
      shardCount: value.shard_count,
      sessionId: value.session_id,
      sequence: value.s,
      guildClass: value.class ?? '',
      receivedAtMs: value.received_at ?? null,
    },
  }
}

interface Envelope {
  readonly t: string
  readonly s: number
  readonly op: number
  readonly d: unknown
  readonly shard: number
  readonly shard_count: number
  readonly session_id: string
  readonly class?: string
  readonly received_at?: number
}

function isEnvelope(value: unknown): value is Envelope {
  if (typeof value !== 'object' || value === null) return false
  const { t, s, op, shard, session_id } = value as Partial<Record<keyof Envelope, unknown>>
  return (
    typeof t === 'string' &&
    typeof s === 'number' &&
    op === 0 &&
    typeof shard === 'number' &&
    typeof session_id === 'string' &&
    Object.hasOwn(value, 'd')
  )
}
