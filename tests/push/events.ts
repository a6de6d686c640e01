import { encodeTerm } from '../../src/etf/index.ts'
import type { PushEvent } from '../../src/push/index.ts'

/** A dispatch as a shard would hand it over; its bytes stand in the middle of a larger buffer. */
export function pushEvent(given: Partial<PushEvent> & { readonly d?: unknown } = {}): PushEvent {
  const { d = { content: 'x'.repeat(20) }, ...fields } = given
  const term = encodeTerm(d).subarray(1)
  const bytes = Buffer.concat([Buffer.from('head'), term, Buffer.from('tail')])
  const sequence = given.sequence ?? 1
  return {
    shardId: 0,
    shardCount: 4,
    sessionId: 'session-a',
    sequence,
    position: sequence,
    eventName: 'MESSAGE_CREATE',
    guildClass: '',
    receivedAtMs: 1_763_638_800_123,
    bytes,
    start: 4,
    end: 4 + term.length,
    ...fields,
  }
}

/** Events of one shard in order, names in turn. */
export function pushEvents(
  count: number,
  given: Partial<PushEvent> & {
    readonly from?: number
    readonly names?: readonly string[]
    readonly d?: unknown
  } = {},
): PushEvent[] {
  const { from = 1, names = ['MESSAGE_CREATE'], ...fields } = given
  return Array.from({ length: count }, (_, index) =>
    pushEvent({
      ...fields,
      sequence: from + index,
      eventName: names[index % names.length]!,
    }),
  )
}
