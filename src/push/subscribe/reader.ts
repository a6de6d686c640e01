import type { EventWindow } from './event-window.ts'
import type { Subscription } from './subscribe-request.ts'
import type { SubscriptionFilter } from './subscription-filter.ts'

/** A server stream of gateway.Event, as grpc-js hands it to a handler. */
export interface EventStream {
  /** False: wait for 'drain'. The callback comes when the message has left for the connection. */
  write(message: Buffer, onWritten: () => void): boolean
  /** Ends the stream with a status. */
  end(code: number, details: string): void
}

/** Who reads the window at a pace of its own: a subscriber's stream, or a durable subscription with its streams. */
export interface Reader {
  readonly subscription: Subscription
  readonly filter: SubscriptionFilter
  /** Everything before this ordinal is through for it, or is not for it. */
  readonly floor: number
  readonly hasPending: boolean
  readonly written: number
  /** Writes what is for it, as long as a stream takes more. */
  pump(window: EventWindow): void
  /** Ends its streams that make no progress. @returns whether it has ended altogether. */
  endStalled(nowMs: number): boolean
  /** Ends its streams. */
  end(code: number, details: string): void
}

/**
 * The next ordinal from `next` on that the filter lets through; window.end when there is none.
 */
export function nextWanted(filter: SubscriptionFilter, window: EventWindow, next: number): number {
  while (next < window.end && !window.isTakenBy(filter, next)) next++
  return next
}
