/**
 * The messages of proto/queue.proto, written around payloads that are copied as they are.
 *
 *   PushBatch     08 number   (12 <length> event)…          EventRequest  0a <length> key   12 <length> value
 *   PushAck       08 number
 *
 * See protobuf.dev/programming-guides/encoding.
 */
import { VARINT_BYTES_MAX, writeVarint } from '../event-message.ts'
import type { EventQueue } from '../event-queue.ts'

const TAG_NUMBER = 0x08
const TAG_KEY = 0x0a
const TAG_EVENT = 0x12
const TAG_VALUE = 0x12
const FIELD_BYTES_MAX = 1 + VARINT_BYTES_MAX

/** A PushBatch with the events of these slots. */
export function pushBatch(number: number, queue: EventQueue, slots: readonly number[]): Buffer {
  let bytesMax = FIELD_BYTES_MAX
  for (const slot of slots) bytesMax += FIELD_BYTES_MAX + queue.lengthOf(slot)
  const out = Buffer.allocUnsafe(bytesMax)
  out[0] = TAG_NUMBER
  let pos = writeVarint(out, 1, number)
  for (const slot of slots) {
    out[pos] = TAG_EVENT
    pos = copyPayload(out, pos + 1, queue, slot)
  }
  return out.subarray(0, pos)
}

/** An EventRequest with the event of a slot. */
export function eventRequest(key: Buffer, queue: EventQueue, slot: number): Buffer {
  const out = Buffer.allocUnsafe(2 * FIELD_BYTES_MAX + key.length + queue.lengthOf(slot))
  out[0] = TAG_KEY
  let pos = writeVarint(out, 1, key.length)
  pos += key.copy(out, pos)
  out[pos] = TAG_VALUE
  return out.subarray(0, copyPayload(out, pos + 1, queue, slot))
}

/** The number of a PushAck; 0 when it has none. Fields of a later version are passed over. */
export function ackNumber(message: Uint8Array): number {
  let number = 0
  let pos = 0
  while (pos < message.length) {
    const tag = message[pos++]!
    if ((tag & 7) === 2) {
      const length = varint(message, pos)
      pos = length.end + length.value
    } else if ((tag & 7) === 0) {
      const { value, end } = varint(message, pos)
      if (tag === TAG_NUMBER) number = value
      pos = end
    } else {
      break
    }
  }
  return number
}

function copyPayload(out: Buffer, pos: number, queue: EventQueue, slot: number): number {
  const length = queue.lengthOf(slot)
  const start = queue.startOf(slot)
  const at = writeVarint(out, pos, length)
  return at + queue.chunkOf(slot).copy(out, at, start, start + length)
}

function varint(
  bytes: Uint8Array,
  start: number,
): { readonly value: number; readonly end: number } {
  let value = 0
  let unit = 1
  let pos = start
  while (pos < bytes.length) {
    const byte = bytes[pos++]!
    value += (byte & 0x7f) * unit
    if (byte < 0x80) break
    unit *= 128
  }
  return { value, end: pos }
}
