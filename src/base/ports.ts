/**
 * The two ports through which every room logs and counts; cmd joins them to telemetry.
 */
export type LogFields = Readonly<Record<string, unknown>>

/** Messages are constant strings, variables are fields. Levels: docs/architecture.md#logs. */
export interface Log {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  child(fields: LogFields): Log
}

/** A counter is a plain number: the hot path adds to `value`, a scrape reads it. */
export interface Counter {
  value: number
}

/** Values by size: `observe` adds to numbers in an array, a scrape reads them. */
export interface Histogram {
  observe(value: number): void
}

export type Labels = Readonly<Record<string, string>>

export interface Counters {
  /** The counter of this name and these labels; the same object each time. Names end in `_total`. */
  counter(name: string, labels?: Readonly<Record<string, string>>): Counter
  /** Registers a value that is read at scrape time. Registering again replaces the reader. */
  gauge(name: string, read: () => number, labels?: Labels): void
  /** The histogram of this name and these labels; `bounds` are the buckets' upper ends, ascending. */
  histogram(name: string, bounds: readonly number[], labels?: Labels): Histogram
  /** Series that come and go, one per shard: `read` adds those of the moment, at scrape time. */
  series(name: string, read: (add: (value: number, labels: Labels) => void) => void): void
}

export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLog,
}

/** Counters that nobody scrapes; for tests and tools. */
export function memoryCounters(): Counters & {
  read(name: string, labels?: Readonly<Record<string, string>>): number
} {
  const counters = new Map<string, Counter>()
  const gauges = new Map<string, () => number>()
  const keyOf = (name: string, labels: Readonly<Record<string, string>> = {}): string =>
    `${name}${JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)))}`
  return {
    counter(name, labels) {
      const key = keyOf(name, labels)
      let counter = counters.get(key)
      if (counter === undefined) {
        counter = { value: 0 }
        counters.set(key, counter)
      }
      return counter
    },
    gauge(name, read, labels) {
      gauges.set(keyOf(name, labels), read)
    },
    histogram(name, _bounds, labels) {
      const count = this.counter(`${name}_count`, labels)
      return { observe: () => void count.value++ }
    },
    series: () => undefined,
    read(name, labels) {
      const key = keyOf(name, labels)
      return counters.get(key)?.value ?? gauges.get(key)?.() ?? 0
    },
  }
}
