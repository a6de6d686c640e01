/** Workers of a fleet within the test process, on a real etcd; their shards are only names. */
import { memoryCounters, silentLog, systemClock } from '../../src/base/index.ts'
import type { Clock, Counters } from '../../src/base/index.ts'
import { EtcdClaims, EtcdClient } from '../../src/cluster/index.ts'
import type { ShardClaim } from '../../src/shard/index.ts'
import { startEtcd, type TestServer } from '../support/servers.ts'

export const TTL_SECONDS = 3

export interface Worker {
  readonly id: string
  readonly claims: EtcdClaims
  readonly client: EtcdClient
  /** What it holds now. */
  readonly held: Map<number, ShardClaim>
  /** Shards whose claims were lost, not released. */
  readonly lost: number[]
  /** Epoch that its claims get. */
  epochAt: (revision: number) => Promise<number>
  start(): Promise<void>
  stop(): Promise<void>
}

export interface WorkerOptions {
  readonly id: string
  readonly fleet: string
  readonly shardCount?: number
  readonly capacity?: number
  readonly intents?: number
  readonly botUserId?: string
  readonly settleMs?: number
  readonly rebalancePercent?: number
  readonly clock?: Clock
}

/** Of the test's own context: the tests run side by side. */
export type AtEnd = (fn: () => void | Promise<void>) => void

export async function ownEtcd(onTestFinished: AtEnd): Promise<TestServer> {
  const etcd = await startEtcd()
  onTestFinished(() => etcd.stop())
  return etcd
}

export function clientOf(
  endpoints: string,
  clock: Clock = systemClock,
  counters: Counters = memoryCounters(),
  callMs = 700,
  caFile = '',
): EtcdClient {
  return new EtcdClient({
    endpoints,
    caFile,
    callMs,
    clock,
    log: silentLog,
    counters,
  })
}

export function makeWorker(endpoints: string, options: WorkerOptions): Worker {
  const { id, fleet, shardCount = 6, clock = systemClock } = options
  const client = clientOf(endpoints, clock)
  const stopping = new AbortController()
  const held = new Map<number, ShardClaim>()
  const lost: number[] = []
  const claims = new EtcdClaims({
    client,
    fleet,
    worker: {
      id,
      base: id,
      version: 'test',
      capacity: options.capacity ?? null,
      start: 0,
      stop: shardCount,
      shardCount,
      intents: options.intents ?? 1,
      botUserId: options.botUserId ?? '1',
    },
    ttlSeconds: TTL_SECONDS,
    settleMs: options.settleMs ?? 0,
    rebalancePercent: options.rebalancePercent ?? 100,
    epochAt: (revision) => worker.epochAt(revision),
    holds: () => Promise.resolve(true),
    clock,
    random: Math.random,
    log: silentLog,
    counters: memoryCounters(),
  })
  const onClaim = (claim: ShardClaim): void => {
    held.set(claim.shardId, claim)
    let isReleasing = false
    claim.handover.addEventListener('abort', () => {
      isReleasing = true
      held.delete(claim.shardId)
      void claim.release()
    })
    claim.lost.addEventListener('abort', () => {
      held.delete(claim.shardId)
      if (!isReleasing) lost.push(claim.shardId)
    })
  }
  const worker: Worker = {
    id,
    claims,
    client,
    held,
    lost,
    epochAt: () => Promise.resolve(1),
    async start() {
      await claims.join('127.0.0.1:1', stopping.signal)
      void claims.run(onClaim, stopping.signal)
    },
    async stop() {
      stopping.abort()
      await claims.leave()
      client.close()
    },
  }
  return worker
}
