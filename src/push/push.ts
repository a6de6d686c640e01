import type { Destination, DestinationStats, PushEvent, Undelivered } from './ports.ts'

interface RoomWaiter {
  full: readonly Destination[]
  readonly resolve: () => void
}

/** All destinations of a gateway together. */
export class Push {
  #destinations: readonly Destination[] = []
  #blocking: readonly Destination[] = []
  readonly #waiters = new Set<RoomWaiter>()

  constructor(destinations: readonly Destination[]) {
    this.#set(destinations)
  }

  /** From the next event on `destinations` are all; who is no longer among them is the caller's to drain. */
  replace(destinations: readonly Destination[]): void {
    this.#set(destinations)
    for (const waiter of this.#waiters) {
      waiter.full = waiter.full.filter((destination) => destinations.includes(destination))
    }
    this.#onFreed()
  }

  #set(destinations: readonly Destination[]): void {
    this.#destinations = destinations
    this.#blocking = destinations.filter(
      ({ whenFull, isRequired }) => whenFull === 'block' || (whenFull === 'spill' && isRequired),
    )
    for (const destination of this.#blocking) destination.onFreed = () => this.#onFreed()
  }

  /**
   * Connects every destination; waits for the required ones.
   *
   * @throws PushError of the first one that cannot start; then all are closed.
   */
  async start(): Promise<void> {
    try {
      await Promise.all(this.#destinations.map((destination) => destination.start()))
    } catch (error) {
      await this.drain(0)
      throw error
    }
  }

  /** False while the queue of a destination that blocks is full. */
  hasRoom(): boolean {
    for (const destination of this.#blocking) if (!destination.hasRoom) return false
    return true
  }

  /** Resolves when half of every queue that is full now is free again; rejects when the signal is aborted. */
  whenRoom(signal: AbortSignal): Promise<void> {
    const full = this.#blocking.filter((destination) => !destination.hasRoom)
    if (full.length === 0) return Promise.resolve()
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason as Error)
        return
      }
      const onAbort = (): void => {
        this.#waiters.delete(waiter)
        reject(signal.reason as Error)
      }
      const waiter: RoomWaiter = {
        full,
        resolve: () => {
          this.#waiters.delete(waiter)
          signal.removeEventListener('abort', onAbort)
          resolve()
        },
      }
      signal.addEventListener('abort', onAbort, { once: true })
      this.#waiters.add(waiter)
    })
  }

  /**
   * Copies the event into the queues of the destinations that want it; where there is no room
   * its policy decides.
   *
   * @param lane   cache lane whose batch must be settled before the event may leave; -1: at once.
   * @param ticket that batch; ignored for lane -1.
   */
  push(event: PushEvent, lane: number, ticket: number): void {
    for (const destination of this.#destinations) destination.push(event, lane, ticket)
  }

  /** Batches of the lane up to this ticket are settled: what waited for them may leave. */
  settle(lane: number, ticket: number): void {
    for (const destination of this.#destinations) destination.settle(lane, ticket)
  }

  /** Delivers what it can within the time, closes, and says per destination what was left. */
  async drain(deadlineMs: number): Promise<{ readonly undelivered: readonly Undelivered[] }> {
    const undelivered = await Promise.all(
      this.#destinations.map((destination) => destination.drain(deadlineMs)),
    )
    return { undelivered: undelivered.filter((left) => left.events > 0) }
  }

  stats(): DestinationStats[] {
    return this.#destinations.map((destination) => destination.stats())
  }

  #onFreed(): void {
    for (const waiter of this.#waiters) {
      if (waiter.full.every((destination) => destination.isHalfFree)) waiter.resolve()
    }
  }
}
