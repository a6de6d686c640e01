/** What every destination promises, whatever stands behind it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { memoryCounters, silentLog, systemClock } from '../../src/base/index.ts'
import type {
  AckLanes,
  Destination,
  PushDrop,
  PushEvent,
  QueueLimits,
  WhenFull,
} from '../../src/push/index.ts'
import { Push, Spill, SpillLedger, SpillThread } from '../../src/push/index.ts'
import { until } from '../support/until.ts'
import { pushEvent, pushEvents } from './events.ts'
import { type RecordedLane, recordedLanes } from './recorded-lanes.ts'

export interface Received {
  readonly shardId: number
  readonly sessionId: string
  readonly sequence: number
  readonly eventName: string
  readonly d: unknown
  /** Where the form has a mark for it. */
  readonly isLate?: boolean | undefined
}

export interface SubjectOptions {
  readonly limits: QueueLimits
  readonly whenFull?: WhenFull | undefined
  readonly spill?: Spill | undefined
  readonly acks: AckLanes
  readonly onDrop: (drop: PushDrop) => void
}

/** A destination and the other end of it. */
export interface Subject {
  readonly destination: Destination
  /** Whether order is kept per shard over all names, not only within one. */
  readonly keepsShardOrder: boolean
  /** Everything that has arrived, in order, repeats included. */
  readonly received: () => Promise<readonly Received[]>
  /** The sink keeps its connection and takes nothing, until go(). */
  stall(): Promise<void>
  go(): Promise<void>
  close(): Promise<void>
}

interface Opened extends Subject {
  readonly direct: RecordedLane
  readonly afterCache: RecordedLane
  readonly drops: PushDrop[]
}

const LIMITS: QueueLimits = { eventsMax: 10_000, bytesMax: 64 * 1024 * 1024 }
const NAMES = ['MESSAGE_CREATE', 'TYPING_START', 'GUILD_MEMBER_UPDATE'] as const

export function destinationContract(
  kind: string,
  openSubject: (options: SubjectOptions) => Promise<Subject>,
): void {
  describe(`${kind}, as every destination`, () => {
    let opened: Opened | undefined

    let thread: SpillThread | undefined
    let folder: string | undefined

    /** With a spill in the test's folder, the same one each time. */
    async function openSpilling(
      limits: QueueLimits,
      given: { readonly bytesMax?: number; readonly afterMs?: number } = {},
    ): Promise<Opened> {
      folder ??= mkdtempSync(join(tmpdir(), 'gateway-spill-'))
      thread ??= new SpillThread()
      const spill = await Spill.open({
        destination: 'contract',
        thread,
        ledger: new SpillLedger(),
        folder,
        form: kind,
        bytesMax: 1024 ** 3,
        afterMs: 60_000,
        clock: systemClock,
        log: silentLog,
        counters: memoryCounters(),
        ...given,
      })
      return await open(limits, 'spill', spill)
    }

    async function open(
      limits: QueueLimits = LIMITS,
      whenFull?: WhenFull,
      spill?: Spill,
    ): Promise<Opened> {
      const lanes = recordedLanes()
      const drops: PushDrop[] = []
      const subject = await openSubject({
        limits,
        whenFull,
        spill,
        acks: lanes,
        onDrop: (drop) => drops.push(drop),
      })
      opened = Object.assign(subject, { ...lanes, drops })
      return opened
    }

    afterEach(async () => {
      await opened?.go()
      await opened?.close()
      opened = undefined
      await thread?.close()
      thread = undefined
      if (folder !== undefined) rmSync(folder, { recursive: true })
      folder = undefined
    })

    test('delivers every event once, whole, in order per shard and name', async () => {
      const { destination, direct, received, keepsShardOrder, drops } = await open()
      const sent: PushEvent[] = []
      for (let sequence = 1; sequence <= 2000; sequence++) {
        for (const shardId of [0, 3]) {
          const event = pushEvent({
            shardId,
            sequence,
            sessionId: `session-${shardId}`,
            eventName: NAMES[sequence % 3]!,
            d: { id: sequence },
          })
          sent.push(event)
          destination.push(event, -1, 0)
        }
      }
      await until(() => direct.isIdle, { what: 'every event acknowledged' })
      const arrived = await received()
      expect(arrived.length).toBe(sent.length)
      expectOrder(arrived, keepsShardOrder)
      expect(new Set(arrived.map(identity))).toEqual(new Set(sent.map(identity)))
      expect(arrived.every((event) => (event.d as { id: number }).id === event.sequence)).toBe(true)
      expectArithmetic(destination)
      expect(destination.stats().deliveredEvents).toBe(sent.length)
      expect(drops).toEqual([])
    })

    test('keeps an event that waits for the cache until its batch is settled', async () => {
      const { destination, direct, afterCache, received, keepsShardOrder } = await open()
      destination.push(pushEvent({ sequence: 1, eventName: 'GUILD_UPDATE' }), 0, 7)
      destination.push(pushEvent({ sequence: 2, eventName: 'GUILD_UPDATE' }), 0, 8)
      destination.push(pushEvent({ sequence: 3, eventName: 'TYPING_START' }), -1, 0)
      destination.push(pushEvent({ shardId: 1, sequence: 1, eventName: 'TYPING_START' }), -1, 0)
      await until(() => direct.through(1) === 1)
      const before = keepsShardOrder ? [] : ['0/3']
      expect((await received()).map(short).sort()).toEqual([...before, '1/1'])
      expect(afterCache.through(0)).toBe(0)
      destination.settle(1, 100)
      destination.settle(0, 6)
      destination.settle(0, 7)
      await until(() => afterCache.through(0) === 1)
      destination.settle(0, 8)
      await until(() => afterCache.through(0) === 2 && direct.isIdle)
      const arrived = await received()
      expect(arrived.map(short).sort()).toEqual(['0/1', '0/2', '0/3', '1/1'])
      expectOrder(arrived, keepsShardOrder)
      expect(destination.stats().queuedEvents).toBe(0)
    })

    test('takes an event whose batch was settled before it came', async () => {
      const { destination, afterCache } = await open()
      destination.settle(2, 5)
      destination.push(pushEvent({ eventName: 'GUILD_UPDATE' }), 2, 5)
      await until(() => afterCache.through(0) === 1)
    })

    test('is full at its events, drops and counts what comes then, and has room again at half', async () => {
      const subject = await open({ eventsMax: 1000, bytesMax: 64 * 1024 * 1024 })
      const { destination, direct, drops } = subject
      const push = new Push([destination])
      await subject.stall()
      for (const event of pushEvents(1000, { d: { text: 'x'.repeat(2000) } })) {
        push.push(event, 0, 1)
      }
      expect(push.hasRoom()).toBe(false)
      for (const event of pushEvents(50, { from: 1001 })) push.push(event, -1, 0)
      const stats = destination.stats()
      expect(stats).toMatchObject({ takenEvents: 1050, droppedEvents: 50, queuedEvents: 1000 })
      expect(drops.length).toBe(50)
      expect(drops[0]).toEqual({
        destination: destination.name,
        shardId: 0,
        sessionId: 'session-a',
        sequence: 1001,
        eventName: 'MESSAGE_CREATE',
        cause: 'queue_full',
      })
      const room = push.whenRoom(AbortSignal.timeout(10_000))
      push.settle(0, 1)
      await subject.go()
      await room
      expect(destination.stats().queuedEvents).toBeLessThanOrEqual(500)
      await until(() => destination.stats().queuedEvents === 0)
      expectArithmetic(destination)
      expect(direct.calls).toBe(0)
      expect((await subject.received()).length).toBe(1000)
    })

    test('is full at its bytes', async () => {
      const subject = await open({ eventsMax: 10_000, bytesMax: 200_000 })
      const { destination } = subject
      let pushed = 0
      while (destination.hasRoom) {
        destination.push(pushEvent({ sequence: ++pushed, d: { text: 'x'.repeat(10_000) } }), 0, 1)
      }
      expect(pushed).toBeGreaterThan(15)
      expect(pushed).toBeLessThan(25)
      expect(destination.isHalfFree).toBe(false)
      destination.settle(0, 1)
      await until(() => destination.stats().queuedEvents === 0)
      expect(destination.hasRoom && destination.isHalfFree).toBe(true)
    })

    test('drop-oldest: at 10 times what it holds the newest arrive, in flat memory', async () => {
      const subject = await open({ eventsMax: 1000, bytesMax: 64 * 1024 * 1024 }, 'drop-oldest')
      const { destination, drops, direct, received, keepsShardOrder } = subject
      const push = new Push([destination])
      await subject.stall()
      const events = pushEvents(10_000, { names: NAMES, d: { text: 'x'.repeat(2000) } })
      let arenaBytesMax = 0
      for (const [index, event] of events.entries()) {
        push.push(event, -1, 0)
        if (index % 100 === 0) await new Promise((resolve) => setImmediate(resolve))
        arenaBytesMax = Math.max(arenaBytesMax, destination.stats().arenaBytes)
      }
      expect(push.hasRoom()).toBe(true)
      expect(destination.stats().queuedEvents).toBe(1000)
      expect(arenaBytesMax).toBeLessThan(2 * 1000 * 2100 + 5 * 1024 * 1024)
      expectArithmetic(destination)
      await subject.go()
      await until(() => destination.stats().queuedEvents === 0)
      const arrived = new Set((await received()).map((event) => event.sequence))
      const dropped = drops.map((drop) => drop.sequence)
      expect(arrived.size + dropped.length).toBe(10_000)
      expect(dropped.some((sequence) => arrived.has(sequence))).toBe(false)
      // The newest of what was not on its way when the sink stood still.
      for (let sequence = 9600; sequence <= 10_000; sequence++) {
        expect(arrived.has(sequence)).toBe(true)
      }
      expect(new Set(drops.map((drop) => drop.cause))).toEqual(new Set(['queue_full']))
      expectOrder(await received(), keepsShardOrder)
      expectArithmetic(destination)
      expect(direct.isIdle).toBe(true)
    })

    test('spill: an outage of 10 times what it holds loses nothing, in order and in flat memory', async () => {
      const subject = await openSpilling({ eventsMax: 400, bytesMax: 64 * 1024 * 1024 })
      const { destination, direct, drops, received, keepsShardOrder } = subject
      const push = new Push([destination])
      await subject.stall()
      let arenaBytesMax = 0
      for (const event of pushEvents(4000, { names: NAMES, d: { text: 'x'.repeat(2000) } })) {
        while (!push.hasRoom()) await new Promise((resolve) => setImmediate(resolve))
        push.push(event, -1, 0)
        arenaBytesMax = Math.max(arenaBytesMax, destination.stats().arenaBytes)
      }
      expect(arenaBytesMax).toBeLessThan(2 * 400 * 2100 + 5 * 1024 * 1024)
      // On the disk is accepted.
      await until(() => direct.through(0) > 2000)
      expectArithmetic(destination)
      await subject.go()
      await until(() => isEmpty(destination), { what: 'everything delivered' })
      const arrived = await received()
      expectOrder(arrived, keepsShardOrder)
      expect(new Set(arrived.map(identity)).size).toBe(4000)
      expect(arrived.length).toBe(4000)
      expect(arrived.some((event) => event.isLate === true)).toBe(false)
      expect(drops).toEqual([])
      expect(direct.isIdle).toBe(true)
      expectArithmetic(destination)
      expect(destination.stats().deliveredEvents).toBe(4000)
    })

    test('spill: what a stop leaves is delivered by the next process, late and before new events', async () => {
      const first = await openSpilling({ eventsMax: 2000, bytesMax: 64 * 1024 * 1024 })
      const d = { text: 'x'.repeat(20_000) }
      await first.stall()
      for (const event of pushEvents(900, { d })) first.destination.push(event, -1, 0)
      first.destination.push(pushEvent({ shardId: 1, eventName: 'GUILD_UPDATE', d }), 0, 1)
      const left = await first.destination.drain(50)
      expect(left.events).toBeGreaterThan(100)
      expect(left.spilledEvents).toBe(left.events)
      expect(first.direct.isIdle && first.afterCache.isIdle).toBe(true)
      await first.go()
      const before = await first.received()
      await first.close()
      const second = await openSpilling({ eventsMax: 2000, bytesMax: 64 * 1024 * 1024 })
      for (const event of pushEvents(10, { from: 901, d })) second.destination.push(event, -1, 0)
      expect(second.destination.stats().takenEvents).toBe(left.events + 10)
      await until(() => isEmpty(second.destination))
      expectArithmetic(second.destination)
      const after = await second.received()
      expectOrder(after, second.keepsShardOrder)
      const late = after.filter((event) => event.isLate ?? true)
      expect(late.length >= left.events).toBe(true)
      for (const event of after.filter(({ sequence }) => sequence > 900)) {
        expect(event.isLate ?? false).toBe(false)
      }
      const all = new Set([...before, ...after].map(identity))
      expect(all.size).toBe(911)
    })

    test('spill: beyond its bound the oldest on the disk make room, counted', async () => {
      const subject = await openSpilling(
        { eventsMax: 1000, bytesMax: 64 * 1024 * 1024 },
        { bytesMax: 2_000_000 },
      )
      const { destination, drops, received } = subject
      const push = new Push([destination])
      await subject.stall()
      for (const event of pushEvents(5000, { d: { text: 'x'.repeat(2000) } })) {
        while (!push.hasRoom()) await new Promise((resolve) => setImmediate(resolve))
        push.push(event, -1, 0)
      }
      await until(() => drops.length > 2000)
      expectArithmetic(destination)
      await subject.go()
      await until(() => isEmpty(destination))
      expectArithmetic(destination)
      expect(new Set(drops.map((drop) => drop.cause))).toEqual(new Set(['spill_full']))
      const arrived = await received()
      expect(arrived.length + drops.length).toBe(5000)
      expect(arrived.at(-1)!.sequence).toBe(5000)
    })

    test('drop-new: what was there first arrives, what came then is counted', async () => {
      const subject = await open({ eventsMax: 1000, bytesMax: 64 * 1024 * 1024 }, 'drop-new')
      const { destination, drops, received } = subject
      const push = new Push([destination])
      for (const event of pushEvents(3000)) push.push(event, 0, 1)
      expect(push.hasRoom()).toBe(true)
      expect(drops.map((drop) => drop.sequence)).toEqual(
        Array.from({ length: 2000 }, (_, index) => 1001 + index),
      )
      push.settle(0, 1)
      await until(() => destination.stats().queuedEvents === 0)
      expect((await received()).map((event) => event.sequence)).toEqual(
        Array.from({ length: 1000 }, (_, index) => 1 + index),
      )
      expectArithmetic(destination)
    })

    test('drops what has waited for longer than it may', async () => {
      const subject = await open({ ...LIMITS, eventsMax: 2000, ageMaxMs: 3_600_000 }, 'drop-oldest')
      const { destination, drops, received } = subject
      await subject.stall()
      const receivedAtMs = Date.now() - 3_601_000
      const d = { text: 'x'.repeat(20_000) }
      for (const event of pushEvents(2000, { d })) {
        destination.push({ ...event, receivedAtMs }, -1, 0)
      }
      await until(() => drops.length > 0)
      expect(new Set(drops.map((drop) => drop.cause))).toEqual(new Set(['age']))
      expectArithmetic(destination)
      await subject.go()
      await until(() => destination.stats().queuedEvents === 0)
      expect((await received()).length).toBe(2000 - drops.length)
      expectArithmetic(destination)
    })

    test('gives up the wait for room when the caller does', async () => {
      const subject = await open({ eventsMax: 10, bytesMax: 1024 * 1024 })
      const push = new Push([subject.destination])
      for (const event of pushEvents(10)) push.push(event, 0, 1)
      const stop = new AbortController()
      const room = push.whenRoom(stop.signal)
      stop.abort(new Error('stopping'))
      await expect(room).rejects.toThrow('stopping')
      push.settle(0, 1)
    })

    test('carries a payload of 16 MiB between small ones', async () => {
      const { destination, direct, received } = await open()
      const text = 'y'.repeat(16 * 1024 * 1024)
      destination.push(pushEvent({ sequence: 1 }), -1, 0)
      destination.push(pushEvent({ sequence: 2, d: { text } }), -1, 0)
      destination.push(pushEvent({ sequence: 3 }), -1, 0)
      await until(() => direct.through(0) === 3)
      const arrived = await received()
      expect(arrived.map((event) => event.sequence)).toEqual([1, 2, 3])
      expect((arrived[1]!.d as { text: string }).text === text).toBe(true)
    })

    test('drops and counts names that no event has, and more names than it keeps', async () => {
      const { destination, direct, drops } = await open()
      const junk = ['x'.repeat(1024 * 1024), '\u0000\u0001\r\nDEL', '\ufffd\ufffd', '', 'A B']
      for (const [index, eventName] of junk.entries()) {
        destination.push(pushEvent({ sequence: index + 1, eventName }), -1, 0)
      }
      expect(drops.map((drop) => drop.cause)).toEqual(junk.map(() => 'event_name'))
      expect(drops.every((drop) => drop.eventName.length <= 100)).toBe(true)
      for (let index = 0; index < 1100; index++) {
        destination.push(
          pushEvent({ sequence: 10 + index, eventName: `NEW_EVENT_${index}` }),
          -1,
          0,
        )
      }
      await until(() => direct.isIdle)
      expect(drops.length).toBe(junk.length + 76)
      expect(drops.at(-1)!.cause).toBe('event_names_max')
      expectArithmetic(destination)
    })

    test('drains what it holds, and says what it could not deliver', async () => {
      const subject = await open()
      const { destination, received } = subject
      for (const event of pushEvents(500)) destination.push(event, -1, 0)
      destination.push(pushEvent({ shardId: 1, eventName: 'GUILD_UPDATE' }), 0, 1)
      const left = await destination.drain(300)
      expect(left.events).toBe(1)
      expect(left.bytes).toBeGreaterThan(10)
      expect((await received()).length).toBe(500)
    })

    test('drains at once when everything is settled', async () => {
      const { destination, received } = await open()
      for (const event of pushEvents(500)) destination.push(event, 0, 1)
      destination.settle(0, 1)
      expect(await destination.drain(10_000)).toEqual({
        destination: destination.name,
        events: 0,
        bytes: 0,
        spilledEvents: 0,
      })
      expect((await received()).length).toBe(500)
    })
  })
}

/** Within its shard (and name), and once repeats are dropped, each event stands behind its elder. */
export function expectOrder(arrived: readonly Received[], keepsShardOrder: boolean): void {
  const last = new Map<string, number>()
  const seen = new Set<string>()
  for (const event of arrived) {
    if (seen.has(identity(event))) continue
    seen.add(identity(event))
    const line = `${event.sessionId}/${event.shardId}/${keepsShardOrder ? '' : event.eventName}`
    expect(event.sequence).toBeGreaterThan(last.get(line) ?? 0)
    last.set(line, event.sequence)
  }
}

export function expectArithmetic(destination: Destination): void {
  const { takenEvents, deliveredEvents, droppedEvents, queuedEvents, spilledEvents } =
    destination.stats()
  expect(takenEvents).toBe(deliveredEvents + droppedEvents + queuedEvents + spilledEvents)
}

function isEmpty(destination: Destination): boolean {
  const { queuedEvents, spilledEvents } = destination.stats()
  return queuedEvents + spilledEvents === 0
}

export function identity(event: {
  readonly shardId: number
  readonly sessionId: string
  readonly sequence: number
}): string {
  return `${event.shardId}/${event.sessionId}/${event.sequence}`
}

function short(event: Received): string {
  return `${event.shardId}/${event.sequence}`
}
