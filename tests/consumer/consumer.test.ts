import { describe, expect, test } from 'vitest'
import { silentLog } from '../../src/base/index.ts'
import {
  consume,
  type Consumer,
  type ConsumedEvent,
  type ConsumerError,
  type ConsumerOptions,
  type EventSource,
  type FailedEvent,
  type Intake,
} from '../../src/consumer/index.ts'
import { decodePayload } from '../../src/consumer/payload.ts'
import { until } from '../support/until.ts'
import { envelopeOf, messageOf, range, sequencesOf, termOf, type Written } from './world.ts'

const GUILD = 81384788765712384n

/** A source in memory: what the test writes is taken, what is confirmed is kept. */
class ListedSource implements EventSource {
  readonly confirmed: number[] = []
  intake!: Intake
  isClosed = false

  async start({ intake }: { readonly intake: Intake }): Promise<void> {
    this.intake = intake
  }

  write(event: Written, payload: Buffer = envelopeOf(event)): void {
    this.intake.take({
      eventName: event.t ?? 'MESSAGE_CREATE',
      stamp: undefined,
      payload,
      confirm: () => this.confirmed.push(event.s),
    })
  }

  async pause(): Promise<void> {}

  async close(): Promise<void> {
    this.isClosed = true
  }
}

async function started(
  options: Omit<ConsumerOptions, 'from'>,
): Promise<{ source: ListedSource; consumer: Consumer }> {
  const source = new ListedSource()
  const consumer = await consume({ from: source, log: silentLog, random: () => 0, ...options })
  return { source, consumer }
}

/** A handler that waits until the test lets the event go. */
function gatedHandler(): {
  readonly begun: ConsumedEvent[]
  readonly onEvent: (event: ConsumedEvent) => Promise<void>
  readonly letGo: (sequence: number) => void
} {
  const gates = new Map<number, () => void>()
  const begun: ConsumedEvent[] = []
  return {
    begun,
    onEvent: (event) => {
      begun.push(event)
      return new Promise((resolve) => gates.set(event.sequence!, resolve))
    },
    letGo: (sequence) => gates.get(sequence)!(),
  }
}

describe('payloads', () => {
  const d = { id: 290926798626357999n, roles: [41771983423143937n], n: 5, none: null, on: true }
  const shaped = {
    id: '290926798626357999',
    roles: ['41771983423143937'],
    n: 5,
    none: null,
    on: true,
  }

  test.each([
    ['etf', termOf(d)],
    ['etf-bare', termOf(d).subarray(1)],
    ['json', Buffer.from(JSON.stringify(shaped))],
  ])('%s is decoded to the shape of Discord’s JSON', (_encoding, bytes) => {
    expect(decodePayload(bytes)).toEqual(shaped)
  })

  test('a bare d gets its name from its key and no stamp, an envelope brings both', async () => {
    const events: ConsumedEvent[] = []
    const { source, consumer } = await started({
      onEvent: (event) => {
        events.push(event)
      },
    })
    source.write({ s: 1, t: 'MESSAGE_DELETE' }, termOf(messageOf({ s: 1 })))
    source.write({ s: 2, t: 'MESSAGE_UPDATE' })
    await consumer.stop()
    expect(events).toMatchObject([
      { t: 'MESSAGE_DELETE', sessionId: null, sequence: null, shardId: null },
      {
        t: 'MESSAGE_UPDATE',
        d: { id: '1000000000000000002', guild_id: '81384788765712384' },
        sessionId: 'session-a',
        sequence: 2,
        shardId: 3,
        shardCount: 16,
        receivedAtMs: 1_763_638_800_123,
      },
    ])
  })

  test('one that cannot be read is handed to onFailed with its bytes, and confirmed', async () => {
    const failed: [unknown, FailedEvent][] = []
    const { source, consumer } = await started({
      onEvent: () => undefined,
      onFailed: (error, event) => {
        failed.push([error, event])
      },
    })
    const cut = envelopeOf({ s: 1 }).subarray(0, 20)
    source.write({ s: 1 }, cut)
    source.write({ s: 2 }, Buffer.alloc(0))
    const stats = await consumer.stop()
    expect(failed.map(([error]) => (error as ConsumerError).code)).toEqual(
      Array(2).fill('CONSUMER_BAD_PAYLOAD'),
    )
    expect(failed[0]![1]).toEqual({ event: undefined, payload: cut })
    expect(source.confirmed).toEqual([1, 2])
    expect(stats).toMatchObject({ taken: 2, handled: 0, failed: 2, inFlight: 0, inFlightBytes: 0 })
  })
})

describe('order and concurrency', () => {
  test('events of a guild run one after the other, those of others at once', async () => {
    const { begun, onEvent, letGo } = gatedHandler()
    const { source, consumer } = await started({ onEvent })
    for (const s of [1, 2]) source.write({ s, guildId: GUILD + 1n })
    for (const s of [3, 4]) source.write({ s, guildId: GUILD + 2n })
    source.write({ s: 5, guildId: null })
    await until(() => begun.length === 3)
    expect(sequencesOf(begun)).toEqual([1, 3, 5])
    letGo(3)
    await until(() => begun.length === 4)
    expect(sequencesOf(begun)).toEqual([1, 3, 5, 4])
    for (const s of [1, 4, 5]) letGo(s)
    await until(() => begun.length === 5)
    letGo(2)
    await consumer.stop()
    expect(source.confirmed.toSorted((a, b) => a - b)).toEqual(range(1, 5))
  })

  test('a guild’s own events are of the guild by their id', async () => {
    const { begun, onEvent, letGo } = gatedHandler()
    const { source, consumer } = await started({ onEvent })
    source.write({ s: 1, t: 'GUILD_CREATE', guildId: null })
    source.write({ s: 2, guildId: 1_000_000_000_000_000_001n })
    await until(() => begun.length === 1)
    letGo(1)
    await until(() => begun.length === 2)
    letGo(2)
    await consumer.stop()
    expect(source.confirmed).toEqual([1, 2])
  })

  test('no more handlers run than concurrency, no more is taken than inFlightMax', async () => {
    const { begun, onEvent, letGo } = gatedHandler()
    const { source, consumer } = await started({ onEvent, concurrency: 2, inFlightMax: 3 })
    for (const s of range(1, 3)) source.write({ s, guildId: GUILD + BigInt(s) })
    expect(source.intake.room()).toBe(0)
    let hasRoom = false
    void source.intake.whenRoom().then(() => {
      hasRoom = true
    })
    await until(() => begun.length === 2)
    expect(hasRoom).toBe(false)
    letGo(1)
    await until(() => hasRoom && begun.length === 3)
    for (const s of [2, 3]) letGo(s)
    await consumer.stop()
  })

  test('large payloads end the room before their number does', async () => {
    const { onEvent, letGo, begun } = gatedHandler()
    const { source, consumer } = await started({ onEvent, inFlightBytesMax: 100 })
    source.write({ s: 1 })
    expect(source.intake.room()).toBe(0)
    await until(() => begun.length === 1)
    letGo(1)
    await until(() => source.intake.room() > 0)
    await consumer.stop()
  })
})

describe('at least once', () => {
  test('a repeat is confirmed and not handled; the same sequence of another session is none', async () => {
    const events: ConsumedEvent[] = []
    const { source, consumer } = await started({
      onEvent: (event) => {
        events.push(event)
      },
    })
    for (const s of [1, 2, 1]) source.write({ s })
    source.write({ s: 1, session: 'session-b' })
    const stats = await consumer.stop()
    expect(events.map(({ sessionId, sequence }) => [sessionId, sequence])).toEqual([
      ['session-a', 1],
      ['session-a', 2],
      ['session-b', 1],
    ])
    expect(stats).toMatchObject({ taken: 4, handled: 3, repeats: 1 })
    expect(source.confirmed).toHaveLength(4)
  })

  test('a repeat of an event that is being handled is confirmed with it, not before', async () => {
    const { begun, onEvent, letGo } = gatedHandler()
    const { source, consumer } = await started({ onEvent })
    for (const s of [1, 1]) source.write({ s })
    await until(() => begun.length === 1)
    expect(consumer.stats()).toMatchObject({ repeats: 1, inFlight: 2 })
    expect(source.confirmed).toEqual([])
    letGo(1)
    await consumer.stop()
    expect(source.confirmed).toEqual([1, 1])
    expect(begun).toHaveLength(1)
  })

  test('repeats are known for half of repeatsEventsMax at least', async () => {
    const { source, consumer } = await started({ onEvent: () => undefined, repeatsEventsMax: 10 })
    for (const s of range(1, 20)) source.write({ s })
    for (const s of range(16, 20)) source.write({ s })
    source.write({ s: 1 })
    expect((await consumer.stop()).repeats).toBe(5)
  })

  test('a handler that fails is tried again, then the event is given up', async () => {
    const attempts: number[] = []
    const failed: unknown[] = []
    const { source, consumer } = await started({
      attemptsMax: 2,
      onEvent: ({ sequence }) => {
        attempts.push(sequence!)
        if (sequence === 1) throw new Error('never')
        if (sequence === 2 && attempts.length < 4) throw new Error('not yet')
      },
      onFailed: (error, { event }) => {
        failed.push([(error as Error).message, event!.sequence])
      },
    })
    for (const s of [1, 2]) source.write({ s })
    const stats = await consumer.stop()
    expect(attempts).toEqual([1, 1, 2, 2])
    expect(failed).toEqual([['never', 1]])
    expect(source.confirmed).toEqual([1, 2])
    expect(stats).toMatchObject({ handled: 1, failed: 1 })
  })

  test('what onFailed refuses stays unconfirmed', async () => {
    const { source, consumer } = await started({
      attemptsMax: 1,
      onEvent: () => Promise.reject(new Error('no')),
      onFailed: () => Promise.reject(new Error('the dead letters are full')),
    })
    source.write({ s: 1 })
    await consumer.stop()
    expect(source.confirmed).toEqual([])
  })

  test('a stop waits for handlers, and gives back what they have not done at the deadline', async () => {
    const { begun, onEvent, letGo } = gatedHandler()
    const { source, consumer } = await started({ onEvent, concurrency: 1 })
    for (const s of [1, 2]) source.write({ s })
    await until(() => begun.length === 1)
    const stopped = consumer.stop(100)
    letGo(1)
    const stats = await stopped
    expect(stats).toMatchObject({ handled: 1, inFlight: 1 })
    expect(source.confirmed).toEqual([1])
    expect(source.isClosed).toBe(true)
    letGo(2)
    await consumer.ended
    expect(source.confirmed).toEqual([1])
  })
})

test.each([
  ['concurrency', 0],
  ['inFlightMax', -1],
  ['attemptsMax', 1.5],
])('the option %s refuses %d by name', async (option, value) => {
  const options = { from: new ListedSource(), onEvent: () => undefined, [option]: value }
  await expect(consume(options)).rejects.toMatchObject({
    code: 'CONSUMER_BAD_OPTION',
    details: { option },
  })
})
