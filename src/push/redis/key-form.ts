import type { Counters } from '../../base/index.ts'
import type { EventQueue } from '../event-queue.ts'
import type { PayloadWriter } from '../payload.ts'
import type { PushEvent } from '../ports.ts'

export interface LengthGauges {
  readonly counters: Counters
  readonly destination: string
  readonly read: () => number
}

/** What the keys of a Redis destination are, lists or streams, and how events are written to them. */
export interface KeyForm {
  /** Of Redis, in lower case. */
  readonly command: 'rpush' | 'xadd'
  /** An event also waits for those of its shard before it. */
  readonly keepsShardOrder: boolean
  readonly payload: PayloadWriter
  /** The key that an event goes to, as a small number. @param name number of the event's name. */
  channelOf(name: number, event: PushEvent): number
  /** As channelOf(), of an event that an earlier process has put into this channel. */
  lateChannelOf(name: number, channel: number): number
  /** @param names event names by number. */
  keyOf(channel: number, names: readonly string[]): string
  /** Registers a gauge of the key's length, unless the key's name comes from the wire. */
  showLength(channel: number, names: readonly string[], gauges: LengthGauges): void
  /** What is the same in each command of a key, made once. */
  head(key: string): Buffer
  /** Room on the wire for `count` events beside their payloads, at most. */
  wireBytesMax(head: Buffer, count: number): number
  /**
   * Writes the first `count` ready events of a channel.
   *
   * @param leftOut some of them that are not written; for lists.
   * @returns the offset behind them.
   */
  write(
    out: Buffer,
    pos: number,
    head: Buffer,
    queue: EventQueue,
    channel: number,
    count: number,
    leftOut?: ReadonlySet<number>,
  ): number
  /** Replies that the server gives to it. */
  replies(count: number): number
  /** The key's length, from the last of them. */
  lengthIn(answer: unknown): unknown
}

const ZERO = 0x30

/** The most digits of a length, with `$` and the line end. */
export const LENGTH_BYTES_MAX = 14

export function writeDigits(out: Buffer, pos: number, value: number): number {
  let digits = 1
  for (let rest = value; rest >= 10; rest = Math.floor(rest / 10)) digits++
  const end = pos + digits
  for (let at = end - 1, rest = value; at >= pos; at--, rest = Math.floor(rest / 10)) {
    out[at] = ZERO + (rest % 10)
  }
  return end
}
