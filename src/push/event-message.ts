import { ByteBuffer, termToJson } from '../etf/index.ts'
import type { ByteArena } from './byte-arena.ts'
import { EventTexts } from './event-texts.ts'
import { type PayloadWriter, VERSION_MAGIC } from './payload.ts'
import type { PushEvent } from './ports.ts'

/**
 * `gateway.Event` of proto/events.proto as bytes, written around the raw `d`, which stands first so that
 * it is found again without reading the rest (protobuf takes fields in any order):
 *
 *   4a <length> 131 d…   0a <length> t   10 s   18 shard   20 shard_count   2a <length> session_id
 *   32 <length> class    38 received_at
 *
 * With JSON the last field is `encoding`: 40 01; 0 is ETF and absent. See protobuf.dev/programming-guides/encoding.
 */
const TAG_T = 0x0a
const TAG_S = 0x10
const TAG_SHARD = 0x18
const TAG_SHARD_COUNT = 0x20
const TAG_SESSION_ID = 0x2a
const TAG_CLASS = 0x32
const TAG_RECEIVED_AT = 0x38
const TAG_ENCODING = 0x40
const TAG_D = 0x4a
const TAG_NUMBER = 0x50
const TAG_LATE = 0x58
const ENCODING_JSON = 1
/** Of 64 bits, 7 in each byte. */
export const VARINT_BYTES_MAX = 10
/** Tags, and varints. */
const FIXED_BYTES_MAX = 10 + 9 * VARINT_BYTES_MAX

const copy = Buffer.prototype.copy

/** What the scratch buffer may keep of a large payload. */
const SCRATCH_BYTES_MAX = 1024 * 1024

export class EventMessageWriter implements PayloadWriter {
  readonly #isJson: boolean
  readonly #texts = new EventTexts((text) => Buffer.from(text))
  #scratch = new ByteBuffer()

  constructor(encoding: 'etf' | 'json') {
    this.#isJson = encoding === 'json'
  }

  late(payload: Uint8Array): Uint8Array {
    return Buffer.concat([payload, Buffer.from([TAG_LATE, 1])])
  }

  write(event: PushEvent, arena: ByteArena): number {
    const name = this.#texts.name(event.eventName)
    const session = this.#texts.session(event.shardId, event.sessionId)
    const guildClass = this.#texts.name(event.guildClass)
    const dBytes = this.#isJson ? this.#toJson(event) : event.end - event.start + 1
    arena.reserve(FIXED_BYTES_MAX + name.length + session.length + guildClass.length + dBytes)
    const { bytes, end } = arena
    let pos = end
    bytes[pos++] = TAG_D
    pos = writeVarint(bytes, pos, dBytes)
    if (this.#isJson) {
      this.#scratch.bytes.copy(bytes, pos, 0, dBytes)
      if (dBytes > SCRATCH_BYTES_MAX) this.#scratch = new ByteBuffer()
    } else {
      bytes[pos] = VERSION_MAGIC
      copy.call(event.bytes, bytes, pos + 1, event.start, event.end)
    }
    pos = writeText(bytes, pos + dBytes, TAG_T, name)
    pos = writeNumber(bytes, pos, TAG_S, event.sequence)
    pos = writeNumber(bytes, pos, TAG_SHARD, event.shardId)
    pos = writeNumber(bytes, pos, TAG_SHARD_COUNT, event.shardCount)
    pos = writeText(bytes, pos, TAG_SESSION_ID, session)
    if (guildClass.length > 0) pos = writeText(bytes, pos, TAG_CLASS, guildClass)
    pos = writeNumber(bytes, pos, TAG_RECEIVED_AT, event.receivedAtMs)
    if (this.#isJson) pos = writeNumber(bytes, pos, TAG_ENCODING, ENCODING_JSON)
    return pos - end
  }

  #toJson(event: PushEvent): number {
    this.#scratch.length = 0
    termToJson(event.bytes, event.start, event.end, this.#scratch)
    return this.#scratch.length
  }
}

/** Offset of the term `d` in a written message, its version byte left out. */
export function termStart(message: Uint8Array): number {
  let pos = 1
  while (message[pos]! >= 0x80) pos++
  return pos + 2
}

/** Offset behind `d` in a written message. */
export function termEnd(message: Uint8Array): number {
  let pos = 1
  let length = 0
  let unit = 1
  for (;;) {
    const byte = message[pos++]!
    length += (byte & 0x7f) * unit
    if (byte < 0x80) return pos + length
    unit *= 128
  }
}

/** Text of `class` in a written message; '' when it has none. */
export function classIn(message: Buffer): string {
  let pos = termEnd(message)
  while (pos < message.length) {
    const tag = message[pos++]!
    let value = 0
    let unit = 1
    for (;;) {
      const byte = message[pos++]!
      value += (byte & 0x7f) * unit
      if (byte < 0x80) break
      unit *= 128
    }
    if ((tag & 7) !== 2) continue
    if (tag === TAG_CLASS) return message.toString('latin1', pos, pos + value)
    pos += value
  }
  return ''
}

/** A copy of a written message, with its number. */
export function numberedMessage(message: Uint8Array, number: number): Buffer {
  const out = Buffer.allocUnsafe(message.length + 1 + VARINT_BYTES_MAX)
  out.set(message)
  return out.subarray(0, writeNumber(out, message.length, TAG_NUMBER, number))
}

/** The same with `d` as the given JSON text. */
export function jsonMessage(message: Uint8Array, json: Uint8Array, number: number): Buffer {
  const rest = message.subarray(termEnd(message))
  const out = Buffer.allocUnsafe(2 * (1 + VARINT_BYTES_MAX) + json.length + rest.length + 2)
  out[0] = TAG_D
  let pos = writeVarint(out, 1, json.length)
  out.set(json, pos)
  pos += json.length
  out.set(rest, pos)
  pos += rest.length
  out[pos++] = TAG_ENCODING
  out[pos++] = ENCODING_JSON
  return out.subarray(0, writeNumber(out, pos, TAG_NUMBER, number))
}

function writeText(bytes: Buffer, pos: number, tag: number, text: Buffer): number {
  bytes[pos] = tag
  pos = writeVarint(bytes, pos + 1, text.length)
  return pos + text.copy(bytes, pos)
}

function writeNumber(bytes: Buffer, pos: number, tag: number, value: number): number {
  bytes[pos] = tag
  return writeVarint(bytes, pos + 1, value)
}

/** Non-negative integers up to 2^53: shifts would cut them to 32 bits. */
export function writeVarint(bytes: Buffer, pos: number, value: number): number {
  while (value >= 128) {
    bytes[pos++] = (value % 128) + 128
    value = Math.floor(value / 128)
  }
  bytes[pos++] = value
  return pos
}
