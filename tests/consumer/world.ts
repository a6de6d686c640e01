/** Events as destinations write them, and a handler that keeps what it was given. */
import { Redis } from 'ioredis'
import { encodeTerm } from '../../src/etf/index.ts'
import type { ConsumedEvent } from '../../src/consumer/index.ts'

export interface Written {
  readonly t?: string
  readonly s: number
  readonly guildId?: bigint | null
  readonly session?: string
}

/** `d` of a message, as the gateway reads it from Discord. */
export function termOf(value: unknown): Buffer {
  return Buffer.from(encodeTerm(value))
}

export function messageOf({ s, guildId = 81384788765712384n }: Written): object {
  return {
    id: 1_000_000_000_000_000_000n + BigInt(s),
    channel_id: 381870553235193857n,
    ...(guildId === null ? {} : { guild_id: guildId }),
    content: `message ${s}`,
  }
}

export function envelopeOf(event: Written): Buffer {
  return termOf({
    t: event.t ?? 'MESSAGE_CREATE',
    s: event.s,
    op: 0,
    d: messageOf(event),
    shard: 3,
    shard_count: 16,
    session_id: event.session ?? 'session-a',
    class: '',
    received_at: 1_763_638_800_123,
  })
}

/** The six fields of a stream's entry. */
export function fieldsOf(event: Written): (string | Buffer)[] {
  return [
    't',
    event.t ?? 'MESSAGE_CREATE',
    's',
    String(event.s),
    'shard',
    '3',
    'session',
    event.session ?? 'session-a',
    'class',
    '',
    'd',
    termOf(messageOf(event)),
  ]
}

export function sequencesOf(events: readonly ConsumedEvent[]): number[] {
  return events.map(({ sequence }) => sequence!)
}

export function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index)
}

export function adminOf(url: string): Redis {
  return new Redis(url, { protocol: 2, disableClientInfo: true })
}
