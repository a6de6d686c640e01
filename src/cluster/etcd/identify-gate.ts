/**
 * Identify permits across all workers and fleets of one bot: the process's own gate (order, budget,
 * breaker) first, then the rate limit key in etcd.
 *
 *   /gateway/bots/<user id>/v1/waiting/<bucket>/<rate limit key>/<worker>/<shard>   who waits
 *   /gateway/bots/<user id>/v1/permits/<rate limit key>                            who may identify
 *
 * Both lie on a lease of one application. The key is taken by a transaction, by a shard of the lowest
 * bucket that waits anywhere, and given back 5 s after the IDENTIFY at the earliest. A holder that dies
 * keeps it for a TTL. See [Discord Docs/Gateway#sharding-max-concurrency].
 */
import { sleep, within } from '../../base/index.ts'
import type { Clock, Log, Timer } from '../../base/index.ts'
import { IDENTIFY_WINDOW_MS } from '../../discord/index.ts'
import type { IdentifyGate, IdentifyPermit } from '../../shard/index.ts'
import { ClusterError } from '../errors.ts'
import type { EtcdClient } from './client.ts'
import { Lease } from './lease.ts'

export interface EtcdIdentifyGateOptions {
  readonly client: EtcdClient
  /** Order, budget and breaker of this process. */
  readonly local: IdentifyGate
  readonly botUserId: string
  /** Unique for a process. */
  readonly worker: string
  readonly maxConcurrency: number
  /** At least PERMIT_TTL_SECONDS_MIN. */
  readonly ttlSeconds: number
  readonly clock: Clock
  readonly log: Log
}

/** Longer than an IDENTIFY waits for READY on a good day, shorter than a bucket should stand still. */
export const PERMIT_TTL_SECONDS_MIN = 15
const WINDOW_MARGIN_MS = 250
/** A watch that is late must not hold a key up for longer. */
const LOOK_INTERVAL_MS = 1000

interface Held {
  isInTime(): boolean
  free(): void
}

export class EtcdIdentifyGate implements IdentifyGate {
  readonly #options: EtcdIdentifyGateOptions
  readonly #prefix: string
  readonly #wakers = new Set<() => void>()
  #watch: { close(): void } | null = null

  constructor(options: EtcdIdentifyGateOptions) {
    this.#options = options
    this.#prefix = `/gateway/bots/${options.botUserId}/v1/`
  }

  async acquire(shardId: number, signal: AbortSignal): Promise<IdentifyPermit> {
    const { local, clock } = this.#options
    const inner = await local.acquire(shardId, signal)
    let held: Held
    try {
      held = await this.#hold(shardId, signal)
    } catch (error) {
      inner.release('unused')
      throw error
    }
    let committedAt = Number.NEGATIVE_INFINITY
    let isReleased = false
    const prove = (): void => {
      if (!isReleased && held.isInTime()) return
      throw new ClusterError(
        'CLUSTER_PERMIT_LOST',
        `The identify permit of shard ${shardId} could not be kept in etcd until it was used.`,
        { shardId },
        { retryable: true },
      )
    }
    return {
      commit: async (why) => {
        prove()
        await inner.commit(why)
        // The caller sends in this tick: nothing may lie between the last look and the IDENTIFY.
        prove()
        committedAt = clock.monotonic()
      },
      release: (outcome) => {
        if (isReleased) return
        isReleased = true
        inner.release(outcome)
        const restMs = committedAt + IDENTIFY_WINDOW_MS + WINDOW_MARGIN_MS - clock.monotonic()
        if (restMs > 0) clock.setTimeout(() => held.free(), restMs)
        else held.free()
      },
    }
  }

  close(): void {
    this.#watch?.close()
    this.#watch = null
  }

  async #hold(shardId: number, signal: AbortSignal): Promise<Held> {
    const { client, worker, maxConcurrency, ttlSeconds, clock } = this.#options
    const rateKey = shardId % maxConcurrency
    const bucket = String(Math.floor(shardId / maxConcurrency)).padStart(8, '0')
    const waitingKey = `${this.#prefix}waiting/${bucket}/${rateKey}/${worker}/${shardId}`
    const permitKey = `${this.#prefix}permits/${rateKey}`
    const lease = new Lease(client, ttlSeconds, clock)
    let timer: Timer | undefined
    const keep = (): void => {
      timer = clock.setTimeout(() => {
        void lease.keepAlive().then(
          (isAlive) => (isAlive ? keep() : undefined),
          () => keep(),
        )
      }, lease.ttlMs / 3)
    }
    const held: Held = {
      isInTime: () => lease.isInTime,
      free: () => {
        clock.clearTimeout(timer)
        void lease.revoke().catch(() => undefined)
      },
    }
    try {
      const id = await lease.grant()
      keep()
      const value = JSON.stringify({ worker, shardId })
      await client.transact([], { put: [{ key: waitingKey, value, lease: id }] })
      this.#watch ??= client.watch(this.#prefix, () => this.#wake())
      for (;;) {
        signal.throwIfAborted()
        if (!lease.isInTime) {
          const message = `The lease of the application of shard ${shardId} for an identify permit has expired.`
          throw new ClusterError('CLUSTER_PERMIT_LOST', message, { shardId }, { retryable: true })
        }
        const woken = new Promise<void>((resolve) => this.#wakers.add(resolve))
        const { keys } = await client.read(this.#prefix)
        const lowest = keys.find(({ key }) => key.startsWith(`${this.#prefix}waiting/`))
        const isTurn = lowest?.key.startsWith(`${this.#prefix}waiting/${bucket}/`) === true
        if (isTurn && !keys.some(({ key }) => key === permitKey)) {
          const { isDone } = await client.transact([{ key: permitKey, createRevision: 0 }], {
            remove: [waitingKey],
            put: [{ key: permitKey, value, lease: id }],
          })
          if (isDone) return held
        }
        await Promise.race([
          within(clock, woken, LOOK_INTERVAL_MS),
          sleep(clock, 2 * LOOK_INTERVAL_MS, signal),
        ])
      }
    } catch (error) {
      held.free()
      throw error
    }
  }

  #wake(): void {
    for (const resolve of this.#wakers) resolve()
    this.#wakers.clear()
  }
}
