/** What the dashboard shows, as its page reads it: one JSON object per second. */

export interface Snapshot {
  readonly atMs: number
  readonly fleet: string
  /** Why what is told of the workers is only as it was last known; '' when it is not. */
  readonly staleBecause: string
  readonly workers: readonly {
    readonly id: string
    readonly version: string
    readonly shards: number
    readonly isDraining: boolean
    readonly isReachable: boolean
    readonly eventRate: number
  }[]
  /** A letter of STATE_LETTERS per shard: 10,000 shards are 10 KB. */
  readonly states: string
  /** The index of the owner in `workers` plus 48 as a character; '/' (47) for nobody. */
  readonly owners: string
  readonly eventRate: number
  /** Events per second by name, the most frequent first. */
  readonly events: readonly (readonly [name: string, rate: number])[]
  readonly destinations: readonly {
    readonly worker: string
    readonly name: string
    readonly isUp: boolean
    readonly lagSeconds: number
    readonly queuedEvents: number
    readonly deliveredRate: number
    readonly droppedEvents: number
  }[]
  readonly identifies: {
    readonly total: number
    readonly left: number
    readonly used: number
    readonly reserve: number
    readonly resetAfterMs: number
    readonly maxConcurrency: number
    readonly waiting: number
    readonly stoppedBy: string
  } | null
  /** The newest first. */
  readonly happenings: readonly {
    readonly atMs: number
    readonly level: string
    readonly worker: string
    readonly message: string
    readonly shard: number
    readonly fields: string
  }[]
}

/** One shard, when somebody looks at it. */
export interface ShardDetail {
  readonly shard: number
  readonly state: string
  readonly worker: string
  readonly heartbeatRttMs: number
  readonly lastEventAgeMs: number
  readonly eventRate: number
  readonly received: number
  readonly lag: number
  readonly movingTo: string
}

export const STATE_LETTERS: Readonly<Record<string, string>> = {
  ready: 'r',
  resuming: 's',
  identifying: 'i',
  proving: 'v',
  connecting: 'c',
  queued: 'q',
  waiting: 'w',
  parked: 'p',
  idle: 'd',
  unowned: 'u',
  unknown: 'x',
  stopped: 't',
  failed: 'f',
}

export type DashboardAction =
  | { readonly action: 'restart'; readonly shard: number }
  | { readonly action: 'move'; readonly shard: number; readonly worker: string }
  | { readonly action: 'drain' | 'undrain'; readonly worker: string }

/** The fleet as the listener sees it; cmd/gateway implements it. */
export interface DashboardSource {
  /** Rejects when this worker cannot say. */
  snapshot(): Promise<Snapshot>
  shard(shardId: number): Promise<ShardDetail | null>
  /** Rejects with an error whose message is for the operator. */
  act(action: DashboardAction): Promise<void>
}
