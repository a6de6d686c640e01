import type { Histogram, Labels } from '../base/index.ts'
import type { Sample } from './registry.ts'

/** Counts values by upper bound; cumulative only in what a scrape reads. */
export class BucketHistogram implements Histogram {
  readonly #bounds: Float64Array
  /** One more than bounds: what is above the last. */
  readonly #counts: Float64Array
  readonly #sum = new Float64Array(1)

  constructor(bounds: readonly number[]) {
    this.#bounds = Float64Array.from(bounds)
    this.#counts = new Float64Array(bounds.length + 1)
  }

  observe(value: number): void {
    let bucket = 0
    while (bucket < this.#bounds.length && value > this.#bounds[bucket]!) bucket++
    this.#counts[bucket]!++
    this.#sum[0]! += value
  }

  samples(name: string, labels: Labels): Sample[] {
    const samples: Sample[] = []
    let total = 0
    for (let bucket = 0; bucket < this.#counts.length; bucket++) {
      total += this.#counts[bucket]!
      const le = bucket < this.#bounds.length ? String(this.#bounds[bucket]) : '+Inf'
      samples.push({ metricName: `${name}_bucket`, value: total, labels: { ...labels, le } })
    }
    samples.push({ metricName: `${name}_sum`, value: this.#sum[0]!, labels })
    samples.push({ metricName: `${name}_count`, value: total, labels })
    return samples
  }
}
