import type { Clock, Timer } from '../../src/base/index.ts'

interface Pending {
  readonly id: number
  readonly at: number
  readonly fn: () => void
}

/** Time that moves only when the test says so. */
export class FakeClock implements Clock {
  #nowMs = 1_700_000_000_000
  #monotonicMs = 1_000
  #nextId = 1
  #pending: Pending[] = []

  now(): number {
    return this.#nowMs
  }

  monotonic(): number {
    return this.#monotonicMs
  }

  get timerCount(): number {
    return this.#pending.length
  }

  setTimeout(fn: () => void, ms: number): Timer {
    const id = this.#nextId++
    this.#pending.push({ id, at: this.#monotonicMs + ms, fn })
    return id
  }

  clearTimeout(timer: Timer | undefined): void {
    this.#pending = this.#pending.filter((pending) => pending.id !== timer)
  }

  /** Moves both clocks, running what falls due in order; promises settle between timers. */
  async advance(ms: number): Promise<void> {
    const target = this.#monotonicMs + ms
    for (;;) {
      await settle()
      const due = this.#pending
        .filter((pending) => pending.at <= target)
        .sort((a, b) => a.at - b.at || a.id - b.id)[0]
      if (due === undefined) break
      this.#pending = this.#pending.filter((pending) => pending !== due)
      this.#nowMs += Math.max(0, due.at - this.#monotonicMs)
      this.#monotonicMs = Math.max(this.#monotonicMs, due.at)
      due.fn()
    }
    this.#nowMs += target - this.#monotonicMs
    this.#monotonicMs = target
    await settle()
  }

  /** Time passes and no timer runs, as for a process that was stopped. */
  stall(ms: number): void {
    this.#nowMs += ms
    this.#monotonicMs += ms
  }

  /** The wall clock jumps; monotonic time does not. */
  jump(ms: number): void {
    this.#nowMs += ms
  }
}

/** Lets promise chains and setImmediate callbacks run. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
}
