/**
 * The shards of one process: starts one per claim, stops all on a fatal close code, saves their
 * acknowledged sequences, answers for their state.
 */
import type { SecureContext } from 'node:tls'
import { messageOf, sleep, within } from '../base/index.ts'
import type { Clock, Counters, Log, Random } from '../base/index.ts'
import type { AckMarks } from './ack-marks.ts'
import { CommandAnswers } from './commands/answers.ts'
import type { MembersProgress, MembersWanted } from './commands/member-requests.ts'
import { LANES } from './commands/scheduler.ts'
import type { Command, Ticket } from './commands/scheduler.ts'
import { sharedSecureContext } from './connection.ts'
import { Dispatcher } from './dispatcher.ts'
import type { EventObserver, Lifecycle } from './dispatcher.ts'
import { ShardError } from './errors.ts'
import { Inflaters } from './inflate.ts'
import type {
  DispatchSink,
  IdentifyGate,
  SessionStore,
  SpillHoldings,
  ShardClaim,
  ShardClaims,
} from './ports.ts'
import { SequenceSaver } from './sequence-saver.ts'
import { shardGauges, shardSeries } from './shard-series.ts'
import { SHARD_TIMEOUTS } from './shard-deps.ts'
import type { GapLog, ShardDeps, ShardSettings, ShardTimeouts } from './shard-deps.ts'
import { ShardMetrics } from './shard-metrics.ts'
import { Shard } from './shard.ts'
import type { ShardStatus } from './shard.ts'
import { ReadTurns } from './websocket/read-turns.ts'

export interface ShardManagerOptions {
  readonly settings: ShardSettings
  readonly claims: ShardClaims
  readonly gate: IdentifyGate
  readonly sessions: SessionStore
  readonly sink: DispatchSink
  readonly marks: AckMarks
  readonly lifecycle: Lifecycle
  readonly gaps: GapLog
  /** What lies on the disk of this worker. Default: nothing ever. */
  readonly spills?: SpillHoldings
  /** Told of what concerns the bot's voice connections, and of guilds that come late. */
  readonly observers?: readonly EventObserver[]
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly counters: Counters
  /** `DiscordBot (url, version)`; see [Discord Docs/API Reference#user-agent]. */
  readonly userAgent: string
  /** A close code that no reconnect heals; all shards are being closed. The caller then calls stop(). */
  readonly onFatal: (error: ShardError) => void
  /** Series per shard: about a dozen for each. Default: sums and extremes only. */
  readonly hasShardSeries?: boolean
  readonly timeouts?: Partial<ShardTimeouts>
  /** Bound of one payload in bytes, compressed and inflated. */
  readonly frameBytesMax?: number
  /** Trusted certificates (PEM) instead of Node's own. */
  readonly ca?: string
}

/** Discord's largest guilds come in a few MiB; a frame beyond this is an attack or a defect. */
const FRAME_BYTES_MAX = 64 << 20
const HANDSHAKE_TIMEOUT_MS = 10_000
/** Closing the connections, saving and releasing each get this much of the 10 s that a stop may take. */
const STOP_STEP_MS_MAX = 1500
/** A shard that is handed over shall be away for less than 2 s: so much for each step. */
const HANDOVER_STEP_MS_MAX = 500
const ACKNOWLEDGED_POLL_MS = 10
/** READY follows an IDENTIFY within a second or two. */
const HANDOVER_READY_MS_MAX = 5000
const STOP_READY_MS_MAX = 1000
/** Reconnects of n shards at once are spread over 2 ms each, within these bounds. */
const SPREAD_PER_SHARD_MS = 2
const SPREAD_MS_MIN = 50
const SPREAD_MS_MAX = 1500

export class ShardManager {
  readonly #claims: ShardClaims
  readonly #log: Log
  readonly #deps: ShardDeps
  readonly #saver: SequenceSaver
  readonly #shards = new Map<number, Shard>()
  readonly #stopping = new AbortController()
  readonly #onFatal: (error: ShardError) => void
  #stopped: Promise<void> | null = null

  constructor(options: ShardManagerOptions) {
    const { settings, clock, random, log, counters, sessions, gate, sink, marks } = options
    const { lifecycle, gaps } = options
    this.#claims = options.claims
    this.#log = log
    this.#onFatal = options.onFatal
    const frameBytesMax = options.frameBytesMax ?? FRAME_BYTES_MAX
    const secureContext: SecureContext = sharedSecureContext(options.ca)
    const inflaters = new Inflaters(frameBytesMax)
    if (!inflaters.isFast(settings.query.compress)) {
      log.warn('synchronous inflate is not available on this Node: using the slower stream API')
    }
    const metrics = new ShardMetrics(counters)
    this.#deps = {
      settings,
      timeouts: { ...SHARD_TIMEOUTS, ...options.timeouts },
      clock,
      random,
      log,
      metrics,
      transport: {
        inflaters,
        userAgent: options.userAgent,
        frameBytesMax,
        secureContext,
        turns: new ReadTurns(clock),
        handshakeTimeoutMs: HANDSHAKE_TIMEOUT_MS,
        clock,
        traffic: metrics.traffic,
      },
      dispatcher: new Dispatcher({
        shardCount: settings.shardCount,
        marks,
        lifecycle,
        sink,
        observers: [
          new CommandAnswers((shardId) => this.#shards.get(shardId)),
          ...(options.observers ?? []),
        ],
        clock,
      }),
      marks,
      lifecycle,
      sink,
      sessions,
      gate,
      gaps,
      spreadMs: () =>
        Math.max(SPREAD_MS_MIN, Math.min(SPREAD_MS_MAX, this.#shards.size * SPREAD_PER_SHARD_MS)),
      onFatal: (error) => this.#fail(error),
      onForgotten: (shardId) => this.#forget(shardId),
    }
    this.#saver = new SequenceSaver({
      clock,
      log,
      counters,
      sessions,
      sources: () => this.#shards.values(),
      spills: options.spills,
    })
    const statuses = (): ShardStatus[] => this.status()
    shardGauges(counters, statuses)
    counters.series('gateway_commands_waiting', (add) => {
      for (const lane of LANES) {
        let count = 0
        for (const shard of this.#shards.values()) count += shard.waitingCount(lane)
        add(count, { lane })
      }
    })
    if (options.hasShardSeries === true) shardSeries(counters, statuses)
  }

  /** Claims shards and runs them until stop(). */
  start(): void {
    this.#saver.start()
    this.#claims
      .run((claim) => this.#onClaim(claim), this.#stopping.signal)
      .catch((error: unknown) => {
        if (this.#stopping.signal.aborted) return
        this.#log.error('shards can no longer be claimed', { error: messageOf(error) })
      })
  }

  /**
   * Ends in this order: all connections closed so that their sessions live on, `drain` (flush what was
   * read), acknowledged sequences saved, claims released.
   */
  stop(drain: () => Promise<void> = () => Promise.resolve()): Promise<void> {
    this.#stopped ??= this.#stop(drain)
    return this.#stopped
  }

  /** A new connection for the shard's session; no identify. */
  restart(shardId: number): void {
    this.#shard(shardId).restart()
  }

  /** A store has seen a higher fence for the shard: closes and forgets it. Unknown shards are ignored. */
  lose(shardId: number): void {
    this.#shards.get(shardId)?.lose()
  }

  /**
   * Sends one command (op 3, 4, 31, 43) on the shard's connection, within Discord's limits.
   *
   * @throws ShardError SHARD_NOT_OWNED, SHARD_NOT_READY, SHARD_SEND_QUEUE_FULL
   */
  submit(shardId: number, command: Command): Ticket {
    return this.#shard(shardId).submit(command)
  }

  /**
   * Asks for members of a guild of the shard (op 8); see MemberRequests.request.
   *
   * @throws ShardError SHARD_NOT_OWNED, SHARD_NOT_READY, SHARD_SEND_QUEUE_FULL, SHARD_NONCE_TAKEN
   */
  requestMembers(
    shardId: number,
    wanted: MembersWanted,
    listener: (progress: MembersProgress) => void,
  ): void {
    this.#shard(shardId).requestMembers(wanted, listener)
  }

  /** Shards with a session that takes commands. */
  readyShards(): number[] {
    return [...this.#shards.values()]
      .filter(({ stateName }) => stateName === 'ready')
      .map(({ shardId }) => shardId)
  }

  /** Every shard that this process holds, by id. */
  status(): ShardStatus[] {
    return [...this.#shards.values()]
      .map((shard) => shard.status())
      .sort((a, b) => a.shardId - b.shardId)
  }

  #shard(shardId: number): Shard {
    const shard = this.#shards.get(shardId)
    if (shard === undefined) {
      throw new ShardError('SHARD_NOT_OWNED', `Shard ${shardId} is not held by this process.`, {
        shardId,
      })
    }
    return shard
  }

  #onClaim(claim: ShardClaim): void {
    const shard = new Shard(this.#deps, claim)
    this.#shards.set(claim.shardId, shard)
    claim.handover.addEventListener('abort', () => void this.#handOver(shard), { once: true })
    void shard.start()
  }

  /** Stops reading, lets what was read be acknowledged, saves that, and lets the next owner have the shard. */
  async #handOver(shard: Shard): Promise<void> {
    const { clock, marks, lifecycle } = this.#deps
    const { shardId } = shard
    await this.#afterReady(shard, HANDOVER_READY_MS_MAX)
    await within(clock, shard.stop(), HANDOVER_STEP_MS_MAX)
    const deadline = clock.monotonic() + HANDOVER_STEP_MS_MAX
    // What is not acknowledged by then Discord replays to the next owner.
    while (marks.acknowledged(shardId) < marks.received(shardId) && clock.monotonic() < deadline) {
      await sleep(clock, ACKNOWLEDGED_POLL_MS)
    }
    await within(clock, this.#saver.save(), HANDOVER_STEP_MS_MAX)
    if (this.#shards.get(shardId) !== shard) return
    this.#shards.delete(shardId)
    lifecycle.forget(shardId)
    this.#log.info('handed over', { shardId })
    await this.#release(shard)
  }

  /** Closed without READY, an IDENTIFY is spent for nothing, and the next owner spends another. */
  async #afterReady(shard: Shard, ms: number): Promise<void> {
    const { clock } = this.#deps
    const deadline = clock.monotonic() + ms
    while (shard.stateName === 'identifying' && clock.monotonic() < deadline) {
      await sleep(clock, ACKNOWLEDGED_POLL_MS)
    }
  }

  #forget(shardId: number): void {
    const shard = this.#shards.get(shardId)
    if (shard === undefined) return
    this.#shards.delete(shardId)
    this.#log.warn('the shard is no longer ours: closed and forgotten', { shardId })
    void this.#release(shard)
  }

  #release(shard: Shard): Promise<void> {
    return shard.claim.release().catch((error: unknown) => {
      this.#log.warn('a claim could not be released', {
        shardId: shard.shardId,
        error: messageOf(error),
      })
    })
  }

  #fail(error: ShardError): void {
    if (this.#stopping.signal.aborted) return
    this.#log.error('Discord closed a shard for good: all shards are stopped', {
      code: error.code,
      error: error.message,
    })
    this.#stopping.abort()
    for (const shard of this.#shards.values()) void shard.stop()
    this.#onFatal(error)
  }

  async #stop(drain: () => Promise<void>): Promise<void> {
    this.#stopping.abort()
    this.#saver.stop()
    const shards = [...this.#shards.values()]
    // A store that hangs must not keep the others from being flushed and saved.
    const { clock } = this.#deps
    const stopped = shards.map(async (shard) => {
      await this.#afterReady(shard, STOP_READY_MS_MAX)
      await shard.stop()
    })
    await within(clock, Promise.all(stopped), STOP_STEP_MS_MAX)
    try {
      await drain()
    } finally {
      await within(clock, this.#saver.save(), STOP_STEP_MS_MAX)
      await within(
        clock,
        Promise.all(shards.map((shard) => this.#release(shard))),
        STOP_STEP_MS_MAX,
      )
    }
  }
}
