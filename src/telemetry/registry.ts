/**
 * Counters for the rooms, Prometheus text for the scrape. The rooms bump plain numbers; they are folded
 * into prom-client only when somebody reads /metrics.
 */
import { collectDefaultMetrics, Counter as PromCounter, Gauge, Registry } from 'prom-client'
import type { Counter, Counters } from '../base/index.ts'
import { METRICS } from './metrics.ts'

type Labels = Readonly<Record<string, string>>

interface Series<T> {
  readonly labels: Labels
  readonly source: T
}

export interface Metrics extends Counters {
  /** The page of /metrics, in Prometheus' text format. */
  render(): Promise<string>
  readonly contentType: string
}

export function createMetrics(): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const counters = new Map<string, Map<string, Series<Counter>>>()
  const gauges = new Map<string, Map<string, Series<() => number>>>()

  function seriesOf<T>(
    families: Map<string, Map<string, Series<T>>>,
    name: string,
    labels: Labels,
    register: (family: Map<string, Series<T>>, labelNames: string[]) => void,
  ): Map<string, Series<T>> {
    let family = families.get(name)
    if (family === undefined) {
      family = new Map()
      families.set(name, family)
      register(family, Object.keys(labels))
    }
    return family
  }

  return {
    contentType: registry.contentType,
    render: () => registry.metrics(),
    counter(name, labels = {}) {
      const family = seriesOf(counters, name, labels, (series, labelNames) => {
        new PromCounter({
          name,
          help: METRICS[name]?.meaning ?? name,
          labelNames,
          registers: [registry],
          collect() {
            this.reset()
            for (const { labels: values, source } of series.values()) this.inc(values, source.value)
          },
        })
      })
      const key = JSON.stringify(labels)
      let series = family.get(key)
      if (series === undefined) {
        series = { labels, source: { value: 0 } }
        family.set(key, series)
      }
      return series.source
    },
    gauge(name, read, labels = {}) {
      const family = seriesOf(gauges, name, labels, (series, labelNames) => {
        new Gauge({
          name,
          help: METRICS[name]?.meaning ?? name,
          labelNames,
          registers: [registry],
          collect() {
            for (const { labels: values, source } of series.values()) this.set(values, source())
          },
        })
      })
      family.set(JSON.stringify(labels), { labels, source: read })
    },
  }
}
