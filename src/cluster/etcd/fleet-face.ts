/** What tools ask of a fleet, from any process that reaches its etcd. */
import { ClusterError } from '../errors.ts'
import type { EtcdClient } from './client.ts'
import { FleetKeys, type FleetView, type LiveWorker } from './keys.ts'

export class FleetFace {
  readonly #client: EtcdClient
  readonly #keys: FleetKeys

  constructor(client: EtcdClient, fleet: string) {
    this.#client = client
    this.#keys = new FleetKeys(fleet)
  }

  /** Workers with their addresses, the owner of each shard, what is on its way. */
  async read(): Promise<FleetView> {
    return this.#keys.parse(await this.#client.read(this.#keys.prefix))
  }

  /**
   * Asks the owner to hand the shard to the worker; it stays there while that one lives.
   *
   * @throws ClusterError CLUSTER_WORKER_UNKNOWN
   */
  async move(shardId: number, workerId: string): Promise<void> {
    const { lease } = await this.#worker(workerId)
    const value = JSON.stringify({ to: workerId })
    await this.#client.transact([], { put: [{ key: this.#keys.move(shardId), value, lease }] })
  }

  /** The shard goes where the fleet's balance wants it again. */
  async unmove(shardId: number): Promise<void> {
    await this.#client.transact([], { remove: [this.#keys.move(shardId)] })
  }

  /** Asks the worker to give its shards away and to take none. @throws ClusterError CLUSTER_WORKER_UNKNOWN */
  async drain(workerId: string): Promise<void> {
    const { lease } = await this.#worker(workerId)
    await this.#client.transact([], {
      put: [{ key: this.#keys.drain(workerId), value: '{}', lease }],
    })
  }

  async undrain(workerId: string): Promise<void> {
    await this.#client.transact([], { remove: [this.#keys.drain(workerId)] })
  }

  async #worker(workerId: string): Promise<LiveWorker> {
    const { workers } = await this.read()
    const worker = workers.find(({ id }) => id === workerId)
    if (worker === undefined) {
      const known = workers.map(({ id }) => id).join(', ')
      throw new ClusterError(
        'CLUSTER_WORKER_UNKNOWN',
        `No worker "${workerId}" lives in the fleet; there are: ${known === '' ? 'none' : known}.`,
        { workerId },
      )
    }
    return worker
  }
}
