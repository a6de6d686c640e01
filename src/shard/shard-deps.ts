/** What a shard is given: one object per process, shared by all its shards. */
import type { Clock, Log, Random, Secret } from '../base/index.ts'
import type { AckMarks } from './ack-marks.ts'
import type { Transport } from './connection.ts'
import type { Dispatcher, Lifecycle } from './dispatcher.ts'
import type { ShardError } from './errors.ts'
import type { ConnectionQuery, DispatchSink, IdentifyGate, SessionStore } from './ports.ts'
import type { ShardMetrics } from './shard-metrics.ts'

/** Where lost events are counted; by shape, see gaps.ts. */
export interface GapLog {
  gap(gap: {
    readonly shardId: number
    readonly sessionId: string
    readonly from: number
    /** Null where only Discord knows it. */
    readonly to: number | null
    readonly cause: string
  }): void
}

export interface ShardSettings {
  readonly token: Secret
  readonly shardCount: number
  readonly intents: number
  /** Of new sessions; a stored session is resumed with its own. */
  readonly query: ConnectionQuery
  /** From GET /gateway/bot, without query. */
  readonly gatewayUrl: string
  /** 50 to 250; Discord's default is 50. */
  readonly largeThreshold?: number
  /** Initial presence, as Discord's Gateway Presence Update structure. */
  readonly presence?: unknown
}

export interface ShardTimeouts {
  /** From the start of the connection to HELLO. */
  readonly helloMs: number
  /** For the proof of ownership, and for the record of an identify. */
  readonly proveMs: number
  /** Silence beyond one heartbeat interval while READY or RESUMED is due. */
  readonly silenceMs: number
  /** How long a parked shard waits for room: a session lives about 90 s without a connection. */
  readonly parkMs: number
  /** First wait and longest wait between attempts. */
  readonly backoffBaseMs: number
  readonly backoffMaxMs: number
}

export const SHARD_TIMEOUTS: ShardTimeouts = {
  helloMs: 20_000,
  proveMs: 15_000,
  silenceMs: 15_000,
  parkMs: 45_000,
  backoffBaseMs: 1000,
  backoffMaxMs: 30_000,
}

export interface ShardDeps {
  readonly settings: ShardSettings
  readonly timeouts: ShardTimeouts
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly metrics: ShardMetrics
  readonly transport: Transport
  readonly dispatcher: Dispatcher
  readonly marks: AckMarks
  readonly lifecycle: Lifecycle
  readonly sink: DispatchSink
  readonly sessions: SessionStore
  readonly gate: IdentifyGate
  readonly gaps: GapLog
  /** Reconnects of many shards at once are spread over this time. */
  readonly spreadMs: () => number
  readonly onFatal: (error: ShardError) => void
  readonly onForgotten: (shardId: number) => void
}
