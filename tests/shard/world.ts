/** Everything around a shard, in memory: stores, permits, sink, gaps; each can be told to misbehave. */
import {
  memoryCounters,
  Secret,
  seededRandom,
  silentLog,
  systemClock,
} from '../../src/base/index.ts'
import type { Log } from '../../src/base/index.ts'
import { MemoryClaims } from '../../src/cluster/index.ts'
import { AckMarks, ShardManager } from '../../src/shard/index.ts'
import type {
  AcknowledgedSequence,
  ConnectionQuery,
  Dispatch,
  DispatchSink,
  Fence,
  Gap,
  IdentifyGate,
  IdentifyPermit,
  IdentifyWhy,
  SessionStore,
  ShardClaims,
  ShardError,
  ShardManagerOptions,
  SpillHolding,
  StoredSession,
} from '../../src/shard/index.ts'

export class MemorySessions implements SessionStore {
  readonly rows = new Map<number, StoredSession>()
  readonly fences = new Map<number, Fence>()
  readonly lost = new Set<number>()
  readonly calls: string[] = []
  spills: readonly SpillHolding[] = []
  failure: Error | null = null

  async takeOver(
    shardId: number,
    fence: Fence,
  ): Promise<{ owned: boolean; session: StoredSession | null }> {
    this.#enter(`takeOver ${shardId}`)
    this.fences.set(shardId, fence)
    return { owned: !this.lost.has(shardId), session: this.rows.get(shardId) ?? null }
  }

  async saveSession(shardId: number, _fence: Fence, session: StoredSession): Promise<boolean> {
    this.#enter(`saveSession ${shardId}`)
    if (this.lost.has(shardId)) return false
    this.rows.set(shardId, session)
    return true
  }

  async dropSession(shardId: number, _fence: Fence, sessionId: string): Promise<boolean> {
    this.#enter(`dropSession ${shardId}`)
    if (this.rows.get(shardId)?.sessionId === sessionId) this.rows.delete(shardId)
    return !this.lost.has(shardId)
  }

  async saveAcknowledged(
    entries: readonly AcknowledgedSequence[],
    spills: readonly SpillHolding[],
  ): Promise<number[]> {
    this.#enter('saveAcknowledged')
    if (spills.length > 0) this.spills = spills
    for (const { shardId, sessionId, sequence } of entries) {
      const row = this.rows.get(shardId)
      if (row?.sessionId === sessionId && row.sequence < sequence) {
        this.rows.set(shardId, { ...row, sequence })
      }
    }
    return entries.map(({ shardId }) => shardId).filter((shardId) => this.lost.has(shardId))
  }

  async holds(shardId: number): Promise<boolean> {
    this.#enter(`holds ${shardId}`)
    return !this.lost.has(shardId)
  }

  #enter(call: string): void {
    this.calls.push(call)
    if (this.failure !== null) throw this.failure
  }
}

/** Grants at once and writes down what became of each permit. */
class OpenGate implements IdentifyGate {
  readonly history: string[] = []
  failure: Error | null = null

  async acquire(shardId: number): Promise<IdentifyPermit> {
    this.history.push(`acquire ${shardId}`)
    return {
      commit: async (why: IdentifyWhy) => {
        if (this.failure !== null) throw this.failure
        this.history.push(`commit ${shardId} ${why}`)
      },
      release: (outcome) => {
        this.history.push(`release ${shardId} ${outcome}`)
      },
    }
  }
}

export interface SeenEvent {
  readonly shardId: number
  readonly sessionId: string
  readonly sequence: number
  readonly position: number
  readonly eventName: string
  readonly guildClass: string
  readonly d: Buffer
}

class ArraySink implements DispatchSink {
  readonly events: SeenEvent[] = []
  readonly shedding: number[] = []
  isFull = false
  /** Thrown for events of this name. */
  poison = '(none)'
  #onRoom: (() => void)[] = []

  dispatch(event: Dispatch): boolean {
    if (event.eventName === this.poison) throw new Error('cannot be read')
    if (this.isFull && !this.shedding.includes(event.shardId)) return false
    const { shardId, sessionId, sequence, position, eventName, guildClass } = event
    const d = Buffer.from(event.bytes.subarray(event.start, event.end))
    this.events.push({ shardId, sessionId, sequence, position, eventName, guildClass, d })
    return true
  }

  whenRoom(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#onRoom.push(resolve)
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
    })
  }

  shed(shardId: number): void {
    this.shedding.push(shardId)
  }

  room(): void {
    this.isFull = false
    for (const resolve of this.#onRoom.splice(0)) resolve()
  }

  get names(): string[] {
    return this.events.map(({ eventName }) => eventName)
  }

  get sequences(): number[] {
    return this.events.map(({ sequence }) => sequence)
  }
}

export class World {
  readonly sessions = new MemorySessions()
  readonly gate = new OpenGate()
  readonly sink = new ArraySink()
  readonly counters = memoryCounters()
  readonly gaps: Gap[] = []
  readonly fatal: ShardError[] = []
  readonly managers: ShardManager[] = []
  shardCount = 1

  /** A process's worth of shards; a second one on the same world is a restart. */
  manager(
    gatewayUrl: string,
    options: {
      readonly query?: Partial<ConnectionQuery>
      readonly intents?: number
      readonly gate?: IdentifyGate
      readonly log?: Log
      readonly timeouts?: ShardManagerOptions['timeouts']
      readonly frameBytesMax?: number
      readonly claims?: ShardClaims
      readonly ca?: string
      readonly token?: string
      readonly marks?: AckMarks
    } = {},
  ): ShardManager {
    const { shardCount } = this
    const marks = options.marks ?? new AckMarks(shardCount)
    const manager = new ShardManager({
      settings: {
        token: new Secret(options.token ?? 'token'),
        shardCount,
        intents: options.intents ?? 1,
        query: { v: 10, encoding: 'etf', compress: 'zlib-stream', ...options.query },
        gatewayUrl,
      },
      claims:
        options.claims ??
        new MemoryClaims({
          epoch: 1,
          start: 0,
          stop: shardCount,
          shardCount,
          holds: (shardId) => this.sessions.holds(shardId),
        }),
      gate: options.gate ?? this.gate,
      sessions: this.sessions,
      sink: this.sink,
      marks,
      lifecycle: {
        load: () => Promise.resolve(),
        ready: () => undefined,
        classify: () => 'available',
        forget: () => undefined,
      },
      gaps: { gap: (gap) => this.gaps.push(gap) },
      clock: systemClock,
      random: seededRandom(1),
      log: options.log ?? silentLog,
      counters: this.counters,
      userAgent: 'DiscordBot (https://example.org, 1.0)',
      onFatal: (error) => this.fatal.push(error),
      timeouts: { backoffBaseMs: 20, backoffMaxMs: 100, ...options.timeouts },
      ...(options.ca === undefined ? {} : { ca: options.ca }),
      ...(options.frameBytesMax === undefined ? {} : { frameBytesMax: options.frameBytesMax }),
    })
    this.managers.push(manager)
    manager.start()
    return manager
  }

  async stop(): Promise<void> {
    await Promise.all(this.managers.map((manager) => manager.stop()))
  }
}
