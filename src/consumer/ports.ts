/** What a source of events and the consumer owe each other. */
import type { Clock, Log, Random } from '../base/index.ts'
import type { EventStamp } from './event.ts'

/** An event as it was taken from its source. */
export interface TakenEvent {
  /** null: only an envelope in the payload says it. */
  readonly eventName: string | null
  /** undefined: only an envelope in the payload says it. */
  readonly stamp: EventStamp | undefined
  readonly payload: Buffer
  /** Done with it: it need not come again. */
  confirm(): void
}

/** Where a source puts what it took. */
export interface Intake {
  /** Events that may be taken and not confirmed. */
  readonly roomMax: number
  /** Events that may be taken now; 0 = wait for whenRoom(). */
  room(): number
  /** Resolves when there is room, or when the consumer stops. */
  whenRoom(): Promise<void>
  take(event: TakenEvent): void
  /** The source has ended for good: nothing will come any more. */
  fail(error: Error): void
}

export interface SourceContext {
  readonly intake: Intake
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

/** A Redis list, a stream group or a gRPC subscription. */
export interface EventSource {
  /** Begins to take. @throws ConsumerError when the first connection fails. */
  start(context: SourceContext): Promise<void>
  /** Takes no more; when it resolves nothing more is handed to the intake. */
  pause(): Promise<void>
  /** Sends what was confirmed, gives the rest back to whoever comes next, and ends. */
  close(): Promise<void>
}
