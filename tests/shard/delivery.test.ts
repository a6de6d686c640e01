import { beforeEach, expect, test } from 'vitest'
import { AckMarks } from '../../src/shard/ack-marks.ts'
import { Delivery } from '../../src/shard/delivery.ts'
import type { Dispatch, EventCache, EventPush } from '../../src/shard/ports.ts'

/** A cache with one lane that commits when the test says so. */
class ScriptedCache implements EventCache {
  readonly laneCount = 1
  onSettled: EventCache['onSettled'] = () => undefined
  onAway: EventCache['onAway'] = () => undefined
  ticket = 1
  laneOf(): number {
    return 0
  }
  touches(eventName: string): boolean {
    return eventName !== 'TYPING_START'
  }
  write(): number {
    return this.ticket
  }
}

/** Queues that remember what waits and what left. */
class ScriptedPush implements EventPush {
  isFull = false
  left: number[] = []
  dropped: number[] = []
  #held: { sequence: number; ticket: number }[] = []
  hasRoom(): boolean {
    return !this.isFull
  }
  whenRoom(): Promise<void> {
    return Promise.resolve()
  }
  push(event: Dispatch, lane: number, ticket: number): void {
    if (this.isFull) this.dropped.push(event.sequence)
    else if (lane === -1) this.left.push(event.sequence)
    else this.#held.push({ sequence: event.sequence, ticket })
  }
  settle(_lane: number, ticket: number): void {
    for (const entry of this.#held.filter((held) => held.ticket <= ticket)) {
      this.left.push(entry.sequence)
    }
    this.#held = this.#held.filter((held) => held.ticket > ticket)
  }
}

let cache: ScriptedCache
let push: ScriptedPush
let marks: AckMarks
let delivery: Delivery

beforeEach(() => {
  cache = new ScriptedCache()
  push = new ScriptedPush()
  marks = new AckMarks(4)
  delivery = new Delivery({ cache, push, cacheAck: marks.lane() })
  for (const shardId of [0, 1]) marks.begin(shardId, 0)
})

function dispatch(eventName: string, sequence: number, shardId = 0): boolean {
  const isTaken = delivery.dispatch({
    shardId,
    shardCount: 4,
    sessionId: 'a',
    sequence,
    position: marks.position(shardId, sequence),
    eventName,
    guildClass: '',
    receivedAtMs: 0,
    bytes: new Uint8Array(),
    start: 0,
    end: 0,
  })
  if (isTaken) marks.receive(shardId, sequence)
  return isTaken
}

test('an event that touches rows leaves after its commit, one that touches none at once', () => {
  dispatch('GUILD_ROLE_CREATE', 1)
  dispatch('TYPING_START', 2)
  expect(push.left).toEqual([2])
  cache.onSettled(0, 1)
  expect(push.left).toEqual([2, 1])
})

test('the acknowledged sequence waits for the commit', () => {
  dispatch('GUILD_ROLE_CREATE', 1)
  dispatch('GUILD_ROLE_CREATE', 1, 1)
  cache.ticket = 2
  dispatch('GUILD_ROLE_CREATE', 2)
  expect(marks.acknowledged(0)).toBe(0)
  cache.onSettled(0, 1)
  expect([marks.acknowledged(0), marks.acknowledged(1)]).toEqual([1, 1])
  cache.onSettled(0, 2)
  expect(marks.acknowledged(0)).toBe(2)
})

test('a full queue refuses the event before anything is done with it', () => {
  push.isFull = true
  expect(dispatch('GUILD_ROLE_CREATE', 1)).toBe(false)
  push.isFull = false
  expect(dispatch('GUILD_ROLE_CREATE', 1)).toBe(true)
  expect(push.dropped).toEqual([])
})

test('a shard that sheds goes on and drops, until there is room again', () => {
  push.isFull = true
  delivery.shed(0)
  expect(dispatch('TYPING_START', 1)).toBe(true)
  expect(dispatch('TYPING_START', 1, 1)).toBe(false)
  expect(push.dropped).toEqual([1])
  push.isFull = false
  expect(dispatch('TYPING_START', 2)).toBe(true)
  push.isFull = true
  expect(dispatch('TYPING_START', 3)).toBe(false)
})

test('while Postgres is away pushes do not wait and the acknowledged sequence stands still', () => {
  dispatch('GUILD_ROLE_CREATE', 1)
  cache.onAway(0, true)
  expect(push.left).toEqual([1])
  dispatch('GUILD_ROLE_CREATE', 2)
  expect(push.left).toEqual([1, 2])
  expect(marks.acknowledged(0)).toBe(0)
  cache.onAway(0, false)
  cache.onSettled(0, 1)
  expect(marks.acknowledged(0)).toBe(2)
  cache.ticket = 2
  dispatch('GUILD_ROLE_CREATE', 3)
  expect(push.left).toEqual([1, 2])
})
