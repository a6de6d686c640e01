import type { Wanted } from './event-filter.ts'
/**
 * What the room takes and gives, by shape: the shard's dispatch comes in, acknowledgements and drops go
 * out, and every kind of destination looks the same from outside.
 */

/** One event on its way to the queues. The object and its bytes are valid only during the call. */
export interface PushEvent {
  readonly shardId: number
  readonly shardCount: number
  readonly sessionId: string
  readonly sequence: number
  /** Counts up over all sessions of the shard in this process; what is acknowledged. */
  readonly position: number
  readonly eventName: string
  /** Class of a GUILD_CREATE or GUILD_DELETE; '' for every other event. */
  readonly guildClass: string
  /** Wall time in ms at which the frame was read. */
  readonly receivedAtMs: number
  /** The term `d` in ETF, without version byte: bytes[start, end). */
  readonly bytes: Uint8Array
  readonly start: number
  readonly end: number
}

/** Where a destination says what it has taken and what is through. */
export interface AckLane {
  submit(shardId: number, position: number): void
  /** Everything of the shard that this lane took, up to this position, is accepted, or dropped and counted. */
  done(shardId: number, position: number): void
}

/** The two lanes of one destination: its events that leave at once, and those that wait for the cache. */
export interface AckLanes {
  readonly direct: AckLane
  readonly afterCache: AckLane
}

/**
 * What happens to an event when the queue is full: it waits on the disk, the oldest that waits makes room for it, it is dropped
 * itself, or the shards are parked until there is room (docs/architecture.md#back-pressure).
 */
export type WhenFull = 'spill' | 'drop-oldest' | 'drop-new' | 'block'

/** An event that a destination wanted and will never get: one event of a gap. */
export interface PushDrop {
  readonly destination: string
  readonly shardId: number
  readonly sessionId: string
  readonly sequence: number
  readonly eventName: string
  /** `queue_full`, `age`, `event_name`, `event_names_max`, `encoding`, `refused`, `slow_subscriber`: docs/metrics.md. */
  readonly cause: string
}

/** What was still held when a destination was closed. */
export interface Undelivered {
  readonly destination: string
  readonly events: number
  readonly bytes: number
  /** Those of them that lie on the disk: the next start delivers them, late. */
  readonly spilledEvents: number
}

export interface DestinationStats {
  readonly destination: string
  readonly isUp: boolean
  /** Held: waiting for the cache, for a flush, or for an answer. */
  readonly queuedEvents: number
  readonly queuedBytes: number
  /** On the disk, and not in the queue. */
  readonly spilledEvents: number
  /** Memory that the payloads occupy, freed parts and spare chunks included. */
  readonly arenaBytes: number
  /** taken = delivered + dropped + queued + spilled; what found no room or no readable name is in both sums. */
  readonly takenEvents: number
  readonly deliveredEvents: number
  readonly droppedEvents: number
  readonly flushes: number
  readonly retries: number
}

/** One place that events go to, with a bounded queue of its own. None ever slows another. */
export interface Destination {
  readonly name: string
  /** Whether the start waits for it, and the acknowledgement for its acceptance however long that takes. */
  readonly isRequired: boolean
  /** A full queue here stops the shards with `block`. */
  readonly whenFull: WhenFull
  /** False while the queue has reached its events or its bytes. */
  readonly hasRoom: boolean
  /** Whether at most half of the events and of the bytes are taken. */
  readonly isHalfFree: boolean
  /** Set by the push; called when entries left the queue. */
  onFreed: () => void
  push(event: PushEvent, lane: number, ticket: number): void
  settle(lane: number, ticket: number): void
  /** @param waits whether it resolves only when it is reached; default: where it is required. */
  start(waits?: boolean): Promise<void>
  /** From now on other events are wanted; what is held stays. */
  setWanted(wanted: Wanted): void
  /** Delivers what it can within the time, then closes. */
  drain(deadlineMs: number): Promise<Undelivered>
  stats(): DestinationStats
}
