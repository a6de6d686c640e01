import type { Clock, Log, Timer } from '../base/index.ts'
import type { AckLane, AckLanes } from './ports.ts'

/** A destination that nobody waits for holds the acknowledged sequence no longer than this, in ticks. */
const TICK_MS = 1000
const RELEASE_TICKS = 10

/**
 * The acknowledgement of a destination that is not required. While it accepts events it is like any
 * other: what it has not accepted comes again after a crash. When it accepts nothing of a shard for 10 s,
 * it holds that shard's acknowledged sequence no longer: after an hour Discord would refuse to resume
 * there, for the sake of one dead address. What its queue holds then lives in this process only.
 */
export class OptionalAcks {
  readonly lanes: AckLanes
  readonly #lanes: readonly OptionalLane[]
  readonly #clock: Clock
  readonly #log: Log
  #timer: Timer | undefined
  #isReleased = false

  constructor(deps: {
    readonly destination: string
    readonly acks: AckLanes
    readonly clock: Clock
    readonly log: Log
  }) {
    this.#clock = deps.clock
    this.#log = deps.log.child({ destination: deps.destination })
    const direct = new OptionalLane(deps.acks.direct, () => this.#watch())
    const afterCache = new OptionalLane(deps.acks.afterCache, () => this.#watch())
    this.lanes = { direct, afterCache }
    this.#lanes = [direct, afterCache]
  }

  close(): void {
    this.#clock.clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #watch(): void {
    this.#timer ??= this.#clock.setTimeout(this.#tick, TICK_MS)
  }

  readonly #tick = (): void => {
    this.#timer = undefined
    for (const lane of this.#lanes) lane.tick()
    const isReleased = this.#lanes.some((lane) => lane.releasedShards > 0)
    if (isReleased !== this.#isReleased) {
      this.#isReleased = isReleased
      if (isReleased) {
        this.#log.warn('accepts nothing: acknowledging without it; a crash would lose its queue')
      } else {
        this.#log.info('accepts events again: acknowledging with it')
      }
    }
    if (isReleased || this.#lanes.some((lane) => lane.isOpen)) this.#watch()
  }
}

class OptionalLane implements AckLane {
  /** Shards that are acknowledged without the destination. */
  releasedShards = 0
  /** By shard. */
  readonly #submitted: number[] = []
  readonly #completed: number[] = []
  /** Ticks without an acceptance while something is open. */
  readonly #waited: number[] = []
  readonly #released: boolean[] = []
  readonly #inner: AckLane
  readonly #onOpen: () => void

  constructor(inner: AckLane, onOpen: () => void) {
    this.#inner = inner
    this.#onOpen = onOpen
  }

  get isOpen(): boolean {
    return this.#submitted.some((position, shardId) => this.#completed[shardId]! < position)
  }

  submit(shardId: number, position: number): void {
    if (this.#submitted[shardId] === undefined) {
      this.#completed[shardId] = 0
      this.#waited[shardId] = 0
      this.#released[shardId] = false
    }
    this.#submitted[shardId] = position
    this.#inner.submit(shardId, position)
    if (this.#released[shardId]) this.#inner.done(shardId, position)
    this.#onOpen()
  }

  done(shardId: number, position: number): void {
    this.#completed[shardId] = position
    this.#waited[shardId] = 0
    if (this.#released[shardId]) {
      this.#released[shardId] = false
      this.releasedShards--
    }
    this.#inner.done(shardId, position)
  }

  tick(): void {
    for (const [shardId, position] of this.#submitted.entries()) {
      if (position === undefined || this.#released[shardId]) continue
      if (this.#completed[shardId]! >= position) {
        this.#waited[shardId] = 0
      } else if (++this.#waited[shardId]! >= RELEASE_TICKS) {
        this.#released[shardId] = true
        this.releasedShards++
        this.#inner.done(shardId, position)
      }
    }
  }
}
