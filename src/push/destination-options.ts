import type { Clock, Counters, Log } from '../base/index.ts'
import type { QueueLimits } from './event-queue.ts'
import type { FilterRule } from './filter-rule.ts'
import type { AckLanes, PushDrop, WhenFull } from './ports.ts'
import type { Spill } from './spill/spill.ts'

/** What every destination is made of, whatever it writes to. */
export interface DestinationOptions {
  /** Label in logs and metrics. */
  readonly name: string
  /** Names to push, or that may be subscribed to; undefined = all. */
  readonly events?: readonly string[] | undefined
  /** What any of these lets through; undefined = everything. */
  readonly rules?: readonly FilterRule[] | undefined
  readonly limits: QueueLimits
  /** Whether the start and the acknowledgement wait for it. Default true. */
  readonly isRequired?: boolean | undefined
  /** Open; with `spill` only. */
  readonly spill?: Spill | undefined
  /** Default `block`. */
  readonly whenFull?: WhenFull | undefined
  readonly acks: AckLanes
  readonly onDrop: (drop: PushDrop) => void
  readonly clock: Clock
  readonly log: Log
  readonly counters: Counters
}
