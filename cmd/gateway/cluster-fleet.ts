/** The fleet as operators see and steer it: by the keys in etcd, or one process that has every shard. */
import { messageOf } from '../../src/base/index.ts'
import {
  ClusterError,
  type EtcdClaims,
  FleetFace,
  type FleetView,
} from '../../src/cluster/index.ts'
import type { EtcdClient } from '../../src/cluster/index.ts'
import { isSameKind } from '../../src/cluster/index.ts'
import type { FleetOverview } from '../../src/server/index.ts'

export interface ClusterFleet {
  readonly workerId: string
  overview(): Promise<FleetOverview>
  move(shardId: number, worker: string): Promise<string>
  unmove(shardId: number): Promise<void>
  drain(worker: string): Promise<string>
  undrain(worker: string): Promise<string>
}

export interface FleetShape {
  readonly name: string
  readonly version: string
  readonly shardCount: number
  readonly start: number
  readonly stop: number
}

export class EtcdFleet implements ClusterFleet {
  readonly #claims: EtcdClaims
  readonly #face: FleetFace
  readonly #shape: FleetShape

  constructor(client: EtcdClient, claims: EtcdClaims, shape: FleetShape) {
    this.#claims = claims
    this.#face = new FleetFace(client, shape.name)
    this.#shape = shape
  }

  get workerId(): string {
    return this.#claims.workerId
  }

  async overview(): Promise<FleetOverview> {
    let view: FleetView | null
    let staleBecause: string | null = null
    try {
      view = await this.#face.read()
    } catch (error) {
      view = this.#claims.view
      staleBecause = messageOf(error)
    }
    const { name, shardCount } = this.#shape
    const [first] = view?.workers ?? []
    return {
      fleet: name,
      shardCount: first?.shardCount ?? shardCount,
      workers: (view?.workers ?? []).map((worker) => ({
        id: worker.id,
        address: worker.address,
        version: worker.version,
        shardsMax: worker.capacity,
        start: worker.start,
        stop: worker.stop,
        isDraining: worker.isLeaving,
        isWaiting: !isSameKind(worker, first!),
      })),
      owners: new Map([...(view?.claims ?? [])].map(([shard, { worker }]) => [shard, worker])),
      movingTo: view?.handovers ?? new Map(),
      movedTo: view?.moves ?? new Map(),
      staleBecause,
    }
  }

  async move(shardId: number, worker: string): Promise<string> {
    const { shardCount } = this.#shape
    if (shardId < 0 || shardId >= shardCount) {
      throw new ClusterError(
        'CLUSTER_SHARD_UNKNOWN',
        `There is no shard ${shardId}: the fleet has the shards 0 to ${shardCount - 1}.`,
        { shardId, shardCount },
      )
    }
    return this.#face.move(shardId, worker)
  }

  unmove(shardId: number): Promise<void> {
    return this.#face.unmove(shardId)
  }

  drain(worker: string): Promise<string> {
    return this.#face.drain(worker)
  }

  undrain(worker: string): Promise<string> {
    return this.#face.undrain(worker)
  }
}

/** Without etcd: this process has its whole range. */
export class OneProcess implements ClusterFleet {
  readonly workerId: string
  readonly #shape: FleetShape
  readonly #address: () => string

  constructor(workerId: string, shape: FleetShape, address: () => string) {
    this.workerId = workerId
    this.#shape = shape
    this.#address = address
  }

  overview(): Promise<FleetOverview> {
    const { name, version, shardCount, start, stop } = this.#shape
    const owners = new Map<number, string>()
    for (let shard = start; shard < stop; shard++) owners.set(shard, this.workerId)
    return Promise.resolve({
      fleet: name,
      shardCount,
      workers: [
        {
          id: this.workerId,
          address: this.#address(),
          version,
          shardsMax: null,
          start,
          stop,
          isDraining: false,
          isWaiting: false,
        },
      ],
      owners,
      movingTo: new Map(),
      movedTo: new Map(),
      staleBecause: null,
    })
  }

  move(): Promise<string> {
    return Promise.reject(alone())
  }

  unmove(): Promise<void> {
    return Promise.reject(alone())
  }

  drain(): Promise<string> {
    return Promise.reject(alone())
  }

  undrain(): Promise<string> {
    return Promise.reject(alone())
  }
}

function alone(): ClusterError {
  const message =
    'This gateway runs without -etcd: it is one process, and its shards have nowhere to go. Start workers with -etcd.'
  return new ClusterError('CLUSTER_ONE_PROCESS', message)
}
