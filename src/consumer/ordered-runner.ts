/** Runs jobs at once up to a bound, those with the same key one after the other in the order in which they came. */
export class OrderedRunner {
  readonly #concurrency: number
  /** Key → what waits for the job of this key that is ready or runs. */
  readonly #lanes = new Map<string, (() => Promise<void>)[]>()
  readonly #ready: { readonly key: string; readonly job: () => Promise<void> }[] = []
  #running = 0

  constructor(concurrency: number) {
    this.#concurrency = concurrency
  }

  get running(): number {
    return this.#running
  }

  /** @param job never rejects. */
  add(key: string, job: () => Promise<void>): void {
    const lane = this.#lanes.get(key)
    if (lane !== undefined) {
      lane.push(job)
      return
    }
    this.#lanes.set(key, [])
    this.#ready.push({ key, job })
    this.#next()
  }

  #next(): void {
    while (this.#running < this.#concurrency) {
      const next = this.#ready.shift()
      if (next === undefined) return
      this.#running++
      void next.job().then(() => this.#finished(next.key))
    }
  }

  #finished(key: string): void {
    this.#running--
    const lane = this.#lanes.get(key)
    const job = lane?.shift()
    if (job === undefined) this.#lanes.delete(key)
    else this.#ready.push({ key, job })
    this.#next()
  }
}
