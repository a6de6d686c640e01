import type { ByteArena } from './byte-arena.ts'
import { EventTexts } from './event-texts.ts'
import type { PayloadWriter } from './payload.ts'
import type { PushEvent } from './ports.ts'

/**
 * The envelope as an external term, written around the raw bytes of `d`:
 *
 *   131  116 0 0 0 9   "t" → binary   "s" → integer   "op" → 97 0   "d" → the bytes as they came
 *   │    MAP_EXT       "shard" "shard_count" → integer   "session_id" "class" → binary   "received_at" → integer
 *   └ absent with etf-bare
 *
 * Keys are BINARY_EXT: 109, length in 4 bytes big-endian, text. See Erlang ext_dist.
 */
const KEYS = ['t', 's', 'op', 'd', 'shard', 'shard_count', 'session_id', 'class', 'received_at']
const [T, S, OP, D, SHARD, SHARD_COUNT, SESSION_ID, CLASS, RECEIVED_AT] = KEYS.map((key) => {
  const term = Buffer.alloc(5 + key.length)
  writeBinaryHead(term, 0, key.length)
  term.write(key, 5, 'latin1')
  return term
}) as [Buffer, Buffer, Buffer, Buffer, Buffer, Buffer, Buffer, Buffer, Buffer]
/** Version, map head, keys, heads of three texts, op, and four integers of at most 11 bytes. */
const FIXED_BYTES_MAX = 6 + KEYS.join('').length + 5 * KEYS.length + 3 * 5 + 2 + 4 * 11

const copy = Buffer.prototype.copy

export class EtfEnvelopeWriter implements PayloadWriter {
  readonly #hasVersion: boolean
  readonly #texts = new EventTexts((text) => Buffer.from(text))

  constructor(hasVersion: boolean) {
    this.#hasVersion = hasVersion
  }

  /** One more pair at the end, and the count of the map raised. */
  late(payload: Uint8Array): Uint8Array {
    const late = Buffer.concat([payload, LATE])
    const count = this.#hasVersion ? 2 : 1
    late.writeUInt32BE(late.readUInt32BE(count) + 1, count)
    return late
  }

  write(event: PushEvent, arena: ByteArena): number {
    const name = this.#texts.name(event.eventName)
    const session = this.#texts.session(event.shardId, event.sessionId)
    const guildClass = this.#texts.name(event.guildClass)
    const dBytes = event.end - event.start
    arena.reserve(FIXED_BYTES_MAX + name.length + session.length + guildClass.length + dBytes)
    const { bytes, end } = arena
    let pos = end
    if (this.#hasVersion) bytes[pos++] = 131
    bytes[pos++] = 116
    pos = bytes.writeUInt32BE(KEYS.length, pos)
    pos = writeText(bytes, pos, T, name)
    pos = writeInteger(bytes, pos, S, event.sequence)
    pos += OP.copy(bytes, pos)
    bytes[pos++] = 97
    bytes[pos++] = 0
    pos += D.copy(bytes, pos)
    copy.call(event.bytes, bytes, pos, event.start, event.end)
    pos += dBytes
    pos = writeInteger(bytes, pos, SHARD, event.shardId)
    pos = writeInteger(bytes, pos, SHARD_COUNT, event.shardCount)
    pos = writeText(bytes, pos, SESSION_ID, session)
    pos = writeText(bytes, pos, CLASS, guildClass)
    pos = writeInteger(bytes, pos, RECEIVED_AT, event.receivedAtMs)
    return pos - end
  }
}

/** `"late" → true`: 119 = SMALL_ATOM_UTF8_EXT. */
const LATE = Buffer.concat([
  Buffer.from([109, 0, 0, 0, 4]),
  Buffer.from('late'),
  Buffer.from([119, 4]),
  Buffer.from('true'),
])

function writeText(bytes: Buffer, pos: number, key: Buffer, text: Buffer): number {
  pos += key.copy(bytes, pos)
  pos = writeBinaryHead(bytes, pos, text.length)
  return pos + text.copy(bytes, pos)
}

function writeBinaryHead(bytes: Buffer, pos: number, length: number): number {
  bytes[pos] = 109
  return bytes.writeUInt32BE(length, pos + 1)
}

/** SMALL_INTEGER_EXT, INTEGER_EXT or SMALL_BIG_EXT: 110, count, sign, little-endian bytes. */
function writeInteger(bytes: Buffer, pos: number, key: Buffer, value: number): number {
  pos += key.copy(bytes, pos)
  if (value >= 0 && value < 256) {
    bytes[pos] = 97
    bytes[pos + 1] = value
    return pos + 2
  }
  if (value === (value | 0)) {
    bytes[pos] = 98
    return bytes.writeInt32BE(value, pos + 1)
  }
  bytes[pos] = 110
  bytes[pos + 2] = value < 0 ? 1 : 0
  let rest = Math.floor(Math.abs(value))
  let end = pos + 3
  while (rest > 0) {
    bytes[end++] = rest % 256
    rest = Math.floor(rest / 256)
  }
  bytes[pos + 1] = end - pos - 3
  return end
}
