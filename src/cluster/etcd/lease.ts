/** A lease and what is known of it by the own, monotonic clock. */
import type { Clock } from '../../base/index.ts'
import type { EtcdClient } from './client.ts'

/** Who holds a lease stops acting on it this long before etcd may give its keys to somebody else. */
const LEASE_MARGIN_MS = 1000

export class Lease {
  readonly #client: EtcdClient
  readonly #clock: Clock
  readonly #ttlSeconds: number
  #id: string | null = null
  /** When the last keepalive that etcd confirmed was SENT: etcd counts from some time after that. */
  #confirmedAt = Number.NEGATIVE_INFINITY

  constructor(client: EtcdClient, ttlSeconds: number, clock: Clock) {
    this.#client = client
    this.#ttlSeconds = ttlSeconds
    this.#clock = clock
  }

  /** Null before grant() and once etcd has said that it is gone. */
  get id(): string | null {
    return this.#id
  }

  get ttlMs(): number {
    return this.#ttlSeconds * 1000
  }

  /** Monotonic time from which its holder claims and identifies nothing. */
  get deadline(): number {
    return this.#confirmedAt + this.ttlMs - LEASE_MARGIN_MS
  }

  get isInTime(): boolean {
    return this.#id !== null && this.#clock.monotonic() < this.deadline
  }

  /** Whether a keepalive is due: three fit into a TTL. */
  get isDue(): boolean {
    return this.#clock.monotonic() >= this.#confirmedAt + this.ttlMs / 3
  }

  async grant(): Promise<string> {
    const sentAt = this.#clock.monotonic()
    const id = await this.#client.grant(this.#ttlSeconds)
    this.#id = id
    this.#confirmedAt = sentAt
    return id
  }

  /** False: it is gone, with its keys. Rejects when etcd does not answer. */
  async keepAlive(): Promise<boolean> {
    const id = this.#id
    if (id === null) return false
    const sentAt = this.#clock.monotonic()
    if (await this.#client.keepAlive(id)) {
      this.#confirmedAt = sentAt
      return true
    }
    this.#id = null
    return false
  }

  /** Its keys go at once. */
  async revoke(): Promise<void> {
    const id = this.#id
    this.#id = null
    if (id !== null) await this.#client.revoke(id)
  }
}
