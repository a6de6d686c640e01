/** Counts what a loop allocates: collections by the engine's own notices, bytes by the size of the heap. */
import { PerformanceObserver } from 'node:perf_hooks'
import { setTimeout } from 'node:timers/promises'

/** The measurement's own objects stay below this: what a few thousand operations allocate is far above. */
const NOISE_BYTES = 2048

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

  /** Needs `--expose-gc`. */
  static async of(run: (count: number) => void, count: number): Promise<AllocationCount> {
    if (globalThis.gc === undefined) {
      throw new Error('Start the bench with --expose-gc: it counts what is allocated.')
    }
    run(count)
    globalThis.gc()
    await setTimeout(5)
    const times: number[] = []
    const observer = new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) times.push(entry.startTime)
    })
    observer.observe({ entryTypes: ['gc'] })
    const startTime = performance.now()
    const before = process.memoryUsage().heapUsed
    run(count)
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
