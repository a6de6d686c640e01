/** How long shards were without a reader, watched while it happens. */
import type { Sim } from '../../sim/index.ts'

const POLL_MS = 5

export class Absence {
  readonly #sim: Sim
  readonly #shardCount: number
  readonly #awaySince = new Map<number, number>()
  #longestMs = 0
  readonly #timer: NodeJS.Timeout

  constructor(sim: Sim, shardCount: number) {
    this.#sim = sim
    this.#shardCount = shardCount
    this.#timer = setInterval(() => this.#look(), POLL_MS)
  }

  /** Of any shard, what still goes on included. */
  stop(): number {
    clearInterval(this.#timer)
    this.#look()
    const now = performance.now()
    for (const since of this.#awaySince.values()) {
      this.#longestMs = Math.max(this.#longestMs, now - since)
    }
    return this.#longestMs
  }

  #look(): void {
    const now = performance.now()
    const read = new Set<number>()
    for (const session of this.#sim.sessions) {
      if (session.reader !== null && session.end === null) read.add(session.shardId)
    }
    for (let shard = 0; shard < this.#shardCount; shard++) {
      const since = this.#awaySince.get(shard)
      if (!read.has(shard)) {
        if (since === undefined) this.#awaySince.set(shard, now)
      } else if (since !== undefined) {
        this.#longestMs = Math.max(this.#longestMs, now - since)
        this.#awaySince.delete(shard)
      }
    }
  }
}
