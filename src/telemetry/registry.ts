/**
 * Counters for the rooms, Prometheus text for the scrape. The rooms add to numbers in typed arrays; they
 * become text only when somebody reads /metrics.
 *
 *   Float64Array  |c0|c1|c2|…|      256 counters to a chunk; a handle knows its chunk and index, and a chunk
 *   Float64Array  |c256|…|          is never replaced, so the handle stays good
 */
import { collectDefaultMetrics, type Metric, Registry } from 'prom-client'
import type { Counter, Counters, Labels } from '../base/index.ts'
import { BucketHistogram } from './bucket-histogram.ts'
import { METRICS } from './metrics.ts'

const CHUNK_COUNTERS = 256

/** One line of a family; `metricName` where it is not the family's name. */
export interface Sample {
  readonly value: number
  readonly labels: Labels
  readonly metricName?: string
}

type Kind = 'counter' | 'gauge' | 'histogram'

export interface Metrics extends Counters {
  /** The page of /metrics, in Prometheus' text format. */
  render(): Promise<string>
  readonly contentType: string
  /** One value of the moment; 0 where there is none. */
  read(name: string, labels: Labels): number
}

class Slot implements Counter {
  readonly #chunk: Float64Array
  readonly #index: number

  constructor(chunk: Float64Array, index: number) {
    this.#chunk = chunk
    this.#index = index
  }

  get value(): number {
    return this.#chunk[this.#index]!
  }

  set value(value: number) {
    this.#chunk[this.#index] = value
  }
}

export function createMetrics(): Metrics {
  const registry = new Registry()
  // Event loop lag, garbage collection, memory, handles.
  collectDefaultMetrics({ register: registry })
  const families = new Map<string, Map<string, { readonly labels: Labels; source: unknown }>>()
  let chunk = new Float64Array(CHUNK_COUNTERS)
  let used = 0

  function newCounter(): Counter {
    if (used === CHUNK_COUNTERS) {
      chunk = new Float64Array(CHUNK_COUNTERS)
      used = 0
    }
    return new Slot(chunk, used++)
  }

  /** A family that the registry asks for its samples at each scrape. */
  function register(name: string, type: Kind, samples: () => Sample[]): void {
    const help = METRICS[name]?.meaning ?? name
    const family = {
      name,
      get: () => Promise.resolve({ name, help, type, values: samples(), aggregator: 'sum' }),
      reset: () => undefined,
    }
    // The part of a Metric that Registry.metrics() uses (prom-client/lib/registry.js).
    registry.registerMetric(family as unknown as Metric)
  }

  /** The series of these labels, made when it is new. */
  function seriesOf<T>(
    name: string,
    type: Kind,
    labels: Labels,
    make: () => T,
    read: (source: T, labels: Labels) => readonly Sample[],
  ): { source: T } {
    let family = families.get(name)
    if (family === undefined) {
      const created = new Map<string, { readonly labels: Labels; source: unknown }>()
      families.set(name, created)
      family = created
      register(name, type, () =>
        [...created.values()].flatMap((series) => read(series.source as T, series.labels)),
      )
    }
    const key = JSON.stringify(labels)
    let series = family.get(key)
    if (series === undefined) {
      series = { labels, source: make() }
      family.set(key, series)
    }
    return series as { source: T }
  }

  return {
    contentType: registry.contentType,
    render: () => registry.metrics(),
    read(name, labels) {
      const source = families.get(name)?.get(JSON.stringify(labels))?.source
      return typeof source === 'function'
        ? (source as () => number)()
        : ((source as Counter | undefined)?.value ?? 0)
    },
    counter: (name, labels = {}) =>
      seriesOf(name, 'counter', labels, newCounter, ({ value }, own) => [{ value, labels: own }])
        .source,
    gauge(name, read, labels = {}) {
      const series = seriesOf(
        name,
        'gauge',
        labels,
        () => read,
        (source, own) => [{ value: source(), labels: own }],
      )
      series.source = read
    },
    histogram: (name, bounds, labels = {}) =>
      seriesOf(
        name,
        'histogram',
        labels,
        () => new BucketHistogram(bounds),
        (source, own) => source.samples(name, own),
      ).source,
    series(name, read) {
      register(name, name.endsWith('_total') ? 'counter' : 'gauge', () => {
        const samples: Sample[] = []
        read((value, labels) => samples.push({ value, labels }))
        return samples
      })
    },
  }
}
