/**
 * Shard claims of one worker among many, on its lease in etcd. docs/architecture.md#the-fleet-in-etcd
 *
 * One loop: keep the lease, read the fleet's keys, act on them. A watch only makes it look earlier. While
 * etcd is away nothing is claimed and nothing given up: the worker reads and writes on under its fences.
 */
import { backoffMs, messageOf, retryAtStart, within } from '../../base/index.ts'
import type { Clock, Counters, Log, Random, Timer } from '../../base/index.ts'
import type { Fence, ShardClaim, ShardClaims } from '../../shard/index.ts'
import { Claim } from '../claim.ts'
import { ClusterError } from '../errors.ts'
import { planShards } from '../plan.ts'
import { checkRange } from '../range.ts'
import type { EtcdClient } from './client.ts'
import { FleetKeys, type FleetView, isSameKind, type LiveWorker, membersOf } from './keys.ts'
import type { WorkerRecord } from './keys.ts'
import { Lease } from './lease.ts'
import { RebalanceLimit } from './rebalance-limit.ts'

export interface EtcdClaimsOptions {
  readonly client: EtcdClient
  /** Name of the fleet. */
  readonly fleet: string
  readonly worker: Omit<WorkerRecord, 'address' | 'isLeaving'>
  readonly ttlSeconds: number
  /** How long the workers must have been the same before shards are moved for balance. */
  readonly settleMs: number
  /** Share of the fleet that may move for balance in a minute. */
  readonly rebalancePercent: number
  /**
   * The epoch of fences to be claimed now: raised when etcd's revision shows that it lost its history, or
   * when the cluster kind changed. FenceStore.raiseEpoch.
   */
  readonly epochAt: (revision: number) => Promise<number>
  readonly holds: (shardId: number, fence: Fence) => Promise<boolean>
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly counters: Counters
}

/** Claims that are put at once. */
const CLAIMS_AT_ONCE = 32
/** A shard that was just given back is not taken again at once: whoever refused it would do so again. */
const REGAIN_PAUSE_MS = 1000
/** Shards that are on their way to others at once: at least so many, else an eighth of all. */
const HANDOVERS_AT_ONCE_MIN = 4
const HANDOVERS_SHARE = 8
const RETRY = { baseMs: 100, maxMs: 1000 }
/** A drain looks at least so often whether it is through. */
const DRAIN_LOOK_MS = 100
const KIND_LOG_INTERVAL_MS = 30_000

export class EtcdClaims implements ShardClaims {
  readonly #options: EtcdClaimsOptions
  readonly #keys: FleetKeys
  readonly #lease: Lease
  readonly #limit: RebalanceLimit
  readonly #held = new Map<number, Claim>()
  readonly #pausedUntil = new Map<number, number>()
  #record: WorkerRecord
  #isRegistered = false
  #onClaim: ((claim: ShardClaim) => void) | null = null
  #view: FleetView | null = null
  #plan: ReadonlyMap<number, string> = new Map()
  #isDirty = true
  #readAt = Number.NEGATIVE_INFINITY
  #highestRevision = 0
  /** Until then an orphan is left to the worker that may still stream it. */
  #calmUntil = Number.NEGATIVE_INFINITY
  #answeredAt: number
  #members = ''
  #settledAt = Number.POSITIVE_INFINITY
  #failures = 0
  #timer: Timer | undefined
  #running: Promise<void> | null = null
  #isAgain = false
  #isEnded = false
  readonly #changed = new Set<() => void>()

  /** @throws ClusterError CLUSTER_RANGE_INVALID */
  constructor(options: EtcdClaimsOptions) {
    const { client, fleet, worker, ttlSeconds, clock, counters, rebalancePercent } = options
    checkRange(worker)
    this.#options = options
    this.#keys = new FleetKeys(fleet)
    this.#lease = new Lease(client, ttlSeconds, clock)
    this.#record = { ...worker, address: '', isLeaving: false }
    this.#answeredAt = clock.monotonic()
    this.#limit = new RebalanceLimit(
      client,
      this.#keys,
      rebalancePercent >= 100
        ? null
        : Math.max(1, Math.floor((worker.shardCount * rebalancePercent) / 100)),
    )
    counters.gauge('gateway_cluster_claims', () => this.#held.size)
    counters.gauge('gateway_cluster_workers', () => this.#view?.workers.length ?? 0)
    counters.gauge('gateway_cluster_lease_seconds', () =>
      Math.max(0, (this.#lease.deadline - clock.monotonic()) / 1000),
    )
  }

  get workerId(): string {
    return this.#record.id
  }

  /** This worker as it registers itself. */
  get self(): WorkerRecord {
    return this.#record
  }

  /** Who holds the shard, as far as this worker knows; null: nobody. */
  ownerOf(shardId: number): WorkerRecord | null {
    if (this.#held.has(shardId)) return this.#record
    const owner = this.#view?.claims.get(shardId)?.worker
    return this.#view?.workers.find(({ id }) => id === owner) ?? null
  }

  /** The fleet as it was read last; null before that. */
  get view(): FleetView | null {
    return this.#view
  }

  /**
   * Registers the worker and waits, however long, until the workers of another shard count or of other
   * intents are gone.
   *
   * @param address of the gRPC listener.
   * @throws ClusterError CLUSTER_OTHER_BOT, CLUSTER_ETCD_…
   */
  async join(address: string, signal: AbortSignal): Promise<void> {
    const { client, log, clock } = this.#options
    this.#record = { ...this.#record, address }
    await retryAtStart(
      {
        ...this.#options,
        what: 'etcd',
        signal,
        isFinal: ({ code }) => code === 'CLUSTER_ETCD_TLS',
      },
      async () => {
        await client.probe()
        await this.#register()
      },
    )
    const watch = client.watch(this.#keys.prefix, () => this.#wake())
    signal.addEventListener('abort', () => watch.close(), { once: true })
    this.#closeWatch = () => watch.close()
    let saidAt = Number.NEGATIVE_INFINITY
    while (!signal.aborted) {
      await this.#sync()
      const view = this.#view
      const [first] = view?.workers ?? []
      if (first !== undefined && first.botUserId !== this.#record.botUserId) {
        await this.leave()
        throw new ClusterError(
          'CLUSTER_OTHER_BOT',
          `The fleet "${this.#options.fleet}" in etcd belongs to the bot ${first.botUserId}, not to ${this.#record.botUserId}. Give this bot another -name.`,
          { fleet: this.#options.fleet, bot: first.botUserId },
        )
      }
      if (first !== undefined && isSameKind(first, this.#record)) return
      if (first !== undefined && clock.monotonic() - saidAt >= KIND_LOG_INTERVAL_MS) {
        saidAt = clock.monotonic()
        log.warn(
          'waiting: the fleet runs with another shard count or other intents until its last worker of that kind has stopped',
          {
            workers: view?.workers.length,
            shards: first.shardCount,
            intents: first.intents,
            ownShards: this.#record.shardCount,
            ownIntents: this.#record.intents,
          },
        )
      }
      await within(clock, this.#nextRound(), this.#lease.ttlMs / 3)
    }
    await this.leave()
  }

  #closeWatch: () => void = () => undefined

  async run(onClaim: (claim: ShardClaim) => void, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return
    this.#onClaim = onClaim
    this.#isDirty = true
    this.#wake()
    await new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
    this.#onClaim = null
  }

  /** Gives every shard to the others, within the time; what has nowhere to go stays. */
  async drain(deadlineMs: number): Promise<void> {
    const { clock, log } = this.#options
    if (this.#held.size === 0 || this.#record.isLeaving) return
    this.#record = { ...this.#record, isLeaving: true }
    const deadline = clock.monotonic() + deadlineMs
    const shards = this.#held.size
    this.#isRegistered = false
    this.#isDirty = true
    while (clock.monotonic() < deadline && this.#held.size > 0) {
      await within(clock, this.#sync(), Math.max(1, deadline - clock.monotonic()))
      if (!this.#canHandOver()) break
      await within(clock, this.#nextRound(), DRAIN_LOOK_MS)
    }
    log.info('drained', { shards, left: this.#held.size })
  }

  /** The registration and all claims go at once. */
  async leave(): Promise<void> {
    this.#isEnded = true
    this.#closeWatch()
    this.#options.clock.clearTimeout(this.#timer)
    await within(this.#options.clock, this.#running ?? Promise.resolve(), 500).catch(() => false)
    await this.#lease.revoke().catch(() => undefined)
  }

  /** Whether any shard of ours has another worker to go to, or is on its way. */
  #canHandOver(): boolean {
    const others = membersOf(this.#view ?? NOBODY).filter(
      ({ id, isLeaving }) => id !== this.workerId && !isLeaving,
    )
    if (others.length === 0) return false
    for (const [shardId, claim] of this.#held) {
      if (claim.successor !== null || this.#plan.has(shardId)) return true
    }
    return false
  }

  /** A round after this call has ended. */
  #nextRound(): Promise<void> {
    return new Promise((resolve) => this.#changed.add(resolve))
  }

  #wake(): void {
    this.#isDirty = true
    void this.#sync()
  }

  /** One round; a call during a round makes it run once more. Never rejects. */
  #sync(): Promise<void> {
    if (this.#isEnded) return Promise.resolve()
    if (this.#running !== null) {
      this.#isAgain = true
      return this.#running
    }
    const running = this.#rounds()
    this.#running = running
    return running
  }

  async #rounds(): Promise<void> {
    const { clock, random, log } = this.#options
    clock.clearTimeout(this.#timer)
    do {
      this.#isAgain = false
      try {
        await this.#round()
        this.#failures = 0
      } catch (error) {
        this.#isDirty = true
        this.#failures++
        if (!(error instanceof ClusterError)) {
          log.warn('claims could not be brought up to date', { error: messageOf(error) })
        }
        break
      }
    } while (this.#isAgain && !this.#isEnded)
    // In this tick: a call after the last look at #isAgain begins a round of its own.
    this.#running = null
    for (const resolve of this.#changed) resolve()
    this.#changed.clear()
    if (this.#isEnded) return
    const waitMs =
      this.#failures === 0 ? this.#nextMs() : backoffMs(this.#failures - 1, random, RETRY)
    clock.clearTimeout(this.#timer)
    this.#timer = clock.setTimeout(() => void this.#sync(), waitMs)
  }

  #nextMs(): number {
    const now = this.#options.clock.monotonic()
    const times = [this.#calmUntil, this.#settledAt, ...this.#pausedUntil.values()]
    const soonest = Math.min(...times.filter((at) => at > now), now + this.#lease.ttlMs / 3)
    return Math.max(10, soonest - now)
  }

  async #round(): Promise<void> {
    const { client, clock, log } = this.#options
    const ttlMs = this.#lease.ttlMs
    if (this.#lease.id !== null && this.#lease.isDue && !(await this.#lease.keepAlive())) {
      log.warn('the lease has expired in etcd: the claims are put again under a new one')
      this.#calm()
    }
    if (!this.#isRegistered || this.#lease.id === null) await this.#register()
    const now = clock.monotonic()
    // etcd was away for so long that leases may have expired while their holders still stream.
    if (now - this.#answeredAt > ttlMs) this.#calm()
    this.#answeredAt = now
    if (!this.#isDirty && now - this.#readAt < ttlMs) return
    this.#isDirty = false
    const view = this.#keys.parse(await client.read(this.#keys.prefix))
    this.#readAt = now
    if (view.revision < this.#highestRevision) {
      log.error('etcd has lost its history: a new epoch begins', {
        revision: view.revision,
        seen: this.#highestRevision,
      })
      this.#calm()
      client.restartWatches()
    }
    this.#highestRevision = view.revision
    this.#view = view
    await this.#act(view)
  }

  #calm(): void {
    this.#calmUntil = this.#options.clock.monotonic() + this.#lease.ttlMs
    this.#isDirty = true
  }

  async #register(): Promise<void> {
    const { client } = this.#options
    const lease = this.#lease.id ?? (await this.#lease.grant())
    const key = this.#keys.worker(this.#record.id)
    const { id: _, ...value } = this.#record
    try {
      await client.transact([], { put: [{ key, value: JSON.stringify(value), lease }] })
    } catch (error) {
      if (error instanceof ClusterError && error.code === 'CLUSTER_LEASE_EXPIRED') {
        await this.#lease.revoke().catch(() => undefined)
      }
      throw error
    }
    this.#isRegistered = true
    this.#isDirty = true
  }

  async #act(view: FleetView): Promise<void> {
    if (await this.#keepHeld(view)) {
      // A plan without them would give our shards to somebody else.
      this.#isDirty = true
      this.#isAgain = true
      return
    }
    if (!view.workers.some(({ id }) => id === this.workerId)) {
      // Wiped, or expired a moment ago.
      this.#isRegistered = false
      this.#isAgain = true
      return
    }
    const members = membersOf(view)
    if (!members.some(({ id }) => id === this.workerId)) return
    this.#notice(members)
    const owners = new Map([...view.claims].map(([shardId, { worker }]) => [shardId, worker]))
    this.#plan = planShards({
      shardCount: this.#record.shardCount,
      workers: members,
      owners,
      lastOwners: view.lastOwners,
      handovers: view.handovers,
      moves: view.moves,
    })
    await this.#handOver(view, members)
    await this.#claim(view)
  }

  /** Membership that changes holds back what is only for balance. */
  #notice(members: readonly LiveWorker[]): void {
    const { clock, settleMs } = this.#options
    const names = members
      .filter(({ isLeaving }) => !isLeaving)
      .map(({ id }) => id)
      .sort()
      .join(' ')
    if (names === this.#members) return
    this.#members = names
    this.#settledAt = clock.monotonic() + settleMs
  }

  /**
   * Puts vanished keys of shards that are still streamed again; gives up what somebody else has; removes
   * keys in our name of shards that are not held.
   */
  async #keepHeld(view: FleetView): Promise<boolean> {
    const { client, log, counters, holds } = this.#options
    const lease = this.#lease.id
    if (lease === null) return false
    let isChanged = false
    const work = [...this.#held].map(async ([shardId, claim]) => {
      const key = view.claims.get(shardId)
      if (claim.lost.aborted) return
      if (key?.worker === this.workerId && key.lease === lease) return
      if (key !== undefined && key.worker !== this.workerId) {
        log.warn('another worker has claimed the shard', { shardId, worker: key.worker })
        counters.counter('gateway_cluster_claims_lost_total').value++
        this.#held.delete(shardId)
        claim.lose()
        return
      }
      // Somebody may have had it meanwhile; Postgres knows.
      if (key === undefined && !(await holds(shardId, claim.fence).catch(() => true))) {
        this.#held.delete(shardId)
        counters.counter('gateway_cluster_claims_lost_total').value++
        claim.lose()
        return
      }
      const condition = {
        key: this.#keys.claim(shardId),
        ...(key === undefined ? { createRevision: 0 } : { modRevision: key.modRevision }),
      }
      const { isDone } = await client.transact([condition], {
        put: [{ key: condition.key, value: this.#claimValue(), lease }],
      })
      if (isDone) log.info('put the claim again', { shardId })
      isChanged = true
    })
    for (const [shardId, key] of view.claims) {
      if (key.worker !== this.workerId || this.#held.has(shardId)) continue
      // From an older snapshot of etcd, or put by a transaction whose answer was lost: nobody holds the shard.
      work.push(this.#removeGhost(shardId, key.modRevision))
      isChanged = true
    }
    await settle(work)
    return isChanged
  }

  async #removeGhost(shardId: number, modRevision: number): Promise<void> {
    const { client, log } = this.#options
    const key = this.#keys.claim(shardId)
    const { isDone } = await client.transact([{ key, modRevision }], { remove: [key] })
    if (isDone) log.warn('removed a claim in our name for a shard that is not ours', { shardId })
  }

  async #handOver(view: FleetView, members: readonly LiveWorker[]): Promise<void> {
    const { clock, log, counters } = this.#options
    const isLeaving =
      this.#record.isLeaving ||
      members.some(({ id, isLeaving }) => id === this.workerId && isLeaving)
    const atOnce = Math.max(HANDOVERS_AT_ONCE_MIN, Math.ceil(this.#held.size / HANDOVERS_SHARE))
    let underway = [...this.#held.values()].filter(({ successor }) => successor !== null).length
    for (const [shardId, claim] of [...this.#held].sort(([a], [b]) => a - b)) {
      if (underway >= atOnce) return
      const successor = this.#plan.get(shardId)
      if (claim.successor !== null || successor === undefined || successor === this.workerId)
        continue
      const isAsked = isLeaving || view.moves.get(shardId) === successor
      if (!isAsked) {
        if (clock.monotonic() < Math.max(this.#settledAt, this.#calmUntil)) continue
        if (!(await this.#limit.take())) return
      }
      underway++
      const why = isAsked ? (isLeaving ? 'drain' : 'move') : 'rebalance'
      log.info('handing the shard over', { shardId, to: successor, why })
      counters.counter('gateway_cluster_handovers_total', { why }).value++
      claim.handOverTo(successor)
    }
  }

  async #claim(view: FleetView): Promise<void> {
    const { epochAt, clock, log } = this.#options
    if (this.#onClaim === null || !this.#lease.isInTime || this.#record.isLeaving) return
    const now = clock.monotonic()
    for (const [shardId, until] of this.#pausedUntil) {
      if (until <= now) this.#pausedUntil.delete(shardId)
    }
    const wanted: number[] = []
    for (const [shardId, worker] of this.#plan) {
      if (worker !== this.workerId || view.claims.has(shardId) || this.#held.has(shardId)) continue
      const isNamed = view.handovers.get(shardId) === this.workerId
      if (!isNamed && (now < this.#calmUntil || this.#pausedUntil.has(shardId))) continue
      wanted.push(shardId)
    }
    if (wanted.length === 0) return
    wanted.sort((a, b) => a - b)
    let epoch: number
    try {
      epoch = await epochAt(view.revision)
    } catch (error) {
      log.warn('no shard is claimed while Postgres is away', { error: messageOf(error) })
      this.#pause(wanted)
      return
    }
    for (let from = 0; from < wanted.length; from += CLAIMS_AT_ONCE) {
      const batch = wanted.slice(from, from + CLAIMS_AT_ONCE)
      await settle(batch.map((shardId) => this.#claimOne(shardId, epoch, view)))
    }
  }

  async #claimOne(shardId: number, epoch: number, view: FleetView): Promise<void> {
    const { client, holds, clock, log, counters } = this.#options
    const lease = this.#lease.id
    if (lease === null || !this.#lease.isInTime) return
    const key = this.#keys.claim(shardId)
    const { isDone, revision } = await client.transact([{ key, createRevision: 0 }], {
      remove: [this.#keys.handover(shardId)],
      put: [
        { key, value: this.#claimValue(), lease },
        {
          key: this.#keys.lastOwner(shardId),
          value: JSON.stringify({ base: this.#record.base, worker: this.workerId }),
        },
      ],
    })
    this.#isDirty = true
    if (!isDone || this.#onClaim === null) return
    const how = view.handovers.has(shardId)
      ? 'handover'
      : view.lastOwners.has(shardId)
        ? 'orphan'
        : 'first'
    log.info('claimed the shard', { shardId, epoch, revision, how })
    counters.counter('gateway_cluster_claims_total', { how }).value++
    const claim = new Claim(
      shardId,
      { epoch, revision },
      {
        holds,
        clock,
        isInTime: () => this.#lease.isInTime,
        onRelease: (released) => this.#release(released),
      },
    )
    this.#held.set(shardId, claim)
    this.#onClaim(claim)
  }

  async #release(claim: Claim): Promise<void> {
    const { shardId, successor } = claim
    const { client } = this.#options
    if (this.#held.get(shardId) !== claim) return
    const key = this.#keys.claim(shardId)
    const own = this.#view?.claims.get(shardId)
    const lease = this.#view?.workers.find(({ id }) => id === successor)?.lease
    const put =
      successor === null || lease === undefined
        ? []
        : [{ key: this.#keys.handover(shardId), value: JSON.stringify({ to: successor }), lease }]
    try {
      if (own !== undefined && own.worker !== this.workerId) return
      // Without a look since the claim its key is the one that the claim made.
      const createRevision = own?.createRevision ?? claim.fence.revision
      const { isDone } = await client.transact([{ key, createRevision }], { remove: [key], put })
      if (!isDone) await this.#removeOwn(shardId)
    } catch (error) {
      // The successor's lease is gone: whoever comes next takes an orphan.
      if (!(error instanceof ClusterError) || error.code !== 'CLUSTER_LEASE_EXPIRED') throw error
      await this.#removeOwn(shardId)
    } finally {
      // Not before: a drain ends, and revokes the lease, when nothing is held.
      this.#held.delete(shardId)
      this.#pause([shardId])
      this.#wake()
    }
  }

  /** Removes the claim if it is still ours by what etcd says now. */
  async #removeOwn(shardId: number): Promise<void> {
    const { client } = this.#options
    const view = this.#keys.parse(await client.read(this.#keys.claim(shardId)))
    const own = view.claims.get(shardId)
    if (own?.worker !== this.workerId) return
    const key = this.#keys.claim(shardId)
    await client.transact([{ key, modRevision: own.modRevision }], { remove: [key] })
  }

  #pause(shards: readonly number[]): void {
    const until = this.#options.clock.monotonic() + REGAIN_PAUSE_MS
    for (const shardId of shards) this.#pausedUntil.set(shardId, until)
  }

  #claimValue(): string {
    return JSON.stringify({ worker: this.workerId })
  }
}

const NOBODY: FleetView = {
  revision: 0,
  workers: [],
  claims: new Map(),
  lastOwners: new Map(),
  handovers: new Map(),
  moves: new Map(),
}

/** Waits for all, then rejects with the first failure. */
async function settle(work: readonly Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(work)).find(({ status }) => status === 'rejected')
  if (failed?.status === 'rejected') throw failed.reason
}
