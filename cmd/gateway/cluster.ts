/** The cluster of a run: on etcd, or in memory for one process. Claims, permits, and how they end. */
import { hostname } from 'node:os'
import type { Clock, Counters, Log, Random } from '../../src/base/index.ts'
import {
  EtcdClaims,
  EtcdClient,
  EtcdIdentifyGate,
  MemoryClaims,
  type MemoryIdentifyGate,
  PERMIT_TTL_SECONDS_MIN,
} from '../../src/cluster/index.ts'
import type { GatewayConfig } from '../../src/config/index.ts'
import { type ClusterFleet, EtcdFleet, OneProcess } from './cluster-fleet.ts'
import { ALONE, type PeerDirectory } from '../../src/server/index.ts'
import type { Fence, FenceStore, IdentifyGate, ShardClaims } from '../../src/shard/index.ts'

export interface Cluster {
  readonly claims: ShardClaims
  readonly gate: IdentifyGate
  /** Who else is in the fleet, and who holds which shard. */
  readonly directory: PeerDirectory
  readonly fleet: ClusterFleet
  /** Registers this worker; resolves when it may claim. @param address of the gRPC listener */
  join(address: string): Promise<void>
  /** Hands the shards to other workers, if there are any, within its time. */
  drain(): Promise<void>
  close(): Promise<void>
}

export interface ClusterDeps {
  readonly fences: FenceStore
  readonly holds: (shardId: number, fence: Fence) => Promise<boolean>
  readonly localGate: MemoryIdentifyGate
  readonly version: string
  readonly botUserId: string
  readonly shardCount: number
  readonly maxConcurrency: number
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly counters: Counters
  /** Ends the start-up. */
  readonly signal: AbortSignal
}

/** Of the 10 s that a stop may take; what has not been handed over by then is saved and left to the leases. */
const DRAIN_MS_MAX = 4000
/** Three keepalives fit into a TTL, and none may hold up the next. */
const CALL_MS_MIN = 500
const CALL_MS_MAX = 3000
const WORKER_ID_DIGITS = 0x1_0000_0000

export async function openCluster(config: GatewayConfig, deps: ClusterDeps): Promise<Cluster> {
  const { shardCount, holds, clock, log, counters, fences } = deps
  const range = { start: config.start, stop: config.stop ?? shardCount, shardCount }
  const shape = { name: config.name, version: deps.version, ...range }
  if (config.etcd === null) {
    let ownAddress = ''
    const epoch = await fences.raiseEpoch('memory')
    return {
      claims: new MemoryClaims({ epoch, ...range, holds }),
      gate: deps.localGate,
      directory: ALONE,
      fleet: new OneProcess(
        config.podId === '' ? hostname() : config.podId,
        shape,
        () => ownAddress,
      ),
      join(address) {
        ownAddress = address
        return Promise.resolve()
      },
      drain: () => Promise.resolve(),
      close: () => Promise.resolve(),
    }
  }
  const ttlMs = config.leaseTtlSeconds * 1000
  const client = new EtcdClient({
    endpoints: config.etcd.reveal(),
    caFile: config.etcdCaFile,
    callMs: Math.max(CALL_MS_MIN, Math.min(CALL_MS_MAX, Math.floor(ttlMs / 4))),
    clock,
    log,
    counters,
  })
  const base = config.podId === '' ? hostname() : config.podId
  const suffix = Math.floor(deps.random() * WORKER_ID_DIGITS).toString(16)
  const id = `${base}.${suffix.padStart(8, '0')}`
  const claims = new EtcdClaims({
    client,
    fleet: config.name,
    worker: {
      ...range,
      id,
      base,
      version: deps.version,
      capacity: config.shardsMax,
      intents: config.intents,
      botUserId: deps.botUserId,
    },
    ttlSeconds: config.leaseTtlSeconds,
    settleMs: config.rebalanceSettleSeconds * 1000,
    rebalancePercent: config.rebalancePercent,
    epochAt: (revision) => fences.raiseEpoch('etcd', revision),
    holds,
    clock,
    random: deps.random,
    log,
    counters,
  })
  const gate = new EtcdIdentifyGate({
    client,
    local: deps.localGate,
    botUserId: deps.botUserId,
    worker: `${encodeURIComponent(config.name)}/${id}`,
    maxConcurrency: deps.maxConcurrency,
    ttlSeconds: Math.max(PERMIT_TTL_SECONDS_MIN, config.leaseTtlSeconds),
    clock,
    random: deps.random,
    log,
  })
  return {
    claims,
    gate,
    directory: {
      get self() {
        return claims.self
      },
      others: () => claims.view?.workers.filter((worker) => worker.id !== id) ?? [],
      ownerOf: (shardId) => claims.ownerOf(shardId),
    },
    fleet: new EtcdFleet(client, claims, shape),
    async join(address) {
      await claims.join(address, deps.signal)
      log.info('joined the fleet', { worker: id, etcd: client.address })
    },
    drain: () => claims.drain(DRAIN_MS_MAX),
    async close() {
      gate.close()
      await claims.leave()
      client.close()
    },
  }
}
