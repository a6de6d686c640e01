import { Command } from 'ioredis'
import type { EventQueue } from '../event-queue.ts'

/**
 * One variadic RPUSH, written from the queue's arena into its bytes on the wire:
 *
 *   *<n+2>  $5 RPUSH  $<key> gateway:events:MESSAGE_CREATE  $<bytes> payload  $<bytes> payload …
 *
 * ioredis would need a Buffer object per payload and joins them anyway; this is one copy and none.
 */
export class RpushCommand extends Command {
  readonly #wire: Buffer

  constructor(key: string, wire: Buffer) {
    super('rpush', [key])
    this.#wire = wire
  }

  override toWritable(): Buffer {
    return this.#wire
  }
}

/** `\r\n$5\r\nRPUSH\r\n$<length>\r\n<key>\r\n`: what follows the count, made once per key. */
export function rpushHead(key: string): Buffer {
  return Buffer.from(`\r\n$5\r\nRPUSH\r\n$${Buffer.byteLength(key)}\r\n${key}\r\n`)
}

/** `*`, `$`, digits of a length, and the line ends around a payload. */
export const WIRE_BYTES_PER_PAYLOAD = 16

/**
 * Writes the RPUSH of the first `count` ready events of a channel.
 *
 * @returns the offset behind it.
 */
export function writeRpush(
  out: Buffer,
  pos: number,
  head: Buffer,
  queue: EventQueue,
  channel: number,
  count: number,
): number {
  out[pos++] = ASTERISK
  pos = writeDigits(out, pos, count + 2)
  pos += head.copy(out, pos)
  let slot = queue.head(channel)
  for (let index = 0; index < count; index++) {
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
}

const ASTERISK = 0x2a
const DOLLAR = 0x24
const CR = 0x0d
const LF = 0x0a
const ZERO = 0x30

function writeDigits(out: Buffer, pos: number, value: number): number {
  let digits = 1
  for (let rest = value; rest >= 10; rest = Math.floor(rest / 10)) digits++
  const end = pos + digits
  for (let at = end - 1, rest = value; at >= pos; at--, rest = Math.floor(rest / 10)) {
    out[at] = ZERO + (rest % 10)
  }
  return end
}
