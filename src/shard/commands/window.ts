/** At most `max` of something in any `windowMs`, as a sliding log of the last `max` times. */
import type { Clock } from '../../base/index.ts'

export class Window {
  readonly #clock: Clock
  readonly #windowMs: number
  /** Ring: the oldest is overwritten next. */
  readonly #times: Float64Array
  #next = 0

  constructor(clock: Clock, max: number, windowMs: number) {
    this.#clock = clock
    this.#windowMs = windowMs
    this.#times = new Float64Array(max).fill(Number.NEGATIVE_INFINITY)
  }

  record(): void {
    this.#times[this.#next] = this.#clock.monotonic()
    this.#next = (this.#next + 1) % this.#times.length
  }

  /** Milliseconds until the next one may happen; 0: now. */
  waitMs(): number {
    return Math.max(0, this.#times[this.#next]! + this.#windowMs - this.#clock.monotonic())
  }
}
