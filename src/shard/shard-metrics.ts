/** The counters of the shard room; docs/metrics.md lists them. Handles are looked up once. */
import type { Counter, Counters } from '../base/index.ts'
import { EVENT_NAMES } from '../discord/index.ts'
import type { Traffic } from './connection.ts'
import { BAD_FRAME_CAUSES } from './frame-sink.ts'
import type { BadFrameCause } from './frame-sink.ts'
import type { IdentifyWhy } from './ports.ts'

export class ShardMetrics {
  /** Of all connections together. */
  readonly traffic: Traffic
  readonly #counters: Counters
  readonly #events = new Map<string, Counter>()
  readonly #otherEvents: Counter
  readonly #badFrames: ReadonlyMap<BadFrameCause, Counter>
  readonly repeated: Counter
  readonly unexpected: Counter
  readonly connections: Counter
  readonly unreachable: Counter
  readonly zombies: Counter
  readonly parked: Counter
  readonly resumes: Counter
  readonly resumed: Counter
  readonly resumesLost: Counter
  readonly replayed: Counter

  constructor(counters: Counters) {
    this.#counters = counters
    const bytes = (form: string): Counter =>
      counters.counter('gateway_received_bytes_total', { form })
    this.traffic = { compressed: bytes('compressed'), inflated: bytes('inflated') }
    for (const event of EVENT_NAMES) {
      this.#events.set(event, counters.counter('gateway_events_received_total', { event }))
    }
    // Discord adds events at any time; a label per unknown name would have no bound.
    this.#otherEvents = counters.counter('gateway_events_received_total', { event: 'other' })
    this.#badFrames = new Map(
      BAD_FRAME_CAUSES.map((cause) => [
        cause,
        counters.counter('gateway_frames_bad_total', { cause }),
      ]),
    )
    this.repeated = counters.counter('gateway_events_repeated_total')
    this.unexpected = counters.counter('gateway_payloads_unexpected_total')
    this.connections = counters.counter('gateway_connections_total')
    this.unreachable = counters.counter('gateway_connections_failed_total')
    this.zombies = counters.counter('gateway_connections_zombie_total')
    this.parked = counters.counter('gateway_shard_parks_total')
    this.resumes = counters.counter('gateway_resumes_total', { outcome: 'sent' })
    this.resumed = counters.counter('gateway_resumes_total', { outcome: 'resumed' })
    this.resumesLost = counters.counter('gateway_resumes_total', { outcome: 'lost' })
    this.replayed = counters.counter('gateway_events_replayed_total')
  }

  event(name: string): void {
    const counter = this.#events.get(name) ?? this.#otherEvents
    counter.value++
  }

  badFrame(cause: BadFrameCause): void {
    const counter = this.#badFrames.get(cause)
    if (counter !== undefined) counter.value++
  }

  identify(why: IdentifyWhy): void {
    this.#counters.counter('gateway_identifies_total', { why }).value++
  }

  /** A connection has ended and the shard will open another one. */
  reconnect(cause: string): void {
    this.#counters.counter('gateway_reconnects_total', { cause }).value++
  }

  /** A command was handed to Discord. */
  sent(op: number): void {
    this.#counters.counter('gateway_commands_sent_total', { op: String(op) }).value++
  }

  rateLimited(op: number): void {
    this.#counters.counter('gateway_commands_rate_limited_total', { op: String(op) }).value++
  }

  /** Close frames from Discord; the codes are Discord's few, anything else is `other`. */
  closed(closeCode: number): void {
    const known = closeCode === 1000 || closeCode === 1001 || closeCode === 1006
    const code = known || (closeCode >= 4000 && closeCode <= 4014) ? String(closeCode) : 'other'
    this.#counters.counter('gateway_closes_total', { code }).value++
  }
}
