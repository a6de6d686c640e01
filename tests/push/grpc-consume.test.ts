import { status } from '@grpc/grpc-js'
import { afterEach, describe, expect, test } from 'vitest'
import { memoryCounters } from '../../src/base/index.ts'
import { type PushDrop, SubscribeDestination, type SubscribeOptions } from '../../src/push/index.ts'
import { readSubscribeRequest } from '../../src/push/subscribe/subscribe-request.ts'
import type { Subscription } from '../../src/push/subscribe/subscribe-request.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { until } from '../support/until.ts'
import { expectArithmetic } from './contract.ts'
import { pushEvent, pushEvents } from './events.ts'
import {
  type ConsumeClient,
  listen,
  type ListeningDestination,
  subscribeOptions,
} from './grpc-subject.ts'
import { recordedLanes } from './recorded-lanes.ts'

let opened: ListeningDestination | undefined

afterEach(async () => {
  await opened?.close()
  opened = undefined
})

const sequences = (client: ConsumeClient): number[] => client.events.map((event) => Number(event.s))
const upTo = (last: number, first = 1): number[] =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index)

describe('gRPC Consume', () => {
  test('an event is through when it was acknowledged, not when it was written', async () => {
    const acks = recordedLanes()
    opened = await listen({ acks })
    const client = await opened.consume({ subscription: 'bots' })
    for (const event of pushEvents(10)) opened.destination.push(event, -1, 0)
    await until(() => client.events.length === 10)
    expect(sequences(client)).toEqual(upTo(10))
    expect(acks.direct.through(0)).toBe(0)
    client.acknowledge(Number(client.events[3]!.number))
    await until(() => acks.direct.through(0) === 4)
    client.acknowledge(Number(client.events[9]!.number))
    await until(() => acks.direct.isIdle)
    expect(opened.destination.stats()).toMatchObject({ deliveredEvents: 10, queuedEvents: 0 })
  })

  test('what was not acknowledged comes again after a reconnect, with what came meanwhile', async () => {
    const acks = recordedLanes()
    opened = await listen({ acks })
    const first = await opened.consume({ subscription: 'bots' })
    for (const event of pushEvents(10)) opened.destination.push(event, -1, 0)
    await until(() => first.events.length === 10)
    first.acknowledge(Number(first.events[5]!.number))
    await until(() => acks.direct.through(0) === 6)
    first.close()
    await until(() => !opened!.destination.stats().isUp)
    for (const event of pushEvents(10, { from: 11 })) opened.destination.push(event, -1, 0)
    const second = await opened.consume({ subscription: 'bots' })
    await until(() => second.events.length === 14)
    expect(sequences(second)).toEqual(upTo(20, 7))
    second.acknowledge(Number(second.events.at(-1)!.number))
    await until(() => acks.direct.isIdle)
    expectArithmetic(opened.destination)
    expect(opened.destination.stats().droppedEvents).toBe(0)
  })

  test('streams of one name share the events, other names get them all', async () => {
    opened = await listen()
    const [one, two] = [
      await opened.consume({ subscription: 'shared' }),
      await opened.consume({ subscription: 'shared' }),
    ]
    const other = await opened.consume({ subscription: 'other', encoding: 1 })
    for (const event of pushEvents(100)) opened.destination.push(event, -1, 0)
    await until(
      () => one!.events.length + two!.events.length === 100 && other.events.length === 100,
    )
    expect([...sequences(one!), ...sequences(two!)].sort((a, b) => a - b)).toEqual(upTo(100))
    expect(one!.events.length).toBeGreaterThan(30)
    expect(two!.events.length).toBeGreaterThan(30)
    expect(sequences(other)).toEqual(upTo(100))
    // What one had comes to the other when it goes.
    const had = sequences(one!)
    one!.close()
    await until(() => two!.events.length === 100)
    expect(sequences(two!).slice(-had.length)).toEqual(had)
  })

  test('gives a stream no more than it may have unacknowledged', async () => {
    opened = await listen()
    const client = await opened.consume({ subscription: 'bots', unacknowledged_max: 5 })
    for (const event of pushEvents(20)) opened.destination.push(event, -1, 0)
    const other = await opened.consume({ subscription: 'witness' })
    opened.destination.push(pushEvent({ sequence: 21 }), -1, 0)
    await until(() => other.events.length === 1)
    expect(client.events.length).toBe(5)
    client.acknowledge(Number(client.events[1]!.number))
    await until(() => client.events.length === 7)
  })

  test('a filter looks at classes, channels, types, authors and content', async () => {
    opened = await listen()
    const wants = async (filter: object): Promise<ConsumeClient> =>
      opened!.consume({
        subscription: `s-${JSON.stringify(filter).replaceAll(/\W+/g, '.')}`,
        filter,
      })
    const clients = await Promise.all([
      wants({ classes: ['available'], events: ['GUILD_CREATE'] }),
      wants({ channel_ids: ['5'] }),
      wants({ types: [19] }),
      wants({ author_bot: true }),
      wants({ author_bot: false, content_prefixes: ['!'] }),
      wants({ events: ['GUILD_CREATE'] }),
    ])
    const message = (sequence: number, d: object): void =>
      opened!.destination.push(pushEvent({ sequence, d }), -1, 0)
    const create = { eventName: 'GUILD_CREATE', d: { id: 1n } }
    opened.destination.push(pushEvent({ sequence: 1, guildClass: 'available', ...create }), -1, 0)
    opened.destination.push(pushEvent({ sequence: 2, guildClass: 'joined', ...create }), -1, 0)
    message(3, { channel_id: 5n, content: '!a', author: { bot: true } })
    message(4, { channel_id: 6n, content: '!b', type: 19 })
    message(5, { channel_id: 6n, content: 'c', type: 0 })
    const expected = [[1], [3], [4], [3], [4], [2]]
    await until(() =>
      clients.every((client, index) => client.events.length >= expected[index]!.length),
    )
    expect(clients.map(sequences)).toEqual(expected)
  })

  for (const [what, request, sentence] of [
    ['without a name', {}, /subscription: a name/],
    ['with a strange name', { subscription: 'a b' }, /subscription: a name/],
    ['with an unknown policy', { subscription: 'a', when_slow: 9 }, /when_slow 9/],
    [
      'with an empty prefix',
      { subscription: 'a', filter: { content_prefixes: [''] } },
      /none of them/,
    ],
  ] as const) {
    test(`is refused ${what}`, async () => {
      opened = await listen()
      const ended = await (await opened.consume(request)).ended
      expect(ended.code).toBe(status.INVALID_ARGUMENT)
      expect(ended.details).toMatch(sentence)
    })
  }
})

describe('a durable subscription', () => {
  const LIMITS = { eventsMax: 100, bytesMax: 64 * 1024 * 1024 }

  interface Stream {
    readonly written: Buffer[]
    readonly ends: [number, string][]
    acknowledge(number: number): void
    leave(): void
  }

  function setUp(given: Partial<SubscribeOptions> = {}): {
    readonly clock: FakeClock
    readonly counters: ReturnType<typeof memoryCounters>
    readonly drops: PushDrop[]
    readonly destination: SubscribeDestination
    readonly join: (request: object) => Promise<Stream>
    readonly push: (from: number, to: number) => void
  } {
    const clock = new FakeClock()
    const counters = memoryCounters()
    const drops: PushDrop[] = []
    const destination = new SubscribeDestination(
      subscribeOptions({
        clock,
        counters,
        limits: LIMITS,
        onDrop: (drop) => drops.push(drop),
        ...given,
      }),
    )
    return {
      clock,
      counters,
      drops,
      destination,
      async join(request) {
        const written: Buffer[] = []
        const ends: [number, string][] = []
        const subscription = readSubscribeRequest(request, true) as Subscription
        const link = destination.subscribe(subscription, {
          write: (message) => {
            written.push(message)
            return true
          },
          end: (code, details) => void ends.push([code, details]),
        })!
        await new Promise((resolve) => setImmediate(resolve))
        return {
          written,
          ends,
          acknowledge: (number) => link.onAcknowledge(number),
          leave: () => link.onGone(),
        }
      },
      push(from, to) {
        for (const event of pushEvents(to - from + 1, { from })) destination.push(event, -1, 0)
      },
    }
  }

  test('is given up after its time without a stream, and what it held is counted', async () => {
    const { clock, destination, drops, join, push } = setUp()
    const stream = await join({ subscription: 'a', keep_seconds: 60 })
    push(1, 10)
    stream.acknowledge(4)
    stream.leave()
    await clock.advance(59_000)
    push(11, 12)
    expect(destination.stats()).toMatchObject({ queuedEvents: 8, deliveredEvents: 4 })
    await clock.advance(2_000)
    expect(destination.stats()).toMatchObject({
      queuedEvents: 0,
      deliveredEvents: 4,
      droppedEvents: 8,
    })
    expect(drops.map((drop) => [drop.sequence, drop.cause])).toEqual(
      upTo(12, 5).map((sequence) => [sequence, 'slow_subscriber']),
    )
    expectArithmetic(destination)
    expect(clock.timerCount).toBe(0)
  })

  test('comes back in time and goes on', async () => {
    const { clock, join, push } = setUp()
    const first = await join({ subscription: 'a', keep_seconds: 60 })
    first.leave()
    await clock.advance(50_000)
    push(1, 3)
    const second = await join({ subscription: 'a', keep_seconds: 60 })
    await clock.advance(50_000)
    expect(second.written.length).toBe(3)
  })

  test('a stream that acknowledges nothing for its time is ended, another one gets its events', async () => {
    const { clock, join, push } = setUp()
    const slow = await join({ subscription: 'a', acknowledge_seconds: 10, unacknowledged_max: 2 })
    push(1, 4)
    await clock.advance(5_000)
    const quick = await join({ subscription: 'a' })
    expect(quick.written.length).toBe(2)
    quick.acknowledge(4)
    await clock.advance(6_500)
    expect(slow.ends).toEqual([[status.DEADLINE_EXCEEDED, expect.stringMatching(/for 10 s/)]])
    await clock.advance(1_500)
    push(5, 5)
    expect(quick.written.length).toBe(5)
  })

  test('drop-oldest: keeps its newest while it is slow, counted for it and as a gap', async () => {
    const { counters, destination, drops, join, push } = setUp()
    const stream = await join({ subscription: 'a', when_slow: 1, unacknowledged_max: 10 })
    push(1, 1000)
    expect(destination.hasRoom).toBe(true)
    const { queuedEvents, droppedEvents } = destination.stats()
    expect(queuedEvents).toBeLessThan(60)
    expect(queuedEvents + droppedEvents).toBe(1000)
    expect(new Set(drops.map((drop) => drop.cause))).toEqual(new Set(['slow_subscriber']))
    const labels = { destination: 'grpc', subscription: 'a' }
    expect(counters.read('gateway_push_subscription_dropped_events_total', labels)).toBe(
      droppedEvents,
    )
    expect(stream.ends).toEqual([])
    expectArithmetic(destination)
  })

  test('cut-off: is ended when it lags while another one keeps up', async () => {
    const { destination, join, push } = setUp()
    const slow = await join({ subscription: 'slow' })
    const quick = await join({ subscription: 'quick' })
    for (let sequence = 1; sequence <= 80; sequence++) {
      push(sequence, sequence)
      quick.acknowledge(sequence)
    }
    expect(slow.ends).toEqual([[status.RESOURCE_EXHAUSTED, expect.stringMatching(/Too slow/)]])
    expect(quick.ends).toEqual([])
    expect(destination.stats()).toMatchObject({ deliveredEvents: 80, queuedEvents: 0 })
  })

  test('block: the queue fills, and nothing is dropped', async () => {
    const { destination, join, push } = setUp()
    const slow = await join({ subscription: 'slow', when_slow: 2 })
    const quick = await join({ subscription: 'quick' })
    for (let sequence = 1; sequence <= 100; sequence++) {
      push(sequence, sequence)
      quick.acknowledge(sequence)
    }
    expect(destination.hasRoom).toBe(false)
    expect(slow.ends).toEqual([])
    slow.acknowledge(100)
    expect(destination.stats()).toMatchObject({ deliveredEvents: 100, queuedEvents: 0 })
  })
})
