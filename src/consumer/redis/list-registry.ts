import { type Clock, type Log, messageOf, type Timer } from '../../base/index.ts'
import type { RedisLink } from './link.ts'
import { removalsKey } from './list-reader.ts'

/** The version of these keys: others would be another format's. */
const VERSION = 'v1'
/** Moves of one transaction. */
const MOVES_MAX = 1000

/** Takes an instance out of the table unless it has been heard of again. */
const FORGET = `if redis.call('exists', KEYS[1]) == 0 then return redis.call('hdel', KEYS[2], ARGV[1]) end return 0`

export interface ListRegistryOptions {
  readonly link: RedisLink
  readonly instance: string
  readonly events: readonly string[]
  readonly prefix: string
  readonly processingPrefix: string
  readonly leaseMs: number
  readonly clock: Clock
  readonly log: Log
}

/**
 * Who holds events in processing lists, and who of them is alive.
 *
 *   <processingPrefix>v1:instances          hash: instance → {"prefix": …, "events": […]}
 *   <processingPrefix>v1:<instance>:lease   gone when the instance was not heard of for leaseMs
 *   <processingPrefix>v1:<instance>:<EVENT> its processing list; behind it :removals, the number of the last removal
 *
 * A process that was only slow is declared dead too early at the worst: its events come twice, none is lost.
 */
export class ListRegistry {
  readonly #options: ListRegistryOptions
  readonly #table: string
  #timer: Timer | undefined
  #round: Promise<void> = Promise.resolve()
  #isClosed = false
  #cannotForget = false

  constructor(options: ListRegistryOptions) {
    this.#options = options
    this.#table = `${options.processingPrefix}${VERSION}:instances`
  }

  processingKey(instance: string, event: string): string {
    return `${this.#options.processingPrefix}${VERSION}:${instance}:${event}`
  }

  /** Enters the table, and gives back what crashed processes held. */
  async start(): Promise<void> {
    await this.#renew()
    await this.#recoverOthers()
    this.#next()
  }

  /** Gives back what was not confirmed, and leaves the table. */
  async close(): Promise<void> {
    this.#isClosed = true
    const { clock, link, instance, events, prefix } = this.#options
    clock.clearTimeout(this.#timer)
    await this.#round
    try {
      await this.#giveBack(instance, prefix, events)
      await link.client.hdel(this.#table, instance)
      await link.client.del(this.#leaseKey(instance))
    } catch {
      // Redis is away: the others do it when the lease is over.
    }
  }

  #next(): void {
    const { clock, leaseMs } = this.#options
    if (this.#isClosed) return
    this.#timer = clock.setTimeout(() => {
      this.#round = this.#upkeep().finally(() => this.#next())
    }, leaseMs / 3)
  }

  async #upkeep(): Promise<void> {
    const { link, log } = this.#options
    if (link.client.status !== 'ready') return
    try {
      await this.#renew()
      await this.#recoverOthers()
    } catch (error) {
      log.warn('consumer: the lease could not be renewed, trying again', {
        cause: messageOf(error),
      })
      await link.recover(error)
    }
  }

  async #renew(): Promise<void> {
    const { link, instance, prefix, events, leaseMs } = this.#options
    const entry = JSON.stringify({ prefix, events })
    await Promise.all([
      link.client.hset(this.#table, instance, entry),
      link.client.set(this.#leaseKey(instance), '1', 'PX', leaseMs),
    ])
  }

  async #recoverOthers(): Promise<void> {
    const { link, log } = this.#options
    for (const [instance, entry] of Object.entries(await link.client.hgetall(this.#table))) {
      if (instance === this.#options.instance) continue
      if ((await link.client.exists(this.#leaseKey(instance))) === 1) continue
      const { prefix, events } = JSON.parse(entry) as { prefix: string; events: string[] }
      const moved = await this.#giveBack(instance, prefix, events)
      await this.#forget(instance)
      if (moved > 0) {
        log.warn('consumer: gave back the events of a process that has ended without doing so', {
          instance,
          events: moved,
        })
      }
    }
  }

  /** To the heads of their lists, in their order, each list in one transaction. */
  async #giveBack(instance: string, prefix: string, events: readonly string[]): Promise<number> {
    const { client } = this.#options.link
    let moved = 0
    for (const event of events) {
      const processing = this.processingKey(instance, event)
      for (;;) {
        const length = Math.min(await client.llen(processing), MOVES_MAX)
        if (length === 0) break
        const transaction = client.multi()
        for (let index = 0; index < length; index++) {
          transaction.lmove(processing, prefix + event, 'RIGHT', 'LEFT')
        }
        const answers = (await transaction.exec()) ?? []
        const failure = answers.find(([error]) => error !== null)?.[0]
        if (failure !== undefined && failure !== null) throw failure
        moved += answers.filter(([, value]) => value !== null).length
      }
      await client.del(removalsKey(processing))
    }
    return moved
  }

  async #forget(instance: string): Promise<void> {
    const { link, log } = this.#options
    try {
      await link.client.eval(FORGET, 2, this.#leaseKey(instance), this.#table, instance)
    } catch (error) {
      // It stays in the table and is looked at each time: no harm but a line of log.
      if (!this.#cannotForget) {
        log.warn('consumer: EVAL is refused, ended processes stay in the table', {
          table: this.#table,
          cause: messageOf(error),
        })
      }
      this.#cannotForget = true
    }
  }

  #leaseKey(instance: string): string {
    return `${this.#options.processingPrefix}${VERSION}:${instance}:lease`
  }
}
