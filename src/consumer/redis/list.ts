import { randomUUID } from 'node:crypto'
import { ConsumerError } from '../errors.ts'
import type { EventSource, SourceContext } from '../ports.ts'
import { RedisLink, type RedisTarget } from './link.ts'
import { ListReader } from './list-reader.ts'
import { ListRegistry } from './list-registry.ts'

const LEASE_MS = 10_000
const EVENTS_MAX = 100

export interface RedisListOptions {
  readonly redis: RedisTarget
  /** The lists to take from; each has a connection of its own, which waits for it. */
  readonly events: readonly string[]
  /** The gateway's -redis-prefix. Default gateway:events: */
  readonly prefix?: string
  /** Where the processing lists stand. Default gateway:consumer: */
  readonly processingPrefix?: string
  /** A process that has not been heard of for this long has crashed: the others give back what it held. */
  readonly leaseMs?: number
}

/**
 * Redis lists as `kind: redis-list` fills them. An event is moved into a processing list of this process, and
 * removed from there once it is confirmed; what a crashed process held goes back to the head of its list.
 *
 *   gateway:events:MESSAGE_CREATE ──LMOVE──► gateway:consumer:v1:<instance>:MESSAGE_CREATE ──LREM
 *
 * Several processes may share the lists; then order per guild holds within each of them only. Not for Redis
 * Cluster: the two lists lie on different nodes there.
 */
export function redisList(options: RedisListOptions): EventSource {
  return new RedisListSource(options)
}

class RedisListSource implements EventSource {
  readonly #options: RedisListOptions
  #readers: ListReader[] = []
  #registry: ListRegistry | undefined
  #links: RedisLink[] = []

  constructor(options: RedisListOptions) {
    const { events } = options
    if (events.length === 0 || events.length > EVENTS_MAX) {
      throw new ConsumerError(
        'CONSUMER_BAD_OPTION',
        `events has ${events.length} names: give 1 to ${EVENTS_MAX}, or use a stream for many.`,
        { option: 'events' },
      )
    }
    this.#options = options
  }

  async start(context: SourceContext): Promise<void> {
    const { redis, events, prefix = 'gateway:events:' } = this.#options
    const { processingPrefix = 'gateway:consumer:', leaseMs = LEASE_MS } = this.#options
    const instance = randomUUID()
    const link = (role: string): RedisLink => {
      const connectionName = `gateway-consumer-${role}`
      const made = new RedisLink({ ...context, redis, connectionName })
      this.#links.push(made)
      return made
    }
    const commands = link('commands')
    const names = [...new Set(events)]
    this.#registry = new ListRegistry({
      link: commands,
      instance,
      events: names,
      prefix,
      processingPrefix,
      leaseMs,
      clock: context.clock,
      log: context.log,
    })
    const readers = names.map(
      (event) =>
        new ListReader({
          link: link(event),
          commands,
          event,
          source: prefix + event,
          processing: this.#registry!.processingKey(instance, event),
          intake: context.intake,
          clock: context.clock,
        }),
    )
    try {
      await Promise.all(this.#links.map((one) => one.connect()))
      // Known before it holds anything.
      await this.#registry.start()
    } catch (error) {
      for (const one of this.#links) one.close()
      throw error
    }
    this.#readers = readers
    for (const reader of readers) reader.start()
  }

  async pause(): Promise<void> {
    await Promise.all(this.#readers.map((reader) => reader.pause()))
  }

  async close(): Promise<void> {
    await Promise.all(this.#readers.map((reader) => reader.flush()))
    await this.#registry?.close()
    for (const link of this.#links) link.close()
  }
}
