import { status } from '@grpc/grpc-js'
import { afterEach, describe, expect, test } from 'vitest'
import { memoryCounters, silentLog } from '../../src/base/index.ts'
import { decodeTerm } from '../../src/etf/index.ts'
import { type PushDrop, SubscribeDestination } from '../../src/push/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { until } from '../support/until.ts'
import { expectArithmetic } from './contract.ts'
import { pushEvent, pushEvents } from './events.ts'
import { listen, type ListeningDestination, subscribeOptions } from './grpc-subject.ts'
import { recordedLanes } from './recorded-lanes.ts'
import { type LogLine, recordedLog } from './redis-subject.ts'

describe('gRPC Subscribe', () => {
  let listening: ListeningDestination | undefined

  afterEach(async () => {
    await listening?.close()
    listening = undefined
  })

  test('drops and counts what comes while nobody is connected, which is no gap', async () => {
    const drops: PushDrop[] = []
    const counters = memoryCounters()
    const acks = recordedLanes()
    listening = await listen({ onDrop: (drop) => drops.push(drop), counters, acks })
    const { destination } = listening
    for (const event of pushEvents(5)) destination.push(event, -1, 0)
    destination.push(pushEvent({ eventName: 'READY' }), -1, 0)
    destination.push(pushEvent({ eventName: 'GUILD_MEMBERS_CHUNK' }), -1, 0)
    expect(destination.hasRoom).toBe(true)
    expect(destination.stats()).toMatchObject({ takenEvents: 5, droppedEvents: 5, isUp: false })
    expect(
      counters.read('gateway_push_dropped_events_total', {
        destination: 'grpc',
        event: 'MESSAGE_CREATE',
        cause: 'no_subscriber',
      }),
    ).toBe(5)
    expect(drops).toEqual([])
    expect(acks.direct.calls).toBe(0)
  })

  test('sends every field of the event', async () => {
    listening = await listen()
    const { events } = await listening.subscribe()
    listening.destination.push(
      pushEvent({
        shardId: 3,
        shardCount: 16,
        sessionId: 'abc',
        sequence: 5_000_000_000,
        eventName: 'GUILD_CREATE',
        guildClass: 'joined',
        d: { id: 290926798626357999n, name: 'Café' },
      }),
      -1,
      0,
    )
    await until(() => events.length === 1)
    expect({ ...events[0], d: decodeTerm(events[0]!.d) }).toEqual({
      number: '1',
      t: 'GUILD_CREATE',
      s: '5000000000',
      shard: 3,
      shard_count: 16,
      session_id: 'abc',
      class: 'joined',
      received_at: '1763638800123',
      encoding: 'EVENT_ENCODING_ETF',
      late: false,
      d: { id: 290926798626357999n, name: 'Café' },
    })
  })

  test('writes JSON for who asks for it, ETF for the others', async () => {
    listening = await listen()
    const json = await listening.subscribe({ encoding: 'EVENT_ENCODING_JSON' })
    const etf = await listening.subscribe()
    const d = { id: 290926798626357999n, content: 'x'.repeat(300), flags: 0 }
    for (const event of pushEvents(20, { d })) listening.destination.push(event, -1, 0)
    await until(() => json.events.length === 20 && etf.events.length === 20)
    expect(json.events.every((event) => event.encoding === 'EVENT_ENCODING_JSON')).toBe(true)
    expect(JSON.parse(json.events[19]!.d.toString())).toEqual({ ...d, id: '290926798626357999' })
    expect(json.events[19]!.s).toBe('20')
    expect(decodeTerm(etf.events[19]!.d)).toEqual(d)
  })

  test('gives each subscriber what its filter wants', async () => {
    listening = await listen()
    const { destination, subscribe } = listening
    const byName = await subscribe({ filter: { events: ['TYPING_START', 'GUILD_MEMBERS_CHUNK'] } })
    const byShard = await subscribe({ filter: { shards: [1] } })
    const byGuild = await subscribe({ filter: { guild_ids: ['290926798626357999'] } })
    const guildId = 290926798626357999n
    const given = [
      pushEvent({ sequence: 1, eventName: 'TYPING_START', d: { guild_id: guildId } }),
      pushEvent({ sequence: 2, eventName: 'GUILD_MEMBERS_CHUNK', d: { guild_id: 5n } }),
      pushEvent({ sequence: 3, d: { id: guildId, guild_id: '290926798626357999' } }),
      pushEvent({ sequence: 4, d: { id: guildId } }),
      pushEvent({ sequence: 5, eventName: 'GUILD_UPDATE', d: { id: guildId } }),
      pushEvent({
        sequence: 6,
        eventName: 'GUILD_CREATE',
        guildClass: 'available',
        d: { id: guildId },
      }),
      pushEvent({ sequence: 7, eventName: 'READY' }),
      pushEvent({ sequence: 1, shardId: 1, d: { guild_id: 7n } }),
      pushEvent({ sequence: 8, eventName: 'TYPING_START', d: 'not a map' }),
    ]
    for (const event of given) destination.push(event, -1, 0)
    await until(() => destination.stats().deliveredEvents === 6)
    expect(destination.stats().takenEvents).toBe(6)
    await until(() => byName.events.length === 3 && byShard.events.length === 1)
    expect(byName.events.map((event) => event.s)).toEqual(['1', '2', '8'])
    expect(byShard.events.map((event) => event.shard)).toEqual([1])
    expect(byGuild.events.map((event) => event.s)).toEqual(['1', '3', '5'])
  })

  test('does not let a subscriber widen the list of events of the gateway', async () => {
    listening = await listen({ events: ['MESSAGE_CREATE'] })
    const client = await listening.subscribe({
      filter: { events: ['TYPING_START', 'MESSAGE_CREATE'] },
    })
    listening.destination.push(pushEvent({ sequence: 1, eventName: 'TYPING_START' }), -1, 0)
    listening.destination.push(pushEvent({ sequence: 2 }), -1, 0)
    await until(() => client.events.length === 1)
    expect(client.events[0]!.t).toBe('MESSAGE_CREATE')
  })

  test.each([
    [{ filter: { shards: [-1] } }, /-1 is no shard id/],
    [{ filter: { guild_ids: ['0'] } }, /0 is no guild id/],
    [{ filter: { events: ['MESSAGE CREATE'] } }, /no event name/],
    [{ encoding: 7 }, /encoding 7 is not known/],
  ])('refuses %j with a sentence', async (request, sentence) => {
    listening = await listen()
    const client = await listening.subscribe(request)
    const error = await client.ended
    expect(error.code).toBe(status.INVALID_ARGUMENT)
    expect(error.details).toMatch(sentence)
    expect(listening.destination.stats().isUp).toBe(false)
  })

  test('warns of unknown event names with the nearest', async () => {
    const lines: LogLine[] = []
    listening = await listen({ log: recordedLog(lines) })
    await listening.subscribe({ name: 'bot', filter: { events: ['MESAGE_CREATE'] } })
    expect(lines.filter((line) => line.level === 'warn')).toEqual([
      {
        level: 'warn',
        message: 'subscriber: asks for event names that are not known',
        fields: {
          destination: 'grpc',
          subscriber: 'bot',
          events: ['MESAGE_CREATE (did you mean MESSAGE_CREATE?)'],
        },
      },
    ])
  })

  test('holds its queue while the only subscriber does not read, and goes on when it does', async () => {
    const acks = recordedLanes()
    listening = await listen({ limits: { eventsMax: 500, bytesMax: 64 * 1024 * 1024 }, acks })
    const { destination } = listening
    const client = await listening.subscribe()
    client.stream.pause()
    let sequence = 0
    while (destination.hasRoom) {
      destination.push(pushEvent({ sequence: ++sequence, d: 'x'.repeat(50_000) }), -1, 0)
      if (sequence % 50 === 0) await new Promise((resolve) => setImmediate(resolve))
      expect(sequence).toBeLessThan(5000)
    }
    expect(acks.direct.through(0)).toBeLessThan(sequence - 400)
    client.stream.resume()
    await until(() => client.events.length === sequence)
    expect(client.events.map((event) => Number(event.s))).toEqual(
      Array.from({ length: sequence }, (_, index) => index + 1),
    )
    await until(() => acks.direct.through(0) === sequence)
    expectArithmetic(destination)
  })

  test('cuts off the one that lags, with RESOURCE_EXHAUSTED, and keeps the others going', async () => {
    const counters = memoryCounters()
    const acks = recordedLanes()
    const limits = { eventsMax: 1000, bytesMax: 64 * 1024 * 1024 }
    listening = await listen({ limits, counters, acks })
    const { destination } = listening
    const slow = await listening.subscribe({ name: 'slow' })
    const quick = await listening.subscribe({ name: 'quick' })
    slow.stream.pause()
    let sequence = 0
    while (sequence < 3000) {
      for (let index = 0; index < 50; index++) {
        destination.push(pushEvent({ sequence: ++sequence, d: 'x'.repeat(5000) }), -1, 0)
      }
      expect(destination.hasRoom).toBe(true)
      await until(() => quick.events.length === sequence)
    }
    expect(
      counters.read('gateway_push_subscribers_cut_total', { destination: 'grpc', cause: 'lag' }),
    ).toBe(1)
    await until(() => acks.direct.through(0) === 3000)
    slow.stream.resume()
    const error = await slow.ended
    expect(error.code).toBe(status.RESOURCE_EXHAUSTED)
    expect(error.details).toMatch(/Too slow: \d+ events behind/)
    // What it had got before is an unbroken, uncorrupted beginning.
    expect(slow.events.map((event) => Number(event.s))).toEqual(
      Array.from({ length: slow.events.length }, (_, index) => index + 1),
    )
    expect(slow.events.every((event) => decodeTerm(event.d) === 'x'.repeat(5000))).toBe(true)
    expectArithmetic(destination)
  })

  test('goes on for the others when one disconnects in mid-stream', async () => {
    const acks = recordedLanes()
    listening = await listen({ acks })
    const { destination } = listening
    const leaving = await listening.subscribe()
    const staying = await listening.subscribe()
    let sequence = 0
    for (let round = 0; round < 20; round++) {
      for (let index = 0; index < 50; index++) {
        destination.push(pushEvent({ sequence: ++sequence, d: 'x'.repeat(2000) }), -1, 0)
      }
      if (round === 5) leaving.close()
      await new Promise((resolve) => setImmediate(resolve))
    }
    await until(() => staying.events.length === 1000)
    await until(() => acks.direct.through(0) === 1000)
    expect(staying.events.map((event) => Number(event.s))).toEqual(
      Array.from({ length: 1000 }, (_, index) => index + 1),
    )
    expectArithmetic(destination)
  })

  test('drops what it held when the last subscriber goes, and counts it', async () => {
    const counters = memoryCounters()
    const acks = recordedLanes()
    listening = await listen({ counters, acks })
    const { destination } = listening
    const client = await listening.subscribe()
    client.stream.pause()
    for (const event of pushEvents(300, { d: 'x'.repeat(10_000) })) destination.push(event, -1, 0)
    destination.push(pushEvent({ sequence: 301, eventName: 'GUILD_UPDATE' }), 0, 1)
    client.close()
    await until(() => destination.stats().queuedEvents === 1)
    expect(acks.direct.through(0)).toBe(300)
    destination.settle(0, 1)
    expect(acks.afterCache.through(0)).toBe(301)
    expectArithmetic(destination)
    expect(destination.stats().droppedEvents).toBeGreaterThan(100)
  })

  test('tells its subscribers when the gateway stops', async () => {
    listening = await listen()
    const client = await listening.subscribe()
    listening.destination.push(pushEvent(), -1, 0)
    await listening.destination.drain(1000)
    const error = await client.ended
    expect(error.code).toBe(status.UNAVAILABLE)
    expect(client.events.length).toBe(1)
    const late = await listening.subscribe()
    expect((await late.ended).code).toBe(status.UNAVAILABLE)
  })
})

describe('gRPC Subscribe, in time', () => {
  const anything = {
    name: 'bot',
    filter: { name: '' },
    durable: null,
    encoding: 'etf',
    unknownEvents: [],
  } as const

  test('cuts off a stream from which nothing leaves for 30 s', async () => {
    const clock = new FakeClock()
    const acks = recordedLanes()
    const destination = new SubscribeDestination(subscribeOptions({ clock, acks, log: silentLog }))
    const ends: [number, string][] = []
    const written: (() => void)[] = []
    destination.subscribe(anything, {
      write: (_, onWritten) => {
        written.push(onWritten)
        return written.length < 2
      },
      end: (code, details) => ends.push([code, details]),
    })
    await clock.advance(600_000)
    for (const event of pushEvents(5)) destination.push(event, -1, 0)
    await clock.advance(20_000)
    written[0]!()
    await clock.advance(29_000)
    expect(ends).toEqual([])
    expect(acks.direct.through(0)).toBe(1)
    await clock.advance(2_000)
    expect(ends).toEqual([[status.RESOURCE_EXHAUSTED, expect.stringMatching(/Nothing was read/)]])
    expect(acks.direct.through(0)).toBe(5)
    expect(destination.stats()).toMatchObject({ deliveredEvents: 1, droppedEvents: 4 })
    // A late answer of the dead stream changes nothing.
    written[1]!()
    expect(destination.stats().queuedEvents).toBe(0)
    expect(clock.timerCount).toBe(0)
  })

  test('does not look at idle subscribers', async () => {
    const clock = new FakeClock()
    const destination = new SubscribeDestination(subscribeOptions({ clock }))
    const written: (() => void)[] = []
    destination.subscribe(anything, {
      write: (_, onWritten) => {
        written.push(onWritten)
        return true
      },
      end: () => expect.unreachable(),
    })
    destination.push(pushEvent(), -1, 0)
    written[0]!()
    await clock.advance(600_000)
    expect(clock.timerCount).toBe(0)
    expect(destination.stats().isUp).toBe(true)
  })
})
