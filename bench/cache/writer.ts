/** Our cache, told events as a shard's read loop tells them: a turn of the event loop never takes many at once. */
import { setImmediate } from 'node:timers/promises'
import { memoryCounters, seededRandom, silentLog, systemClock } from '../../src/base/index.ts'
import {
  type CacheWriter,
  createCacheWriter,
  type Database,
  Fleet,
  SessionStore,
} from '../../src/cache/index.ts'
import { ALL_INTENTS } from '../../src/discord/index.ts'
import { type BenchEvent, SHARDS } from './events.ts'

/** What a socket brings in a turn. */
const TURN_BYTES = 64 * 1024
export const BENCH_FENCE = { epoch: 1, revision: 1 }
const IDENTITY = { name: 'bench', botUserId: 1n }

export class BenchWriter {
  readonly #writer: CacheWriter
  readonly #problems: string[] = []

  private constructor(writer: CacheWriter, problems: string[]) {
    this.#writer = writer
    this.#problems = problems
  }

  /** @param store  where the shards are claimed; null: whoever writes is believed. */
  static async open(
    database: Database,
    store: Database | null,
    laneCount: number,
  ): Promise<BenchWriter> {
    const problems: string[] = []
    const fleet = store === null ? ({ name: 'bench' } as Fleet) : await Fleet.open(store, IDENTITY)
    const writer = await createCacheWriter({
      database,
      fleet,
      intents: ALL_INTENTS,
      shardCount: SHARDS,
      clock: systemClock,
      random: seededRandom(1),
      log: silentLog,
      counters: memoryCounters(),
      laneCount,
      onFenceLost: (shardId) => problems.push(`shard ${shardId} lost its fence`),
      onGap: ({ cause }) => problems.push(cause),
    })
    if (store !== null) {
      const sessions = new SessionStore({ database: store, fleet, owner: 'bench', log: silentLog })
      for (let shard = 0; shard < SHARDS; shard++) await sessions.takeOver(shard, BENCH_FENCE)
      await sessions.close()
    }
    for (let shard = 0; shard < SHARDS; shard++) writer.claim(shard, BENCH_FENCE)
    return new BenchWriter(writer, problems)
  }

  /** Tells all and waits until they are committed. @throws Error when something was lost */
  async write(events: readonly BenchEvent[]): Promise<void> {
    let bytes = 0
    for (const event of events) {
      this.#writer.write(event as Parameters<CacheWriter['write']>[0])
      bytes += event.end
      if (bytes < TURN_BYTES) continue
      bytes = 0
      await setImmediate()
    }
    await this.#writer.flush()
    if (this.#problems.length > 0) throw new Error(this.#problems.join(', '))
  }

  /** Each event in a transaction of its own. */
  async writeOneByOne(events: readonly BenchEvent[]): Promise<void> {
    for (const event of events) {
      this.#writer.write(event as Parameters<CacheWriter['write']>[0])
      await this.#writer.flush()
    }
  }

  close(): Promise<void> {
    return this.#writer.close()
  }
}
