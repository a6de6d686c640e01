/**
 * The parts of a gateway that keep State, told events as a shard tells them: classified by the lifecycle, written under a
 * fence, acknowledged when they are committed. Discord's replay is the ledger behind the acknowledged sequence.
 */
import { memoryCounters, type Random, silentLog } from '../../../src/base/index.ts'
import {
  type CacheWriter,
  createCacheWriter,
  type Database,
  Fleet,
  GuildMembership,
  SessionStore,
} from '../../../src/cache/index.ts'
import type { StateKind } from '../../../src/discord/index.ts'
import { type Dispatch, GuildLifecycle } from '../../../src/shard/index.ts'
import type { LedgerLine } from '../../e2e/checker/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const FLEET = { name: 'property', botUserId: 1_100_000_000_000_000_001n }
const PUMP_MS = 25

export class PropertyGateway {
  readonly #writer: CacheWriter
  readonly #lifecycle: GuildLifecycle
  readonly #store: SessionStore
  readonly #clock: FakeClock
  readonly #unexpected: string[]

  private constructor(
    writer: CacheWriter,
    lifecycle: GuildLifecycle,
    store: SessionStore,
    clock: FakeClock,
    unexpected: string[],
  ) {
    this.#writer = writer
    this.#lifecycle = lifecycle
    this.#store = store
    this.#clock = clock
    this.#unexpected = unexpected
  }

  /** Takes every shard over. @param unexpected  gets what must not happen: lost fences and events. */
  static async start(options: {
    readonly database: Database
    readonly random: Random
    readonly shardCount: number
    readonly intents: number
    readonly kinds: readonly StateKind[]
    readonly unexpected: string[]
  }): Promise<PropertyGateway> {
    const { database, random, shardCount, intents, kinds, unexpected } = options
    const clock = new FakeClock()
    const fleet = await Fleet.open(database, FLEET)
    await fleet.saveCached(kinds)
    await fleet.saveShape({ shardCount, intents })
    const fence = { epoch: await fleet.raiseEpoch('memory'), revision: 1 }
    const writer: CacheWriter = await createCacheWriter({
      database,
      fleet,
      intents,
      kinds,
      shardCount,
      clock,
      random,
      log: silentLog,
      counters: memoryCounters(),
      onFenceLost: (shardId) => unexpected.push(`shard ${shardId} lost its fence`),
      onGap: (gap) => unexpected.push(`the cache lost ${gap.from}: ${gap.cause}`),
    })
    const lifecycle = new GuildLifecycle({
      membership: new GuildMembership({ database, fleet }),
      log: silentLog,
      onLeft: (shardId, guildIds, isDoubtful) => writer.writeLeft(shardId, guildIds, isDoubtful),
    })
    const store = new SessionStore({ database, fleet, owner: 'property', log: silentLog })
    for (let shardId = 0; shardId < shardCount; shardId++) {
      await store.takeOver(shardId, fence)
      writer.claim(shardId, fence)
      await lifecycle.load(shardId, shardCount)
    }
    return new PropertyGateway(writer, lifecycle, store, clock, unexpected)
  }

  deliver(line: LedgerLine): void {
    const event: Dispatch = {
      shardId: line.shard,
      shardCount: line.shardCount,
      position: line.s,
      receivedAtMs: 0,
      guildClass: '',
      sessionId: line.session,
      sequence: line.s,
      eventName: line.t,
      bytes: line.d!,
      start: 0,
      end: line.d!.length,
    }
    // As the shard does it: who left is told before the READY itself.
    if (line.t === 'READY') this.#lifecycle.ready(event)
    const guildClass = this.#lifecycle.classify(event)
    if (this.#writer.touches(line.t)) this.#writer.write({ ...event, guildClass })
  }

  /** Events of the shard are lost for good. */
  miss(shardId: number): void {
    this.#writer.markMissed(shardId)
  }

  /** Until everything that was delivered is committed, whatever fails meanwhile. */
  async flush(): Promise<void> {
    let isDone = false
    const done = this.#writer.flush().finally(() => {
      isDone = true
    })
    while (!isDone) await this.#clock.advance(PUMP_MS)
    await done
  }

  /** kill -9: what is not committed is gone; a transaction under way may or may not be. */
  async kill(isWriting: boolean): Promise<void> {
    if (isWriting) {
      this.#writer.flush().catch((error: unknown) => this.#unexpected.push(String(error)))
      await this.#clock.advance(PUMP_MS)
    }
    await this.#writer.close()
    await this.#store.close()
  }
}
