import type { AckLane, AckLanes } from './ports.ts'
import { grown } from './grown.ts'

/**
 * Completes events towards the acknowledgement in order, although keys complete them in any order: a
 * key that Redis refuses must not let a later event of its shard look like the end of what is through.
 *
 * One chain of slots per shard and lane, oldest first. Each slot carries the position up to which the
 * chain is through once the slot itself is; a slot that completes early hands its own to its elder.
 *
 *   slots        5 ── 8 ── 9          8 completes:  5 ── 9        5 completes:  9
 *   through      5    8    9                        8    9        done(8)       9
 */
export class AckChains {
  readonly #lanes: readonly [AckLane, AckLane]
  /** By chain = shard × 2 + lane. */
  #head = new Int32Array(128).fill(-1)
  #tail = new Int32Array(128).fill(-1)
  /** By slot. */
  #previous = new Int32Array(0)
  #next = new Int32Array(0)
  #through = new Float64Array(0)

  constructor(lanes: AckLanes) {
    this.#lanes = [lanes.direct, lanes.afterCache]
  }

  /** Makes room for slots below `capacity`. */
  grow(capacity: number): void {
    this.#previous = grown(this.#previous, capacity)
    this.#next = grown(this.#next, capacity)
    this.#through = grown(this.#through, capacity)
  }

  /** @param lane 0 = direct, 1 = after the cache. */
  submit(slot: number, shardId: number, lane: 0 | 1, position: number): void {
    const chain = shardId * 2 + lane
    while (chain >= this.#head.length) {
      const length = this.#head.length
      this.#head = grown(this.#head, length * 2).fill(-1, length)
      this.#tail = grown(this.#tail, length * 2).fill(-1, length)
    }
    const elder = this.#tail[chain]!
    this.#previous[slot] = elder
    this.#next[slot] = -1
    this.#through[slot] = position
    this.#tail[chain] = slot
    if (elder === -1) this.#head[chain] = slot
    else this.#next[elder] = slot
    this.#lanes[lane].submit(shardId, position)
  }

  complete(slot: number, shardId: number, lane: 0 | 1): void {
    const chain = shardId * 2 + lane
    const elder = this.#previous[slot]!
    const younger = this.#next[slot]!
    if (younger === -1) this.#tail[chain] = elder
    else this.#previous[younger] = elder
    if (elder === -1) {
      this.#head[chain] = younger
      this.#lanes[lane].done(shardId, this.#through[slot]!)
    } else {
      this.#next[elder] = younger
      this.#through[elder] = this.#through[slot]!
    }
  }
}
