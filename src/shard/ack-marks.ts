/**
 * Which sequence of each shard is acknowledged: accepted by every destination and committed by the cache.
 *
 * Each lane (the cache; per destination one for events that waited for the cache and one for those that
 * did not) handles a shard's events in order, so two numbers per lane and shard are enough:
 *
 *   positions of a shard   1 2 3 4 5 6 7 8 9        received = 9
 *   lane A submitted       x . x . x . . . .        submitted = 5, done = 3 → holds back to 3
 *   lane B submitted       . x . x . . x . .        submitted = 7, done = 7 → idle, holds back nothing
 *   acknowledged                                    min(3, 9) = 3
 *
 * Positions count up over sessions (`base` moves at each READY), so a late completion of an old session's
 * batch can never acknowledge anything of the new one.
 */
import type { AckLane } from './ports.ts'

class Lane implements AckLane {
  readonly submitted: Float64Array
  readonly completed: Float64Array
  readonly #received: Float64Array

  constructor(received: Float64Array) {
    this.submitted = new Float64Array(received.length)
    this.completed = new Float64Array(received.length)
    this.#received = received
  }

  /** Called before the position is received. */
  submit(shardId: number, position: number): void {
    // An idle lane has nothing to say of what was received since it became idle.
    if (this.completed[shardId]! >= this.submitted[shardId]!) {
      this.completed[shardId] = Math.max(this.completed[shardId]!, this.#received[shardId]!)
    }
    this.submitted[shardId] = position
  }

  done(shardId: number, position: number): void {
    if (position > this.completed[shardId]!) this.completed[shardId] = position
  }
}

export class AckMarks {
  #lanes: readonly Lane[] = []
  readonly #received: Float64Array
  readonly #base: Float64Array

  constructor(shardCount: number) {
    this.#received = new Float64Array(shardCount)
    this.#base = new Float64Array(shardCount)
  }

  /** Adds a lane. */
  lane(): AckLane {
    const lane = new Lane(this.#received)
    this.#lanes = [...this.#lanes, lane]
    return lane
  }

  /** What is outstanding in the lane holds nothing back any more. */
  remove(lane: AckLane): void {
    this.#lanes = this.#lanes.filter((one) => one !== lane)
  }

  /**
   * A session begins or, after a take-over, goes on at `sequence`.
   * Positions of the new session lie above all earlier ones.
   */
  begin(shardId: number, sequence: number): void {
    const top = this.#received[shardId]!
    this.#base[shardId] = top
    this.#received[shardId] = top + sequence
    for (const lane of this.#lanes) {
      // An idle lane stays idle: nothing of the new session was submitted to it yet.
      if (lane.completed[shardId]! >= lane.submitted[shardId]!)
        lane.completed[shardId] = top + sequence
    }
  }

  position(shardId: number, sequence: number): number {
    return this.#base[shardId]! + sequence
  }

  /** The shard has read the event: it is with the lanes, or nobody wants it. */
  receive(shardId: number, sequence: number): void {
    const position = this.#base[shardId]! + sequence
    if (position > this.#received[shardId]!) this.#received[shardId] = position
  }

  /** Highest sequence read in the current session: for a RESUME by this process. */
  received(shardId: number): number {
    return this.#received[shardId]! - this.#base[shardId]!
  }

  /** Highest sequence below which nothing is outstanding: for the session row and for heartbeats. */
  acknowledged(shardId: number): number {
    let position = this.#received[shardId]!
    for (const lane of this.#lanes) {
      const done = lane.completed[shardId]!
      if (lane.submitted[shardId]! > done && done < position) position = done
    }
    return Math.max(0, position - this.#base[shardId]!)
  }
}
