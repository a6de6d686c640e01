/** Counts what a loop allocates: collections by the engine's own notices, bytes by the size of the heap. */
import { PerformanceObserver } from 'node:perf_hooks'
import { setTimeout } from 'node:timers/promises'

/** The measurement's own objects stay below this: what a few thousand operations allocate is far above. */
const NOISE_BYTES = 2048
/** What the engine allocates once, for code that it optimizes, is not there the next time. */
const TRIES = 6
/** A loop that is called often is optimized as a function; one that runs long is compiled anew in each call. */
const CALLS = 200

export class AllocationCount {
  readonly collections: number
  /** Growth of the heap; a lower bound when there were collections. */
  readonly bytesPerOperation: number

  private constructor(collections: number, bytesPerOperation: number) {
    this.collections = collections
    this.bytesPerOperation = bytesPerOperation
  }

  get isNothing(): boolean {
    return this.collections === 0 && this.bytesPerOperation === 0
  }

  /** The least of some tries: what an operation allocates, it allocates each time. Needs `--expose-gc`. */
  static async of(run: (count: number) => void, count: number): Promise<AllocationCount> {
    callOften(run, count)
    let least = await AllocationCount.#once(run, count)
    for (let i = 1; i < TRIES && !least.isNothing; i++) {
      const other = await AllocationCount.#once(run, count)
      const isLess =
        other.collections < least.collections ||
        (other.collections === least.collections &&
          other.bytesPerOperation < least.bytesPerOperation)
      if (isLess) least = other
    }
    return least
  }

  static async #once(run: (count: number) => void, count: number): Promise<AllocationCount> {
    if (globalThis.gc === undefined) {
      throw new Error('Start the bench with --expose-gc: it counts what is allocated.')
    }
    globalThis.gc()
    await setTimeout(5)
    const times: number[] = []
    const observer = new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) times.push(entry.startTime)
    })
    observer.observe({ entryTypes: ['gc'] })
    const startTime = performance.now()
    const before = process.memoryUsage().heapUsed
    callOften(run, count)
    const after = process.memoryUsage().heapUsed
    const endTime = performance.now()
    // The notices come by a later turn of the event loop.
    await setTimeout(5)
    observer.disconnect()
    const collections = times.filter((time) => time >= startTime && time <= endTime).length
    const grown = after - before
    return new AllocationCount(collections, grown < NOISE_BYTES ? 0 : grown / count)
  }
}

function callOften(run: (count: number) => void, count: number): void {
  for (let i = 0; i < CALLS; i++) run(Math.ceil(count / CALLS))
}
