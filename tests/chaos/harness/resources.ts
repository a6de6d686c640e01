/** File descriptors, timers and memory of each worker while the run goes on, and whether they grow. */
import type { Life, Workers } from './workers.ts'

export interface Sample {
  readonly atMs: number
  readonly life: Life
  readonly descriptors: number
  readonly timers: number
  readonly rssBytes: number
  /** Connected shards: each has a socket and its timers. */
  readonly shards: number
}

const INTERVAL_MS = 1000
const SCRAPE_TIMEOUT_MS = 2000
/** The bounds of the check. */
const DESCRIPTORS_MAX = 5
const TIMERS_MAX = 5
const SLOPE_BYTES_PER_MINUTE_MAX = 1024 * 1024
/** Slopes over less than this say what garbage collection did. */
const SLOPE_MS_MIN = 120_000
const SLOPE_SAMPLES_MIN = 30

export class Resources {
  readonly samples: Sample[] = []
  readonly #workers: Workers
  #timer: NodeJS.Timeout | undefined
  #scraping: Promise<void> = Promise.resolve()

  constructor(workers: Workers) {
    this.#workers = workers
  }

  watch(): void {
    this.#timer = setInterval(() => {
      this.#scraping = this.scrape().then(() => undefined)
    }, INTERVAL_MS)
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.#scraping
  }

  /** One sample of each worker that answers. */
  async scrape(): Promise<Sample[]> {
    const samples = await Promise.all(
      this.#workers.running.map(async (life) => {
        if (life.httpUrl === undefined || this.#workers.isFrozen(life.worker)) return null
        const page = await metricsOf(life)
        if (page === null) return null
        return {
          atMs: performance.now(),
          life,
          descriptors: valueOf(page, 'process_open_fds'),
          timers: valueOf(page, 'nodejs_active_resources{type="Timeout"}'),
          rssBytes: valueOf(page, 'process_resident_memory_bytes'),
          shards: valueOf(page, 'gateway_shards{state="ready"}'),
        }
      }),
    )
    const taken = samples.filter((sample) => sample !== null)
    this.samples.push(...taken)
    return taken
  }
}

/** The page of /metrics; null when nobody answers. */
export async function metricsOf(life: Life): Promise<string | null> {
  try {
    const signal = AbortSignal.timeout(SCRAPE_TIMEOUT_MS)
    const answer = await fetch(`${life.httpUrl}/metrics`, { signal })
    return answer.ok ? await answer.text() : null
  } catch {
    return null
  }
}

export function valueOf(page: string, series: string): number {
  const line = page.split('\n').find((entry) => entry.startsWith(`${series} `))
  return line === undefined ? 0 : Number(line.slice(series.length + 1))
}

export interface ResourceInput {
  /** Of quiet processes after the start, and after the end. */
  readonly before: readonly Sample[]
  readonly after: readonly Sample[]
  readonly samples: readonly Sample[]
  /** When the second half of the run began and ended, as samples have it. */
  readonly halfAtMs: number
  readonly endAtMs: number
}

/** @returns sentences about what grew, and what is to be told anyway. */
export function checkResources(input: ResourceInput): { findings: string[]; told: string[] } {
  const findings: string[] = []
  const told: string[] = []
  // Every worker is the same program: what it needs without shards, and for each shard.
  const least = (own: (sample: Sample) => number): number =>
    Math.min(...input.before.map((sample) => own(sample)))
  const most = (own: (sample: Sample) => number): number =>
    Math.max(...input.before.map((sample) => own(sample)))
  const checks = [
    ['file descriptors', (one: Sample) => one.descriptors - one.shards, DESCRIPTORS_MAX],
    ['timers', (one: Sample) => one.timers - one.shards, TIMERS_MAX],
  ] as const
  for (const [what, own, max] of checks) {
    for (const sample of input.after) {
      const value = own(sample)
      const text = `worker ${sample.life.worker} has ${value} ${what} beside its ${sample.shards} shards, after the start they had ${least(own)} to ${most(own)}`
      if (value > most(own) + max || value < least(own) - max) findings.push(text)
    }
  }
  for (const life of new Set(input.samples.map((sample) => sample.life))) {
    const half = input.samples.filter(
      (sample) =>
        sample.life === life && sample.atMs >= input.halfAtMs && sample.atMs <= input.endAtMs,
    )
    const spanMs = (half.at(-1)?.atMs ?? 0) - (half[0]?.atMs ?? 0)
    if (spanMs < SLOPE_MS_MIN || half.length < SLOPE_SAMPLES_MIN) continue
    const slope = slopeOf(half.map(({ atMs, rssBytes }) => [atMs / 60_000, rssBytes]))
    const text = `memory of worker ${life.worker} over ${Math.round(spanMs / 1000)} s: ${(slope / 1024 / 1024).toFixed(2)} MiB a minute`
    told.push(text)
    if (slope > SLOPE_BYTES_PER_MINUTE_MAX) findings.push(text)
  }
  return { findings, told }
}

/** Least squares. */
function slopeOf(points: readonly (readonly [number, number])[]): number {
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / points.length
  const meanY = points.reduce((sum, [, y]) => sum + y, 0) / points.length
  let over = 0
  let under = 0
  for (const [x, y] of points) {
    over += (x - meanX) * (y - meanY)
    under += (x - meanX) ** 2
  }
  return under === 0 ? 0 : over / under
}
