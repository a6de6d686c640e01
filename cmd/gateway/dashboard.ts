/**
 * What the dashboard shows: asked by gRPC of this worker's own listener, as gatewayctl would ask it, so that every worker shows the
 * whole fleet and the page has no way of its own into the program.
 */
import type { Clock, Secret } from '../../src/base/index.ts'
import {
  type DashboardAction,
  type DashboardSource,
  ServerError,
  type ShardDetail,
  type Snapshot,
  STATE_LETTERS,
  type WorkerActivity,
} from '../../src/server/index.ts'
import { CallError, FleetClient } from '../gatewayctl/client.ts'

interface FleetStatus {
  readonly fleet: string
  readonly stale_because: string
  readonly workers: readonly {
    readonly id: string
    readonly version: string
    readonly shards: number
    readonly is_draining: boolean
    readonly is_reachable: boolean
  }[]
  readonly shards: readonly {
    readonly shard: number
    readonly worker: string
    readonly state: string
    readonly received: string
    readonly lag: string
    readonly last_event_age_ms: string
    readonly heartbeat_rtt_ms: string
    readonly event_rate: number
    readonly moving_to: string
  }[]
}

interface IdentifiesStatus {
  readonly total: number
  readonly left: number
  readonly used: number
  readonly reserve: number
  readonly reset_after_ms: string
  readonly max_concurrency: number
  readonly workers: readonly { readonly waiting: number; readonly stopped_by: string }[]
}

/** Codes of characters: '0' is the first worker, '/' nobody. */
const FIRST_OWNER = 48
const HAPPENINGS_MAX = 60
const EVENTS_MAX = 12
const RATE_MS_MIN = 800
/** Budget and identifies are read from Postgres: not every second. */
const IDENTIFIES_INTERVAL_MS = 5000

interface Totals {
  readonly atMs: number
  readonly events: ReadonlyMap<string, number>
  readonly delivered: ReadonlyMap<string, number>
}

export class FleetDashboard implements DashboardSource {
  readonly #client: FleetClient
  readonly #clock: Clock
  #status: FleetStatus | null = null
  #before: Totals | null = null
  #identifies: IdentifiesStatus | null = null
  #identifiesAt = Number.NEGATIVE_INFINITY

  constructor(deps: {
    /** Of this worker's own gRPC listener. */
    readonly address: string
    readonly adminToken: Secret | null
    readonly clock: Clock
  }) {
    this.#clock = deps.clock
    this.#client = new FleetClient({ ...deps, addresses: [deps.address] })
  }

  close(): void {
    this.#client.close()
  }

  async snapshot(): Promise<Snapshot> {
    const [status, activity] = await Promise.all([
      this.#client.call<FleetStatus>('fleet', 'Status'),
      this.#client.call<{ workers: WorkerActivity[] }>('activity', 'Read'),
      this.#readIdentifies(),
    ])
    this.#status = status
    const index = new Map(status.workers.map(({ id }, at) => [id, at]))
    const rates = new Map<string, number>()
    let states = ''
    let owners = ''
    for (const { state, worker, event_rate: rate } of status.shards) {
      states += STATE_LETTERS[state] ?? 'x'
      owners += String.fromCharCode(FIRST_OWNER + (index.get(worker) ?? -1))
      rates.set(worker, (rates.get(worker) ?? 0) + rate)
    }
    const now = totalsOf(activity.workers, this.#clock.monotonic())
    const before = this.#before ?? now
    // Two snapshots in quick succession: rates over so short a time would jump.
    if (before === now || now.atMs - before.atMs >= RATE_MS_MIN) this.#before = now
    const seconds = (now.atMs - before.atMs) / 1000
    const rateOf = (of: 'events' | 'delivered', key: string): number =>
      seconds <= 0
        ? 0
        : Math.max(0, (now[of].get(key) ?? 0) - (before[of].get(key) ?? now[of].get(key) ?? 0)) /
          seconds
    const events = [...now.events.keys()]
      .map((name): [string, number] => [name, rateOf('events', name)])
      .sort((a, b) => b[1] - a[1])
    return {
      atMs: this.#clock.now(),
      fleet: status.fleet,
      staleBecause: status.stale_because,
      workers: status.workers.map((worker) => ({
        id: worker.id,
        version: worker.version,
        shards: worker.shards,
        isDraining: worker.is_draining,
        isReachable: worker.is_reachable,
        eventRate: rates.get(worker.id) ?? 0,
      })),
      states,
      owners,
      eventRate: events.reduce((sum, [, rate]) => sum + rate, 0),
      events: events.slice(0, EVENTS_MAX),
      destinations: activity.workers.flatMap(({ worker, destinations }) =>
        destinations.map((one) => ({
          worker,
          name: one.name,
          isUp: one.is_up,
          lagSeconds: one.lag_seconds,
          queuedEvents: one.queued_events,
          deliveredRate: rateOf('delivered', `${worker} ${one.name}`),
          droppedEvents: one.dropped_events,
        })),
      ),
      identifies: this.#identifiesShown(),
      happenings: activity.workers
        .flatMap(({ worker, happenings }) =>
          happenings.map(({ at_ms: atMs, ...same }) => ({ ...same, worker, atMs })),
        )
        .sort((a, b) => b.atMs - a.atMs)
        .slice(0, HAPPENINGS_MAX),
    }
  }

  async shard(shardId: number): Promise<ShardDetail | null> {
    const status = this.#status ?? (await this.#client.call<FleetStatus>('fleet', 'Status'))
    const found = status.shards[shardId]
    if (found === undefined) return null
    return {
      shard: shardId,
      state: found.state,
      worker: found.worker,
      heartbeatRttMs: Number(found.heartbeat_rtt_ms),
      lastEventAgeMs: Number(found.last_event_age_ms),
      eventRate: found.event_rate,
      received: Number(found.received),
      lag: Number(found.lag),
      movingTo: found.moving_to,
    }
  }

  async act(action: DashboardAction): Promise<void> {
    try {
      if (action.action === 'restart') {
        await this.#client.call('gateway', 'RestartShard', { shard: action.shard })
      } else if (action.action === 'move') {
        const { shard, worker } = action
        await this.#client.call('fleet', 'MoveShard', { shard, worker })
      } else {
        const method = action.action === 'drain' ? 'DrainWorker' : 'UndrainWorker'
        await this.#client.call('fleet', method, { worker: action.worker })
      }
    } catch (error) {
      if (!(error instanceof CallError)) throw error
      throw new ServerError('SERVER_BAD_REQUEST', error.message, {}, { cause: error })
    }
  }

  async #readIdentifies(): Promise<void> {
    if (this.#clock.monotonic() - this.#identifiesAt < IDENTIFIES_INTERVAL_MS) return
    this.#identifiesAt = this.#clock.monotonic()
    // While Postgres is away the rest of the page goes on.
    this.#identifies = await this.#client
      .call<IdentifiesStatus>('fleet', 'Identifies')
      .catch(() => null)
  }

  #identifiesShown(): Snapshot['identifies'] {
    const told = this.#identifies
    if (told === null) return null
    const { total, left, used, reserve, workers } = told
    return {
      total,
      left,
      used,
      reserve,
      resetAfterMs: Number(told.reset_after_ms),
      maxConcurrency: told.max_concurrency,
      waiting: workers.reduce((sum, { waiting }) => sum + waiting, 0),
      stoppedBy: workers.map(({ stopped_by: by }) => by).find((by) => by !== '') ?? '',
    }
  }
}

function totalsOf(workers: readonly WorkerActivity[], atMs: number): Totals {
  const events = new Map<string, number>()
  const delivered = new Map<string, number>()
  for (const { worker, events: counts, destinations } of workers) {
    for (const [name, count] of Object.entries(counts)) {
      events.set(name, (events.get(name) ?? 0) + count)
    }
    for (const { name, delivered_events: count } of destinations) {
      delivered.set(`${worker} ${name}`, count)
    }
  }
  return { atMs, events, delivered }
}
