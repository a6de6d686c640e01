/** The gateway's own figures, from the page that an operator's Prometheus reads. */
export interface GatewayMetrics {
  readonly loopP50Ms: number
  readonly loopP99Ms: number
  readonly loopMaxMs: number
  readonly gcMs: number
  readonly delivered: number
  readonly flushes: number
  readonly cacheRows: number
  readonly cacheBatches: number
  readonly gapEvents: number
  readonly parks: number
  readonly ready: number
}

/** prom-client measures with timers of this many ms, which its figures include. */
const RESOLUTION_MS = 10

export async function readGatewayMetrics(url: string): Promise<GatewayMetrics> {
  const text = await (await fetch(`${url}/metrics`)).text()
  const sum = (name: string, label = ''): number => {
    let total = 0
    for (const line of text.split('\n')) {
      if (!line.startsWith(name) || !/[ {]/.test(line[name.length] ?? '')) continue
      if (label === '' || line.includes(label)) total += Number(line.slice(line.lastIndexOf(' ')))
    }
    return total
  }
  const lag = (which: string): number =>
    Math.max(0, sum(`nodejs_eventloop_lag_${which}_seconds`) * 1000 - RESOLUTION_MS)
  return {
    loopP50Ms: lag('p50'),
    loopP99Ms: lag('p99'),
    loopMaxMs: lag('max'),
    gcMs: sum('nodejs_gc_duration_seconds_sum') * 1000,
    delivered: sum('gateway_push_delivered_events_total'),
    flushes: sum('gateway_push_flushes_total'),
    cacheRows: sum('gateway_cache_rows_total'),
    cacheBatches: sum('gateway_cache_batches_total'),
    gapEvents: sum('gateway_gap_events_total'),
    parks: sum('gateway_shard_parks_total'),
    ready: sum('gateway_shards', 'state="ready"'),
  }
}

/** Of several workers: times of the loop are the longest, everything else is the sum. */
export function addGatewayMetrics(all: readonly GatewayMetrics[]): GatewayMetrics {
  const sum = (of: (one: GatewayMetrics) => number): number =>
    all.reduce((total, one) => total + of(one), 0)
  const longest = (of: (one: GatewayMetrics) => number): number => Math.max(...all.map(of))
  return {
    loopP50Ms: longest(({ loopP50Ms }) => loopP50Ms),
    loopP99Ms: longest(({ loopP99Ms }) => loopP99Ms),
    loopMaxMs: longest(({ loopMaxMs }) => loopMaxMs),
    gcMs: sum(({ gcMs }) => gcMs),
    delivered: sum(({ delivered }) => delivered),
    flushes: sum(({ flushes }) => flushes),
    cacheRows: sum(({ cacheRows }) => cacheRows),
    cacheBatches: sum(({ cacheBatches }) => cacheBatches),
    gapEvents: sum(({ gapEvents }) => gapEvents),
    parks: sum(({ parks }) => parks),
    ready: sum(({ ready }) => ready),
  }
}
