/**
 * Whether this process works (/healthz) and whether it does its whole job (/readyz).
 *
 * Liveness looks at nothing outside: Postgres, Redis or Discord being away is no reason to restart a process
 * that reads on and keeps what it has. Readiness says that too.
 */
import { type Clock, type Timer, within } from '../../src/base/index.ts'
import type { DestinationConfig } from '../../src/config/index.ts'
import type { DestinationStats } from '../../src/push/index.ts'
import type { Health, HealthCheck, HealthChecks } from '../../src/server/index.ts'
import type { ShardStatus } from '../../src/shard/index.ts'

const TICK_MS = 1000
/** A loop that stood still for longer cannot have kept its heartbeats. */
const LOOP_DELAY_MS_MAX = 15_000
/** Such a delay is told of for so long, so that a probe every few seconds sees it. */
const DELAY_MEMORY_MS = 10_000
/** A shard hears an ACK per interval; one without is closed at the second beat. Beyond that nobody watches it. */
const SILENT_INTERVALS = 2
const SILENT_MARGIN_MS = 15_000
/** States that no timer ends while frames come: in all others the state machine is waiting for something. */
const HEARD_STATES: ReadonlySet<ShardStatus['state']> = new Set([
  'identifying',
  'resuming',
  'ready',
])
const READY_SHARE_MIN = 0.9
const DATABASE_MS_MAX = 2000
const NAMED_MAX = 20

export interface GatewayHealthDeps {
  readonly clock: Clock
  readonly shards: () => readonly ShardStatus[]
  readonly destinations: () => readonly DestinationConfig[]
  readonly stats: () => readonly DestinationStats[]
  /** Answers when the database does. */
  readonly askDatabase: () => Promise<unknown>
  readonly guildsAwaited: () => number
  /** A worker of a fleet may hold no shard and still be ready for some. */
  readonly isInFleet: boolean
}

export class GatewayHealth implements Health {
  readonly #deps: GatewayHealthDeps
  readonly #loop: LoopWatch
  #database: Promise<boolean> | null = null

  constructor(deps: GatewayHealthDeps) {
    this.#deps = deps
    this.#loop = new LoopWatch(deps.clock)
  }

  stop(): void {
    this.#loop.stop()
  }

  live(): HealthChecks {
    return { loop: this.#loop.check(), shards: this.#silence() }
  }

  async ready(): Promise<HealthChecks> {
    return {
      shards: this.#share(),
      destinations: this.#destinations(),
      database: await this.#askDatabase(),
      guilds: this.#guilds(),
    }
  }

  #silence(): HealthCheck {
    const shards = this.#deps.shards()
    const silent = shards.filter(
      ({ state, lastFrameAgeMs, heartbeatIntervalMs }) =>
        HEARD_STATES.has(state) &&
        lastFrameAgeMs !== null &&
        lastFrameAgeMs > SILENT_INTERVALS * heartbeatIntervalMs + SILENT_MARGIN_MS,
    )
    return {
      isOk: silent.length === 0,
      reason:
        silent.length === 0
          ? 'no shard is silent beyond its heartbeat'
          : `${silent.length} shards hear nothing from Discord and nothing ends their connections`,
      details: {
        held: shards.length,
        silent: silent.slice(0, NAMED_MAX).map(({ shardId }) => shardId),
      },
    }
  }

  #share(): HealthCheck {
    const shards = this.#deps.shards()
    const ready = shards.filter(({ state }) => state === 'ready').length
    const details = { held: shards.length, ready }
    if (shards.length === 0) {
      return {
        isOk: this.#deps.isInFleet,
        reason: this.#deps.isInFleet ? 'no shard is held here' : 'no shard is claimed yet',
        details,
      }
    }
    const share = ready / shards.length
    return {
      isOk: share >= READY_SHARE_MIN,
      reason: `${ready} of ${shards.length} shards are READY, ${READY_SHARE_MIN * 100} % are asked for`,
      details,
    }
  }

  #destinations(): HealthCheck {
    const isUp = new Map(this.#deps.stats().map((stats) => [stats.destination, stats.isUp]))
    // Subscribers come to the gateway: without one there is nothing that could be reached.
    const asked = this.#deps.destinations().filter(({ kind }) => kind !== 'grpc-subscribe')
    const away = asked.filter(({ name }) => isUp.get(name) !== true)
    const awayRequired = away.filter(({ isRequired }) => isRequired).map(({ name }) => name)
    return {
      isOk: awayRequired.length === 0,
      reason:
        awayRequired.length === 0
          ? 'every required destination answers'
          : `no answer from ${awayRequired.join(', ')}`,
      details: { away: away.map(({ name }) => name) },
    }
  }

  async #askDatabase(): Promise<HealthCheck> {
    const { clock, askDatabase } = this.#deps
    // One question at a time, however many probes ask.
    this.#database ??= within(clock, askDatabase(), DATABASE_MS_MAX)
      .catch(() => false)
      .finally(() => {
        this.#database = null
      })
    const isOk = await this.#database
    return { isOk, reason: isOk ? 'the database answers' : 'the database does not answer' }
  }

  #guilds(): HealthCheck {
    const awaited = this.#deps.guildsAwaited()
    return {
      isOk: awaited === 0,
      reason:
        awaited === 0
          ? 'every announced guild has come'
          : `${awaited} guilds that READY announced are still to come`,
      details: { awaited },
    }
  }
}

/** How late the event loop was, in the last seconds. */
class LoopWatch {
  readonly #clock: Clock
  #timer: Timer | undefined
  #dueAt = 0
  #worstMs = 0
  #worstAt = Number.NEGATIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
    this.#arm()
  }

  stop(): void {
    this.#clock.clearTimeout(this.#timer)
  }

  check(): HealthCheck {
    const now = this.#clock.monotonic()
    const isRecent = now - this.#worstAt < DELAY_MEMORY_MS
    const delayMs = Math.round(Math.max(now - this.#dueAt, isRecent ? this.#worstMs : 0, 0))
    return {
      isOk: delayMs <= LOOP_DELAY_MS_MAX,
      reason:
        delayMs <= LOOP_DELAY_MS_MAX
          ? 'the event loop runs'
          : `the event loop stood still for ${delayMs} ms`,
      details: { delayMs },
    }
  }

  #arm(): void {
    this.#dueAt = this.#clock.monotonic() + TICK_MS
    this.#timer = this.#clock.setTimeout(() => {
      const now = this.#clock.monotonic()
      const delayMs = now - this.#dueAt
      if (delayMs > this.#worstMs || now - this.#worstAt >= DELAY_MEMORY_MS) {
        this.#worstMs = delayMs
        this.#worstAt = now
      }
      this.#arm()
    }, TICK_MS)
  }
}
