/**
 * Discord's limit on what one connection sends, as a sliding log: it allows bursts and never exceeds
 * 120 events in any 60 s. Heartbeats always pass; room for them is kept free of commands.
 * See [Discord Docs/Gateway#rate-limiting].
 *
 *   log (ring of 120 times)   | 3.1 | 3.2 | … | oldest | … |      the oldest is overwritten next
 */
import { SEND_EVENTS_MAX, SEND_WINDOW_MS } from '../../discord/index.ts'
import type { Clock } from '../../base/index.ts'

/** Answers to op 1, and the IDENTIFY or RESUME, come on top of the regular beats. */
const EXTRA_RESERVED = 3
/** However short the interval, commands keep half of the window. */
const RESERVED_MAX = SEND_EVENTS_MAX / 2

export class SendLimiter {
  readonly #clock: Clock
  readonly #times = new Float64Array(SEND_EVENTS_MAX).fill(Number.NEGATIVE_INFINITY)
  #next = 0
  #reserved: number = EXTRA_RESERVED

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** A new connection: an empty log, and HELLO's interval to reserve for. */
  reset(heartbeatIntervalMs: number): void {
    this.#times.fill(Number.NEGATIVE_INFINITY)
    this.#next = 0
    this.#reserved = Math.min(
      RESERVED_MAX,
      Math.ceil(SEND_WINDOW_MS / heartbeatIntervalMs) + EXTRA_RESERVED,
    )
  }

  /** Something was sent. */
  record(): void {
    this.#times[this.#next] = this.#clock.monotonic()
    this.#next = (this.#next + 1) % SEND_EVENTS_MAX
  }

  /**
   * Milliseconds until a command may be sent; 0: now.
   *
   * @param ahead commands that go before it: what they take of the window that is not in the log yet counts too.
   */
  waitMs(ahead = 0): number {
    // A command may go when, with it, at most 120 - reserved lie in the window: so the entry that many
    // places back must have left it.
    const room = SEND_EVENTS_MAX - this.#reserved
    const windows = Math.floor(ahead / room)
    const back = room - (ahead % room)
    const index = (this.#next - back + SEND_EVENTS_MAX * 2) % SEND_EVENTS_MAX
    const now = this.#clock.monotonic()
    return Math.max(0, this.#times[index]! + SEND_WINDOW_MS - now) + windows * SEND_WINDOW_MS
  }
}
