/**
 * Identify permits across all workers and fleets of one bot: the process's own gate (order, budget,
 * breaker) first, then the rate limit key in etcd (permits.ts), which is given back 5 s after the IDENTIFY at the
 * earliest.
 */
import type { Clock, Log, Random } from '../../base/index.ts'
import { IDENTIFY_WINDOW_MS } from '../../discord/index.ts'
import type { IdentifyGate, IdentifyPermit } from '../../shard/index.ts'
import { ClusterError } from '../errors.ts'
import type { EtcdClient } from './client.ts'
import { EtcdPermits, type HeldPermit } from './permits.ts'

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
  readonly random: Random
  readonly log: Log
}

/** Longer than an IDENTIFY waits for READY on a good day, shorter than a bucket should stand still. */
export const PERMIT_TTL_SECONDS_MIN = 15
const WINDOW_MARGIN_MS = 250

export class EtcdIdentifyGate implements IdentifyGate {
  readonly #options: EtcdIdentifyGateOptions
  readonly #permits: EtcdPermits

  constructor(options: EtcdIdentifyGateOptions) {
    this.#options = options
    this.#permits = new EtcdPermits(options)
  }

  async acquire(shardId: number, signal: AbortSignal): Promise<IdentifyPermit> {
    const { local, clock } = this.#options
    const inner = await local.acquire(shardId, signal)
    let held: HeldPermit
    try {
      held = await this.#permits.acquire(shardId, signal)
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
    this.#permits.close()
  }
}
