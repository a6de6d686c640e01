/**
 * The rate limit keys of one bot, shared by all workers of all its fleets.
 *
 *   /gateway/bots/<user id>/v1/waiting/<bucket>/<rate limit key>/<worker>/<shard>   who waits
 *   /gateway/bots/<user id>/v1/permits/<rate limit key>                            who may identify
 *
 * A key is taken by a transaction, by a shard of the lowest bucket that waits anywhere; a worker whose shards need
 * several takes them in one. All lie on one lease of the process, which is kept alive while it waits or holds: a process that
 * dies keeps its keys for a TTL. See [Discord Docs/Gateway#sharding-max-concurrency].
 */
import { backoffMs, messageOf, sleep, within } from '../../base/index.ts'
import type { Clock, Log, Random } from '../../base/index.ts'
import { ClusterError } from '../errors.ts'
import type { EtcdClient, KeyValue } from './client.ts'
import { Lease } from './lease.ts'

/** A rate limit key that this process holds. */
export interface HeldPermit {
  readonly key: string
  /** False past the own deadline: etcd may give the key to somebody else soon. */
  isInTime(): boolean
  /** Idempotent. */
  free(): void
}

export interface EtcdPermitsOptions {
  readonly client: EtcdClient
  readonly botUserId: string
  /** Unique for a process. */
  readonly worker: string
  readonly maxConcurrency: number
  readonly ttlSeconds: number
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

interface Applicant {
  readonly shardId: number
  readonly rateKey: number
  readonly bucket: string
  readonly waitingKey: string
  readonly permitKey: string
  readonly resolve: (permit: HeldPermit) => void
  readonly reject: (error: unknown) => void
  /** The lease on which its waiting key lies; null before that. */
  announcedOn: Lease | null
}

interface Taken {
  readonly key: string
  readonly createRevision: number
}

/** A watch that is late must not hold a key up for longer. */
const LOOK_INTERVAL_MS = 1000
/** What comes within this time is done in one go. */
const GATHER_MS = 5
/** etcd refuses more operations in one transaction than 128. */
const KEYS_AT_ONCE = 64
const RETRY = { baseMs: 100, maxMs: 1000 }

export class EtcdPermits {
  readonly #options: EtcdPermitsOptions
  readonly #prefix: string
  readonly #applicants = new Map<string, Applicant>()
  readonly #held = new Set<HeldPermit>()
  readonly #toFree = new Set<Taken>()
  /** Waiting keys of those who no longer wait. */
  readonly #toWithdraw = new Set<string>()
  #lease: Lease | null = null
  #watch: { close(): void } | null = null
  #wake: () => void = () => undefined
  /** A call has failed: what became of it has to be looked at. */
  #isDoubtful = false
  #isRunning = false
  #isClosed = false

  constructor(options: EtcdPermitsOptions) {
    this.#options = options
    this.#prefix = `/gateway/bots/${options.botUserId}/v1/`
  }

  /** Waits, however long, for the shard's rate limit key. Rejects when etcd does not answer. */
  acquire(shardId: number, signal: AbortSignal): Promise<HeldPermit> {
    const { worker, maxConcurrency } = this.#options
    const rateKey = shardId % maxConcurrency
    const bucket = String(Math.floor(shardId / maxConcurrency)).padStart(8, '0')
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason as Error)
        return
      }
      const leave = (): void => {
        signal.removeEventListener('abort', onAbort)
        if (this.#applicants.get(applicant.waitingKey) !== applicant) return
        this.#applicants.delete(applicant.waitingKey)
      }
      const applicant: Applicant = {
        shardId,
        rateKey,
        bucket,
        waitingKey: `${this.#prefix}waiting/${bucket}/${rateKey}/${worker}/${shardId}`,
        permitKey: `${this.#prefix}permits/${rateKey}`,
        resolve: (permit) => {
          leave()
          resolve(permit)
        },
        reject: (error) => {
          leave()
          if (applicant.announcedOn !== null) this.#toWithdraw.add(applicant.waitingKey)
          this.#wake()
          reject(error as Error)
        },
        announcedOn: null,
      }
      const onAbort = (): void => applicant.reject(signal.reason)
      signal.addEventListener('abort', onAbort, { once: true })
      this.#applicants.get(applicant.waitingKey)?.reject(askedAgain(shardId))
      this.#applicants.set(applicant.waitingKey, applicant)
      this.#run()
    })
  }

  close(): void {
    this.#isClosed = true
    this.#wake()
    this.#watch?.close()
    this.#watch = null
    if (!this.#isRunning) this.#revoke()
  }

  #run(): void {
    if (this.#isRunning) this.#wake()
    else void this.#rounds()
  }

  /** Until nobody waits, nothing is held and everything is given back. Never rejects. */
  async #rounds(): Promise<void> {
    const { clock, random, log } = this.#options
    this.#isRunning = true
    let failures = 0
    while (!this.#isClosed && this.#isNeeded) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      // Shards that start together ask one after the other.
      await sleep(clock, GATHER_MS)
      try {
        await this.#round()
        failures = 0
        await within(clock, woken, LOOK_INTERVAL_MS)
      } catch (error) {
        failures++
        this.#isDoubtful = true
        if (!(error instanceof ClusterError)) {
          log.warn('identify permits could not be asked for', { error: messageOf(error) })
        }
        // Whoever waits asks again in its own time; what was put goes as soon as etcd answers.
        for (const applicant of this.#applicants.values()) applicant.reject(error)
        const waitMs = backoffMs(failures - 1, random, RETRY)
        await sleep(clock, waitMs)
      }
    }
    this.#isRunning = false
    this.#revoke()
  }

  #revoke(): void {
    // What is held after its IDENTIFY stays for the rest of its 5 s and longer: until the lease runs out.
    if (this.#held.size > 0) return
    void this.#lease?.revoke().catch(() => undefined)
    this.#lease = null
  }

  get #isNeeded(): boolean {
    if (this.#isDoubtful) return true
    const { size } = this.#applicants
    return size + this.#held.size + this.#toFree.size + this.#toWithdraw.size > 0
  }

  async #round(): Promise<void> {
    const { client } = this.#options
    await this.#keepLease()
    await this.#giveBack()
    if (this.#applicants.size === 0 && !this.#isDoubtful) return
    const lease = this.#lease ?? (await this.#grant())
    await this.#announce(lease)
    this.#watch ??= client.watch(this.#prefix, () => this.#wake())
    const { keys } = await client.read(this.#prefix)
    if (this.#isDoubtful) this.#findLost(keys, lease)
    const wanted = this.#next(keys)
    for (let from = 0; from < wanted.length; from += KEYS_AT_ONCE) {
      await this.#take(wanted.slice(from, from + KEYS_AT_ONCE), lease)
    }
  }

  /** A transaction that seemed to fail may have been made: keys of ours that nobody here knows of. */
  #findLost(keys: readonly KeyValue[], lease: Lease): void {
    const known = new Set([...this.#held, ...this.#toFree].map(({ key }) => key))
    for (const { key, lease: its, createRevision } of keys) {
      if (its !== lease.id || known.has(key)) continue
      if (key.startsWith(`${this.#prefix}permits/`)) this.#toFree.add({ key, createRevision })
      else if (!this.#applicants.has(key)) this.#toWithdraw.add(key)
    }
    this.#isDoubtful = false
  }

  async #keepLease(): Promise<void> {
    const lease = this.#lease
    if (lease === null || !lease.isDue || (await lease.keepAlive())) return
    this.#options.log.warn('the lease of the identify permits has expired in etcd')
    // With its keys; those who hold one see it by their deadline.
    this.#lease = null
    this.#toFree.clear()
    this.#toWithdraw.clear()
  }

  async #grant(): Promise<Lease> {
    const { client, ttlSeconds, clock } = this.#options
    const lease = new Lease(client, ttlSeconds, clock)
    await lease.grant()
    this.#lease = lease
    return lease
  }

  async #giveBack(): Promise<void> {
    const { client } = this.#options
    const free = [...this.#toFree]
    await Promise.all(
      free.map(async (taken) => {
        // By its revision: after an expired lease the key may be somebody else's.
        const { key, createRevision } = taken
        await client.transact([{ key, createRevision }], { remove: [key] })
        this.#toFree.delete(taken)
      }),
    )
    // Who asks again meanwhile lies under the same key.
    for (const key of this.#applicants.keys()) this.#toWithdraw.delete(key)
    const withdraw = [...this.#toWithdraw]
    for (let from = 0; from < withdraw.length; from += KEYS_AT_ONCE) {
      const remove = withdraw.slice(from, from + KEYS_AT_ONCE)
      await client.transact([], { remove })
      // Not all: some may have been added while etcd was asked.
      for (const key of remove) this.#toWithdraw.delete(key)
    }
  }

  async #announce(lease: Lease): Promise<void> {
    const { client, worker } = this.#options
    const id = lease.id
    const fresh = [...this.#applicants.values()].filter(({ announcedOn }) => announcedOn !== lease)
    for (let from = 0; from < fresh.length && id !== null; from += KEYS_AT_ONCE) {
      const some = fresh.slice(from, from + KEYS_AT_ONCE)
      for (const applicant of some) applicant.announcedOn = lease
      await client.transact([], {
        put: some.map(({ waitingKey, shardId }) => ({
          key: waitingKey,
          value: JSON.stringify({ worker, shardId }),
          lease: id,
        })),
      })
    }
  }

  /** Those of the lowest bucket that waits anywhere whose rate limit key is free: one for each key. */
  #next(keys: readonly KeyValue[]): Applicant[] {
    // etcd answers in the order of the keys, so the lowest bucket comes first.
    const waiting = `${this.#prefix}waiting/`
    const lowest = keys.find(({ key }) => key.startsWith(waiting))
    const taken = new Set(keys.map(({ key }) => key))
    const chosen = new Map<number, Applicant>()
    for (const applicant of this.#applicants.values()) {
      const { bucket, rateKey, permitKey, announcedOn } = applicant
      if (announcedOn === null || taken.has(permitKey)) continue
      if (lowest?.key.startsWith(`${waiting}${bucket}/`) !== true) continue
      if (!chosen.has(rateKey)) chosen.set(rateKey, applicant)
    }
    return [...chosen.values()]
  }

  /** All keys in one transaction; if somebody was quicker for one of them, each for itself. */
  async #take(wanted: readonly Applicant[], lease: Lease): Promise<void> {
    if (await this.#tryTake(wanted, lease)) return
    if (wanted.length === 1) return
    await Promise.all(wanted.map((applicant) => this.#tryTake([applicant], lease)))
  }

  async #tryTake(wanted: readonly Applicant[], lease: Lease): Promise<boolean> {
    const { client, worker } = this.#options
    const id = lease.id
    if (id === null || !lease.isInTime) return false
    const { isDone, revision } = await client.transact(
      wanted.map(({ permitKey }) => ({ key: permitKey, createRevision: 0 })),
      {
        remove: wanted.map(({ waitingKey }) => waitingKey),
        put: wanted.map(({ permitKey, shardId }) => ({
          key: permitKey,
          value: JSON.stringify({ worker, shardId }),
          lease: id,
        })),
      },
    )
    if (!isDone) return false
    for (const applicant of wanted) {
      const permit = this.#permit({ key: applicant.permitKey, createRevision: revision }, lease)
      // It may have left while the transaction was under way.
      if (this.#applicants.get(applicant.waitingKey) === applicant) applicant.resolve(permit)
      else permit.free()
    }
    return true
  }

  #permit(taken: Taken, lease: Lease): HeldPermit {
    const permit: HeldPermit = {
      key: taken.key,
      isInTime: () => lease.isInTime,
      free: () => {
        if (!this.#held.delete(permit)) return
        if (lease === this.#lease) this.#toFree.add(taken)
        this.#run()
      },
    }
    this.#held.add(permit)
    return permit
  }
}

function askedAgain(shardId: number): ClusterError {
  const message = `Shard ${shardId} has asked for an identify permit again before it had one.`
  return new ClusterError('CLUSTER_PERMIT_LOST', message, { shardId }, { retryable: true })
}
