import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ByteArena } from '../../src/push/byte-arena.ts'
import { EventQueue } from '../../src/push/event-queue.ts'
import { pushEvent } from './events.ts'
import { recordedLanes } from './recorded-lanes.ts'

function add(
  queue: EventQueue,
  given: {
    readonly channel?: number
    readonly shardId?: number
    readonly position: number
    readonly lane?: number
    readonly ticket?: number
    readonly text?: string
  },
): void {
  const { channel = 0, shardId = 0, position, lane = -1, ticket = 0 } = given
  const text = Buffer.from(given.text ?? `event ${position}`)
  queue.arena.reserve(text.length)
  text.copy(queue.arena.bytes, queue.arena.end)
  queue.add(channel, channel, pushEvent({ shardId, sequence: position }), lane, ticket, text.length)
}

function textOf(queue: EventQueue, slot: number): string {
  const start = queue.startOf(slot)
  return queue.chunkOf(slot).toString('utf8', start, start + queue.lengthOf(slot))
}

const limits = { eventsMax: 5000, bytesMax: 64 * 1024 * 1024 }

describe('EventQueue', () => {
  test('acknowledges only up to the first event of a shard that is not through', () => {
    const acks = recordedLanes()
    const queue = new EventQueue({ limits, acks, keepsShardOrder: false })
    for (let position = 1; position <= 6; position++)
      add(queue, { channel: position % 2, position })
    for (let count = 0; count < 3; count++) queue.finish(queue.shift(0))
    expect(acks.direct.through(0)).toBe(0)
    queue.finish(queue.shift(1))
    expect(acks.direct.through(0)).toBe(2)
    queue.finish(queue.shift(1))
    expect(acks.direct.through(0)).toBe(4)
    queue.finish(queue.shift(1))
    expect(acks.direct.through(0)).toBe(6)
  })

  test('keeps the lanes of acknowledgement apart', () => {
    const acks = recordedLanes()
    const queue = new EventQueue({ limits, acks, keepsShardOrder: false })
    add(queue, { position: 1, channel: 1, lane: 0, ticket: 1 })
    add(queue, { position: 2 })
    queue.finish(queue.shift(0))
    expect([acks.direct.through(0), acks.afterCache.through(0)]).toEqual([2, 0])
    expect(queue.count(1)).toBe(0)
    expect(queue.settle(0, 1)).toBe(true)
    queue.finish(queue.shift(1))
    expect(acks.afterCache.through(0)).toBe(1)
  })

  test('lets a direct event wait for the held ones of its shard where order is per shard', () => {
    const queue = new EventQueue({ limits, acks: recordedLanes(), keepsShardOrder: true })
    add(queue, { position: 1, lane: 0, ticket: 1 })
    add(queue, { position: 2 })
    add(queue, { position: 3, lane: 0, ticket: 2 })
    add(queue, { position: 4 })
    add(queue, { shardId: 1, position: 1 })
    expect(queue.readyEvents).toBe(1)
    queue.settle(0, 1)
    expect(queue.readyEvents).toBe(3)
    queue.settle(0, 2)
    const order: string[] = []
    while (queue.count(0) > 0) {
      const slot = queue.shift(0)
      order.push(`${queue.shardOf(slot)}/${queue.sequenceOf(slot)}`)
      queue.finish(slot)
    }
    expect(order).toEqual(['1/1', '0/1', '0/2', '0/3', '0/4'])
    add(queue, { position: 5 })
    expect(queue.readyEvents).toBe(1)
  })

  test('copies what is left together when chunks are held for little, and loses no byte', () => {
    const queue = new EventQueue({ limits, acks: recordedLanes(), keepsShardOrder: false })
    const text = 'z'.repeat(10_000)
    for (let position = 1; position <= 2000; position++) {
      add(queue, { channel: position % 20 === 0 ? 1 : 0, position, text: `${position} ${text}` })
    }
    while (queue.count(0) > 0) queue.finish(queue.shift(0))
    expect(queue.arena.allocatedBytes).toBeGreaterThan(20_000_000)
    queue.compactIfSparse()
    expect(queue.arena.allocatedBytes).toBeLessThan(9_000_000)
    for (let position = 20; position <= 2000; position += 20) {
      const slot = queue.shift(1)
      expect(textOf(queue, slot) === `${position} ${text}`).toBe(true)
      queue.finish(slot)
    }
    expect([queue.events, queue.bytes, queue.readyEvents, queue.readyBytes]).toEqual([0, 0, 0, 0])
  })

  test('discards the oldest of all channels that is not on its way, whatever is', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('add' as const), channel: fc.nat(3), count: fc.nat(4) }),
      fc.record({ kind: fc.constant('pin' as const), channel: fc.nat(3), count: fc.nat(4) }),
      fc.record({ kind: fc.constant('shift' as const), channel: fc.nat(3), count: fc.nat(4) }),
      fc.record({ kind: fc.constant('discard' as const), channel: fc.nat(3), count: fc.nat(4) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        const queue = new EventQueue({ limits, acks: recordedLanes(), keepsShardOrder: false })
        const model = [0, 1, 2, 3].map(() => ({ ready: [] as number[], pinned: 0 }))
        let position = 0
        for (const { kind, channel, count } of steps) {
          const line = model[channel]!
          if (kind === 'add') {
            for (let index = 0; index < count; index++) {
              add(queue, { channel, position: ++position })
              line.ready.push(position)
            }
          } else if (kind === 'pin') {
            line.pinned = Math.min(count, line.ready.length)
            let slot = line.pinned === 0 ? -1 : queue.head(channel)
            for (let index = 1; index < line.pinned; index++) slot = queue.next(slot)
            queue.pin(channel, slot)
          } else {
            for (let index = 0; index < count; index++) {
              if (kind === 'shift') {
                if (line.ready.length === 0) continue
                const slot = queue.shift(channel)
                expect(queue.sequenceOf(slot)).toBe(line.ready.shift())
                line.pinned = Math.max(0, line.pinned - 1)
                queue.finish(slot)
                continue
              }
              const loose = model.flatMap(({ ready, pinned }) => ready.slice(pinned))
              const slot = queue.oldest()
              if (loose.length === 0) {
                expect(slot).toBe(-1)
                continue
              }
              const expected = Math.min(...loose)
              expect(queue.sequenceOf(slot)).toBe(expected)
              queue.discard(slot)
              queue.finish(slot)
              const owner = model.find(({ ready }) => ready.includes(expected))!
              owner.ready.splice(owner.ready.indexOf(expected), 1)
            }
          }
          for (const [index, { ready }] of model.entries()) {
            expect(queue.count(index)).toBe(ready.length)
            const found: number[] = []
            for (let slot = queue.head(index); slot !== -1; slot = queue.next(slot)) {
              found.push(queue.sequenceOf(slot))
            }
            expect(found).toEqual(ready)
          }
          const total = model.reduce((sum, { ready }) => sum + ready.length, 0)
          expect([queue.events, queue.readyEvents]).toEqual([total, total])
        }
      }),
      { numRuns: 300 },
    )
  })

  test('behaves as lists of events would, whatever comes in whatever order', () => {
    fc.assert(
      fc.property(
        fc.boolean(),
        fc.array(
          fc.oneof(
            fc.record({
              kind: fc.constant('push' as const),
              channel: fc.nat(3),
              shardId: fc.nat(2),
              isHeld: fc.boolean(),
              bytes: fc.nat(3000),
            }),
            fc.record({ kind: fc.constant('settle' as const), lane: fc.nat(1) }),
            fc.record({ kind: fc.constant('take' as const), channel: fc.nat(3), count: fc.nat(5) }),
            fc.record({ kind: fc.constant('finish' as const), index: fc.nat(20) }),
          ),
          { maxLength: 200 },
        ),
        (keepsShardOrder, steps) => {
          const acks = recordedLanes()
          const queue = new EventQueue({ limits, acks, keepsShardOrder })
          // The model: what each shard submitted and what is through, in plain sets.
          const open = [0, 1].map(() => new Map<number, Set<number>>())
          const submitted = new Map<string, number[]>()
          const positions = [0, 0, 0]
          const tickets = [0, 0]
          const taken: { slot: number; lane: 0 | 1; text: string }[] = []
          const lastOut = new Map<string, number>()
          const channelOf = (channel: number): number => (keepsShardOrder ? 0 : channel)
          for (const step of steps) {
            if (step.kind === 'push') {
              const { shardId } = step
              const position = ++positions[shardId]!
              // As in the gateway: a shard's rows go through one cache lane, a name is held or direct.
              const lane = step.isHeld ? shardId % 2 : -1
              const text = `${shardId}/${position}/${'.'.repeat(step.bytes)}`
              const ackLane = lane === -1 ? 0 : 1
              add(queue, {
                channel: channelOf(step.channel + (step.isHeld ? 4 : 0)),
                shardId,
                position,
                lane,
                ticket: lane === -1 ? 0 : ++tickets[lane]!,
                text,
              })
              const set = open[ackLane]!.get(shardId) ?? new Set()
              open[ackLane]!.set(shardId, set.add(position))
              const line = `${ackLane}/${shardId}`
              submitted.set(line, [...(submitted.get(line) ?? []), position])
            } else if (step.kind === 'settle') {
              queue.settle(step.lane, tickets[step.lane]!)
            } else if (step.kind === 'take') {
              for (const channel of [step.channel, step.channel + 4].map(channelOf)) {
                for (let index = 0; index < step.count && queue.count(channel) > 0; index++) {
                  const slot = queue.shift(channel)
                  const line = `${channel}/${queue.shardOf(slot)}`
                  expect(queue.sequenceOf(slot)).toBeGreaterThan(lastOut.get(line) ?? 0)
                  lastOut.set(line, queue.sequenceOf(slot))
                  const isHeld = open[1]!.get(queue.shardOf(slot))?.has(queue.sequenceOf(slot))
                  taken.push({ slot, lane: isHeld === true ? 1 : 0, text: textOf(queue, slot) })
                }
              }
            } else if (taken.length > 0) {
              const [done] = taken.splice(step.index % taken.length, 1)
              const { slot, lane, text } = done!
              expect(textOf(queue, slot) === text).toBe(true)
              const shardId = queue.shardOf(slot)
              const set = open[lane]!.get(shardId)!
              set.delete(queue.sequenceOf(slot))
              queue.finish(slot)
              // The last position that the lane took before the first one that is still open.
              let through = 0
              for (const position of submitted.get(`${lane}/${shardId}`)!) {
                if (set.has(position)) break
                through = position
              }
              const acked = [acks.direct, acks.afterCache][lane]!.through(shardId)
              expect(acked).toBe(through)
            }
          }
          const held = [...open[0]!.values(), ...open[1]!.values()]
          expect(queue.events).toBe(held.reduce((sum, set) => sum + set.size, 0))
        },
      ),
      { numRuns: 300 },
    )
  })
})

describe('ByteArena', () => {
  test('allocates nothing in steady state and gives a large payload back', () => {
    const arena = new ByteArena()
    const live: [number, number][] = []
    const put = (length: number): void => {
      arena.reserve(length)
      live.push([arena.current, length])
      arena.take(length)
    }
    for (let round = 0; round < 10_000; round++) {
      put(1000)
      if (live.length > 500) arena.release(...live.shift()!)
    }
    expect(arena.allocatedBytes).toBeLessThan(2 * 1024 * 1024)
    put(16 * 1024 * 1024)
    while (live.length > 0) arena.release(...live.shift()!)
    expect(arena.allocatedBytes).toBeLessThan(6 * 1024 * 1024)
    put(10)
    expect(arena.bytes.length).toBe(256 * 1024)
  })
})
