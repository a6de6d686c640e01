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
   * @param worker its id, or its base if no other has that.
   * @returns the worker's id.
   * @throws ClusterError CLUSTER_WORKER_UNKNOWN
   */
  async move(shardId: number, worker: string): Promise<string> {
    const { id, lease } = await this.#worker(worker)
    const value = JSON.stringify({ to: id })
    await this.#client.transact([], { put: [{ key: this.#keys.move(shardId), value, lease }] })
    return id
  }

  /** The shard goes where the fleet's balance wants it again. */
  async unmove(shardId: number): Promise<void> {
    await this.#client.transact([], { remove: [this.#keys.move(shardId)] })
  }

  /** Asks the worker to give its shards away and to take none. @throws ClusterError CLUSTER_WORKER_UNKNOWN */
  async drain(worker: string): Promise<string> {
    const { id, lease } = await this.#worker(worker)
    await this.#client.transact([], { put: [{ key: this.#keys.drain(id), value: '{}', lease }] })
    return id
  }

  /** Takes that back. @throws ClusterError CLUSTER_WORKER_UNKNOWN */
  async undrain(worker: string): Promise<string> {
    const { id } = await this.#worker(worker)
    await this.#client.transact([], { remove: [this.#keys.drain(id)] })
    return id
  }

  async #worker(name: string): Promise<LiveWorker> {
    const { workers } = await this.read()
    const named = workers.filter(({ base }) => base === name)
    const worker = workers.find(({ id }) => id === name) ?? (named.length === 1 ? named[0] : null)
    if (worker === undefined || worker === null) {
      const known = workers.map(({ id }) => id).join(', ')
      const what = named.length > 1 ? `${named.length} workers` : 'No worker'
      throw new ClusterError(
        'CLUSTER_WORKER_UNKNOWN',
        `${what} "${name}" in the fleet; there are: ${known === '' ? 'none' : known}.`,
        { worker: name },
      )
    }
    return worker
  }
}
