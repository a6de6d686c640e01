/**
 * Turns on one connection: transactions one at a time, in order; single statements between them, together.
 */
export class Turns {
  #lastExclusive: Promise<unknown> = Promise.resolve()
  readonly #shared = new Set<Promise<unknown>>()

  /** Runs alone: after everything that was asked for before, before everything asked for later. */
  take<T>(work: () => Promise<T>): Promise<T> {
    const turn = Promise.all([this.#lastExclusive, ...this.#shared]).then(work)
    this.#lastExclusive = turn.catch(() => undefined)
    return turn
  }

  /** Runs beside others of its kind. */
  share<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#lastExclusive.then(work)
    const settled: Promise<unknown> = turn
      .catch(() => undefined)
      .finally(() => this.#shared.delete(settled))
    this.#shared.add(settled)
    return turn
  }
}
