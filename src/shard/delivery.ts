/**
 * The way of a dispatch behind the shard: rows to the cache, bytes to the queues, and what came of it
 * back to the acknowledgement marks.
 *
 *   dispatch ─┬─ touches rows ──► cache.write ──► ticket ─┐
 *             │                                           ├─► push queue (held) ──settle──► leaves
 *             └─ touches none ────────────────────────────┴─► push queue (at once)
 *
 * An event that changes the cache leaves after its rows are committed, so that a bot that asks State sees
 * what it was told. While Postgres is away pushes stop waiting; the acknowledged sequence stands still.
 */
import type { AckLane, Dispatch, DispatchSink, EventCache, EventPush } from './ports.ts'

/** What one batch of a cache lane holds: the last position of each shard in it. */
interface PendingBatch {
  ticket: number
  readonly positions: Map<number, number>
}

export class Delivery implements DispatchSink {
  readonly #cache: EventCache
  readonly #push: EventPush
  readonly #cacheAck: AckLane
  /** Unsettled batches by cache lane, oldest first. */
  readonly #pending: PendingBatch[][]
  readonly #isAway: boolean[]
  readonly #shedding = new Set<number>()

  constructor(deps: {
    readonly cache: EventCache
    readonly push: EventPush
    /** A lane of the marks for what the cache commits. */
    readonly cacheAck: AckLane
  }) {
    this.#cache = deps.cache
    this.#push = deps.push
    this.#cacheAck = deps.cacheAck
    this.#pending = Array.from({ length: deps.cache.laneCount }, () => [])
    this.#isAway = Array.from({ length: deps.cache.laneCount }, () => false)
    deps.cache.onSettled = (lane, ticket) => this.#onSettled(lane, ticket)
    deps.cache.onAway = (lane, isAway) => this.#onAway(lane, isAway)
  }

  dispatch(event: Dispatch): boolean {
    if (!this.#push.hasRoom()) {
      if (!this.#shedding.has(event.shardId)) return false
    } else if (this.#shedding.size > 0) {
      this.#shedding.delete(event.shardId)
    }
    if (!this.#cache.touches(event.eventName)) {
      this.#push.push(event, -1, 0)
      return true
    }
    const lane = this.#cache.laneOf(event.shardId)
    this.#cacheAck.submit(event.shardId, event.position)
    const ticket = this.#cache.write(event)
    this.#remember(lane, ticket, event)
    this.#push.push(event, lane, ticket)
    if (this.#isAway[lane]) this.#push.settle(lane, ticket)
    return true
  }

  whenRoom(signal: AbortSignal): Promise<void> {
    return this.#push.whenRoom(signal)
  }

  shed(shardId: number): void {
    this.#shedding.add(shardId)
  }

  #remember(lane: number, ticket: number, event: Dispatch): void {
    const batches = this.#pending[lane]!
    let batch = batches.at(-1)
    if (batch === undefined || batch.ticket !== ticket) {
      batch = { ticket, positions: new Map() }
      batches.push(batch)
    }
    batch.positions.set(event.shardId, event.position)
  }

  #onSettled(lane: number, ticket: number): void {
    this.#push.settle(lane, ticket)
    const batches = this.#pending[lane]!
    let count = 0
    while (count < batches.length && batches[count]!.ticket <= ticket) {
      for (const [shardId, position] of batches[count]!.positions) {
        this.#cacheAck.done(shardId, position)
      }
      count++
    }
    batches.splice(0, count)
  }

  #onAway(lane: number, isAway: boolean): void {
    this.#isAway[lane] = isAway
    const last = this.#pending[lane]!.at(-1)
    if (isAway && last !== undefined) this.#push.settle(lane, last.ticket)
  }
}
