import { isEventName } from '../../discord/index.ts'
import type { EventQueue } from '../event-queue.ts'
import type { PayloadWriter } from '../payload.ts'
import type { KeyForm } from './key-form.ts'
import { writeDigits } from './key-form.ts'

const ASTERISK = 0x2a
const DOLLAR = 0x24
const CR = 0x0d
const LF = 0x0a
/** `*`, `$`, digits of a length, and the line ends around a payload. */
const WIRE_BYTES_PER_PAYLOAD = 16

/**
 * A list for each event name, one variadic RPUSH for each key and flush, written from the queue's arena
 * into its bytes on the wire:
 *
 *   *<n+2>  $5 RPUSH  $<key> gateway:events:MESSAGE_CREATE  $<bytes> payload  $<bytes> payload …
 *
 * ioredis would need a Buffer object per payload and joins them anyway; this is one copy and none.
 */
export function listForm(prefix: string, payload: PayloadWriter): KeyForm {
  return {
    command: 'rpush',
    keepsShardOrder: false,
    payload,
    channelOf: (name) => name,
    lateChannelOf: (name) => name,
    keyOf: (channel, names) => prefix + names[channel]!,
    showLength(channel, names, { counters, destination, read }) {
      const event = names[channel]!
      if (!isEventName(event)) return
      counters.gauge('gateway_push_list_length', read, { destination, event })
    },
    head: (key) => Buffer.from(`\r\n$5\r\nRPUSH\r\n$${Buffer.byteLength(key)}\r\n${key}\r\n`),
    wireBytesMax: (head, count) => head.length + (count + 1) * WIRE_BYTES_PER_PAYLOAD,
    write(out, pos, head, queue, channel, count, leftOut) {
      out[pos++] = ASTERISK
      const left = leftOut === undefined ? 0 : countAmong(leftOut, queue, channel, count)
      pos = writeDigits(out, pos, count - left + 2)
      pos += head.copy(out, pos)
      let slot = queue.head(channel)
      for (let index = 0; index < count; index++) {
        if (left > 0 && leftOut!.has(slot)) {
          slot = queue.next(slot)
          continue
        }
        const length = queue.lengthOf(slot)
        const start = queue.startOf(slot)
        out[pos++] = DOLLAR
        pos = writeDigits(out, pos, length)
        out[pos++] = CR
        out[pos++] = LF
        pos += queue.chunkOf(slot).copy(out, pos, start, start + length)
        out[pos++] = CR
        out[pos++] = LF
        slot = queue.next(slot)
      }
      return pos
    },
    replies: () => 1,
    lengthIn: (answer) => answer,
  }
}

/** How many of a channel's first `count` events are in the set. */
export function countAmong(
  slots: ReadonlySet<number>,
  queue: EventQueue,
  channel: number,
  count: number,
): number {
  let among = 0
  let slot = queue.head(channel)
  for (let index = 0; index < count; index++) {
    if (slots.has(slot)) among++
    slot = queue.next(slot)
  }
  return among
}
