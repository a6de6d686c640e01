import { isEventName } from '../../discord/index.ts'
import { GuildReader } from '../guild-reader.ts'
import type { PayloadEncoding } from '../payload.ts'
import type { KeyForm } from './key-form.ts'
import { StreamEntryWriter, STREAM_FIELDS } from './stream-entry.ts'

/** How events are shared out among streams. */
export type StreamSplit =
  | { readonly by: 'none' }
  | { readonly by: 'event' }
  /** `partitions` streams; all events of a guild stand in one of them. */
  | { readonly by: 'guild'; readonly partitions: number }

/** What Redis forgets of a stream by itself: beyond a number of entries, or older than an age. */
export interface StreamTrim {
  readonly entriesMax?: number | undefined
  readonly ageSecondsMax?: number | undefined
}

export interface StreamFormOptions {
  readonly prefix: string
  readonly encoding: PayloadEncoding
  readonly split: StreamSplit
  readonly trim: StreamTrim
  /** Wall time, by which Redis numbers entries. */
  readonly nowMs: () => number
}

const MULTI = Buffer.from('*1\r\n$5\r\nMULTI\r\n')
const EXEC = Buffer.from('*1\r\n$4\r\nEXEC\r\n')
/** Arguments of an XADD: itself, the key, `*`, and a name and a value for each field. */
const XADD_ARGUMENTS = 3 + 2 * STREAM_FIELDS
const TRIM_BYTES_MAX = 64

/**
 * Streams. An entry has the fields s, t, shard, session, class and d; docs/consumers.md. What goes to one stream
 * in a flush is a transaction, so that it is taken or refused as a whole and in order:
 *
 *   MULTI  XADD key MAXLEN ~ <n> * fields…  XADD key * fields…  …  XLEN key  EXEC
 *
 * The first XADD trims for all of them: Redis trims by whole nodes, so doing it once is as good.
 */
export function streamForm(options: StreamFormOptions): KeyForm {
  const { prefix, split, trim, nowMs } = options
  const guilds = new GuildReader()
  const streamOf = (channel: number, names: readonly string[]): string => {
    if (split.by === 'none') return 'all'
    return split.by === 'event' ? names[channel]! : String(channel)
  }
  return {
    command: 'xadd',
    keepsShardOrder: split.by !== 'event',
    payload: new StreamEntryWriter(options.encoding),
    channelOf(name, event) {
      if (split.by === 'none') return 0
      if (split.by === 'event') return name
      const guildId = guilds.read(event.eventName, event.bytes, event.start, event.end)
      return partitionOf(guildId, event.shardId, split.partitions)
    },
    lateChannelOf(name, channel) {
      if (split.by === 'none') return 0
      return split.by === 'event' ? name : channel % split.partitions
    },
    keyOf: (channel, names) => prefix + streamOf(channel, names),
    showLength(channel, names, { counters, destination, read }) {
      const stream = streamOf(channel, names)
      if (split.by === 'event' && !isEventName(stream)) return
      counters.gauge('gateway_push_stream_length', read, { destination, stream })
    },
    head: (key) => Buffer.from(`$${Buffer.byteLength(key)}\r\n${key}\r\n`),
    wireBytesMax: (head, count) =>
      (count + 1) * (head.length + XADD_START_BYTES_MAX + AUTO_ID.length + LATE.length) +
      MULTI.length +
      EXEC.length +
      TRIM_BYTES_MAX,
    write(out, pos, head, queue, channel, count) {
      pos += MULTI.copy(out, pos)
      let slot = queue.head(channel)
      for (let index = 0; index < count; index++) {
        const trimText = index === 0 ? trimArguments(trim, nowMs()) : ''
        const lateFields = queue.isLate(slot) ? 2 : 0
        if (trimText === '') {
          pos += xaddStart(lateFields).copy(out, pos)
          pos += head.copy(out, pos)
        } else {
          pos += xaddStart(3 + lateFields).copy(out, pos)
          pos += head.copy(out, pos)
          pos += out.write(trimText, pos, 'latin1')
        }
        pos += AUTO_ID.copy(out, pos)
        const start = queue.startOf(slot)
        pos += queue.chunkOf(slot).copy(out, pos, start, start + queue.lengthOf(slot))
        if (queue.isLate(slot)) pos += LATE.copy(out, pos)
        slot = queue.next(slot)
      }
      pos += XLEN_START.copy(out, pos)
      pos += head.copy(out, pos)
      return pos + EXEC.copy(out, pos)
    },
    // MULTI and each command in it are answered, then EXEC with the answers of all.
    replies: (count) => count + 3,
    lengthIn: (answer) => (Array.isArray(answer) ? answer.at(-1) : undefined),
  }
}

/** By number of arguments beyond the fixed ones. */
const XADD_STARTS = Array.from({ length: 6 }, (_, more) =>
  Buffer.from(`*${XADD_ARGUMENTS + more}\r\n$4\r\nXADD\r\n`),
)
const XADD_START_BYTES_MAX = XADD_STARTS.at(-1)!.length
/** The field of an event that an earlier process has left in its spill. */
const LATE = Buffer.from('$4\r\nlate\r\n$1\r\n1\r\n')

function xaddStart(more: number): Buffer {
  return XADD_STARTS[more]!
}
const XLEN_START = Buffer.from('*2\r\n$4\r\nXLEN\r\n')
const AUTO_ID = Buffer.from('$1\r\n*\r\n')

/** The stream of a guild's events: by the guild's time of creation, as Discord chooses shards; else by shard. */
function partitionOf(guildId: bigint | null, shardId: number, partitions: number): number {
  if (guildId === null) return shardId % partitions
  return Number((guildId >> 22n) % BigInt(partitions))
}

/** `~`: nearly, which costs Redis next to nothing. */
function trimArguments({ entriesMax, ageSecondsMax }: StreamTrim, nowMs: number): string {
  if (entriesMax !== undefined) return bulk('MAXLEN') + bulk('~') + bulk(String(entriesMax))
  if (ageSecondsMax === undefined) return ''
  const oldest = Math.max(0, Math.floor(nowMs - ageSecondsMax * 1000))
  return bulk('MINID') + bulk('~') + bulk(String(oldest))
}

function bulk(text: string): string {
  return `$${text.length}\r\n${text}\r\n`
}
