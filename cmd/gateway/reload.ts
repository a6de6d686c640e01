/** SIGHUP: the file of -destinations is read again, and what differs is changed while the shards go on. */
import { isDeepStrictEqual } from 'node:util'
import { type Counters, type Log, messageOf } from '../../src/base/index.ts'
import type { DestinationConfig } from '../../src/config/index.ts'
import type { Push } from '../../src/push/index.ts'
import { wantedOf, type WiredDestination } from './destinations.ts'

/** What they serve or write to is there once, from the start to the end of the process. */
const FIXED_KINDS: readonly DestinationConfig['kind'][] = ['grpc-subscribe', 'stdout']

export interface ReloadDeps {
  /** @throws ConfigError */
  readonly read: () => readonly DestinationConfig[]
  /** @throws PushError */
  readonly wire: (config: DestinationConfig) => Promise<WiredDestination>
  readonly push: Push
  /** What a destination that is no longer wanted has to deliver the rest. */
  readonly drainMs: number
  readonly counters: Counters
  readonly log: Log
}

export class DestinationsReload {
  readonly #deps: ReloadDeps
  #wired: readonly WiredDestination[]
  #running: Promise<void> = Promise.resolve()

  constructor(wired: readonly WiredDestination[], deps: ReloadDeps) {
    this.#wired = wired
    this.#deps = deps
  }

  get configs(): readonly DestinationConfig[] {
    return this.#wired.map(({ config }) => config)
  }

  /** One at a time. A file that cannot be used leaves everything as it is, with a log line. */
  reload(): Promise<void> {
    return (this.#running = this.#running.then(() => this.#reload()))
  }

  /** No acknowledgement waits for a destination any more. */
  close(): void {
    for (const { release } of this.#wired) release()
  }

  async #reload(): Promise<void> {
    const { read, push, log } = this.#deps
    const old = this.#wired
    let next: WiredDestination[]
    try {
      const configs = read()
      this.#refuseFixed(configs)
      next = await this.#wire(configs)
    } catch (error) {
      log.error('destinations: the file is refused, the old one stays in force', {
        error: messageOf(error),
      })
      return
    }
    const added = next.filter((one) =>
      old.every(({ destination }) => destination !== one.destination),
    )
    const removed = old.filter((one) =>
      next.every(({ destination }) => destination !== one.destination),
    )
    const filtered = next.filter((one) => {
      const before = old.find(({ destination }) => destination === one.destination)
      return before !== undefined && !isSame(before.config, one.config)
    })
    this.#wired = next
    push.replace(next.map(({ destination }) => destination))
    for (const { config, destination } of filtered) destination.setWanted(wantedOf(config))
    const names = (wired: readonly WiredDestination[]): string[] =>
      wired.map(({ config }) => config.name)
    log.info('destinations: the file is in force', {
      added: names(added),
      removed: names(removed),
      filtered: names(filtered),
    })
    // What replaces a destination begins to send when that one has ended: their events keep their order.
    await Promise.all(removed.map((one) => this.#remove(one)))
    for (const { config, destination } of added) {
      destination.start(false).catch((error: unknown) => {
        log.error('destinations: one cannot start', {
          destination: config.name,
          error: messageOf(error),
        })
      })
    }
  }

  async #wire(configs: readonly DestinationConfig[]): Promise<WiredDestination[]> {
    const made: WiredDestination[] = []
    const next: WiredDestination[] = []
    try {
      for (const config of configs) {
        const before = this.#wired.find((one) => isSame(unfiltered(one.config), unfiltered(config)))
        const wired = before ?? (await this.#deps.wire(config))
        if (before === undefined) made.push(wired)
        next.push({ ...wired, config })
      }
      return next
    } catch (error) {
      for (const { destination, release } of made) void destination.drain(0).then(release)
      throw error
    }
  }

  /** @throws Error */
  #refuseFixed(configs: readonly DestinationConfig[]): void {
    const fixed = (all: readonly DestinationConfig[]): DestinationConfig[] =>
      all.filter(({ kind }) => FIXED_KINDS.includes(kind)).map(unfiltered)
    const before = fixed(this.configs)
    const after = fixed(configs)
    const isKept =
      before.length === after.length &&
      before.every((config) => after.some((other) => isSame(config, other)))
    if (!isKept) {
      throw new Error(
        `destinations of the kinds ${FIXED_KINDS.join(' and ')} cannot be added, removed or changed while the program runs, but for their filters: start it again`,
      )
    }
  }

  async #remove({ config, destination, release }: WiredDestination): Promise<void> {
    const { log, counters, drainMs } = this.#deps
    const { name } = config
    const left = await destination.drain(drainMs)
    const events = left.events - left.spilledEvents
    release()
    const labels = { destination: name, event: 'other', cause: 'removed' }
    counters.counter('gateway_push_dropped_events_total', labels).value += events
    if (left.events === 0)
      log.info('destination removed: everything is delivered', { destination: name })
    else log.warn('destination removed: what it still held is dropped', { ...left, events })
  }
}

/** Everything but what may change in flight. */
function unfiltered(config: DestinationConfig): DestinationConfig {
  return { ...config, events: null, rules: null }
}

function isSame(one: DestinationConfig, other: DestinationConfig): boolean {
  return isDeepStrictEqual(revealed(one), revealed(other))
}

/** A Secret shows its value to nobody, not even to a comparison. */
function revealed(config: DestinationConfig): unknown {
  const { address, grpcPush } = config
  return {
    ...config,
    address: address?.reveal(),
    grpcPush: grpcPush && {
      ...grpcPush,
      tls: grpcPush.tls && { ...grpcPush.tls, key: grpcPush.tls.key?.reveal() },
    },
  }
}
