/**
 * How many shards of the fleet may move for balance in a minute, whoever moves them: one key per move on
 * a lease of 60 s, put by a transaction.
 */
import type { EtcdClient } from './client.ts'
import type { FleetKeys } from './keys.ts'

const WINDOW_SECONDS = 60

export class RebalanceLimit {
  readonly #client: EtcdClient
  readonly #keys: FleetKeys
  readonly #max: number | null

  /** @param max moves in a minute; null: any number. */
  constructor(client: EtcdClient, keys: FleetKeys, max: number | null) {
    this.#client = client
    this.#keys = keys
    this.#max = max
  }

  /** False: the minute's moves are made. */
  async take(): Promise<boolean> {
    if (this.#max === null) return true
    const { keys } = await this.#client.read(`${this.#keys.prefix}rebalances/`)
    const taken = new Set(keys.map(({ key }) => key))
    for (let slot = 0; slot < this.#max; slot++) {
      const key = this.#keys.rebalance(slot)
      if (taken.has(key)) continue
      const lease = await this.#client.grant(WINDOW_SECONDS)
      const { isDone } = await this.#client.transact([{ key, createRevision: 0 }], {
        put: [{ key, value: '{}', lease }],
      })
      if (isDone) return true
      await this.#client.revoke(lease)
    }
    return false
  }
}
