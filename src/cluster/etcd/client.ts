/**
 * etcd as the cluster needs it: reads of a prefix, transactions, leases, a watch that only says "look again".
 * The one file that knows etcd3 1.1.2, of which three things are not used:
 * - its Lease: `lost` comes only after two TTLs and nothing is granted again (lease.js:223); see lease.ts;
 * - its circuit breaker: three failures close an endpoint for 5 s, longer than a TTL may be;
 * - its random choice of endpoints: a dead one of two costs a time-out in every second call. One endpoint
 *   is used until it fails, then the next one.
 */
import { readFileSync } from 'node:fs'
import { Etcd3, type IOptions } from 'etcd3'
import type { Clock, Counters, Log, Timer } from '../../base/index.ts'
import { BaseError, messageOf, within } from '../../base/index.ts'
import { ClusterError } from '../errors.ts'

export interface EtcdClientOptions {
  /** `http://user:password@host:2379,…`; without a scheme: http. */
  readonly endpoints: string
  /** File with the certificates (PEM) that https endpoints are checked against; empty: Node's own. */
  readonly caFile: string
  /** Bound of one call. */
  readonly callMs: number
  readonly clock: Clock
  readonly log: Log
  readonly counters: Counters
}

export interface KeyValue {
  readonly key: string
  readonly value: string
  readonly createRevision: number
  readonly modRevision: number
  readonly lease: string
}

export interface Snapshot {
  readonly keys: readonly KeyValue[]
  /** etcd's revision at the read. */
  readonly revision: number
}

/** What must hold of one key for a transaction to happen. */
export interface Condition {
  readonly key: string
  /** Create revision 0: the key is absent. */
  readonly createRevision?: number
  readonly modRevision?: number
}

export interface Changes {
  readonly put?: readonly {
    readonly key: string
    readonly value: string
    readonly lease?: string
  }[]
  readonly remove?: readonly string[]
}

interface Endpoint {
  readonly url: string
  readonly auth: { readonly username: string; readonly password: string } | null
}

/** etcd3's types for policies come from a package of its own; this one does nothing. */
const NO_POLICY = {
  onSuccess: () => ({ dispose: () => undefined }),
  onFailure: () => ({ dispose: () => undefined }),
  execute: async (fn: (context: unknown) => unknown) => fn({}),
}

/**
 * etcd3's own pauses before it opens a watch again grow to 30 s, and nothing cancels their timers: those of an abandoned
 * endpoint would outlive it by that.
 */
interface SteadyPause {
  readonly duration: number
  next(): SteadyPause
}
const WATCH_PAUSE: SteadyPause = { duration: 500, next: () => WATCH_PAUSE }

export class EtcdClient {
  readonly #options: EtcdClientOptions
  readonly #endpoints: readonly Endpoint[]
  readonly #ca: Buffer | null
  readonly #requests: { value: number }
  readonly #failures: { value: number }
  readonly #watches = new Set<() => void>()
  #index = 0
  #etcd: Etcd3 | null = null
  #restart: Timer | undefined
  #isUp = true
  #isClosed = false

  /** @throws ClusterError CLUSTER_ETCD_TLS when the file of certificates cannot be read. */
  constructor(options: EtcdClientOptions) {
    this.#options = options
    this.#endpoints = parseEndpoints(options.endpoints)
    const { counters, caFile } = options
    try {
      this.#ca = caFile === '' ? null : readFileSync(caFile)
    } catch (error) {
      throw new ClusterError('CLUSTER_ETCD_TLS', `-etcd-ca: ${messageOf(error)}`, { caFile })
    }
    this.#requests = counters.counter('gateway_etcd_requests_total')
    this.#failures = counters.counter('gateway_etcd_failures_total')
    counters.gauge('gateway_etcd_up', () => (this.#isUp ? 1 : 0))
  }

  /** Without credentials, as it may be logged. */
  get address(): string {
    return this.#endpoints.map(({ url }) => url).join(',')
  }

  /** One read, with an error that names the cure. @throws ClusterError CLUSTER_ETCD_… */
  async probe(): Promise<void> {
    try {
      await this.read('/gateway/')
    } catch (error) {
      if (!(error instanceof ClusterError) || error.code !== 'CLUSTER_ETCD_UNREACHABLE') throw error
      if (await this.#hasNoLeader()) {
        const message = `etcd at ${this.address} answers, but its cluster has no leader: more than half of its members are needed. Start the missing members.`
        throw new ClusterError(
          'CLUSTER_ETCD_NO_QUORUM',
          message,
          { address: this.address },
          { cause: error, retryable: true },
        )
      }
      throw error
    }
  }

  async read(prefix: string): Promise<Snapshot> {
    const response = await this.#call((etcd) => etcd.getAll().prefix(prefix).exec())
    return {
      revision: Number(response.header.revision),
      keys: response.kvs.map((kv) => ({
        key: kv.key.toString(),
        value: kv.value.toString(),
        createRevision: Number(kv.create_revision),
        modRevision: Number(kv.mod_revision),
        lease: String(kv.lease),
      })),
    }
  }

  /** @returns whether the conditions held, and the revision: of the changes if they were made. */
  async transact(
    conditions: readonly Condition[],
    changes: Changes,
  ): Promise<{ isDone: boolean; revision: number }> {
    const response = await this.#call((etcd) => {
      // A key's version is never negative: always true.
      let chain = etcd.if('-', 'Version', '>', -1)
      for (const { key, createRevision, modRevision } of conditions) {
        chain =
          createRevision === undefined
            ? chain.and(key, 'Mod', '==', modRevision ?? 0)
            : chain.and(key, 'Create', '==', createRevision)
      }
      return chain
        .then(
          ...(changes.remove ?? []).map((key) => etcd.delete().key(key)),
          ...(changes.put ?? []).map(({ key, value, lease }) => {
            const put = etcd.put(key).value(value)
            return lease === undefined ? put : put.lease(lease)
          }),
        )
        .commit()
    })
    return { isDone: response.succeeded, revision: Number(response.header.revision) }
  }

  async grant(ttlSeconds: number): Promise<string> {
    return String((await this.#call((etcd) => etcd.leaseClient.leaseGrant({ TTL: ttlSeconds }))).ID)
  }

  async revoke(lease: string): Promise<void> {
    await this.#call((etcd) => etcd.leaseClient.leaseRevoke({ ID: lease }))
  }

  /** One keepalive. False: etcd no longer knows the lease. */
  keepAlive(lease: string): Promise<boolean> {
    return this.#call(async (etcd) => {
      const stream = await etcd.leaseClient.leaseKeepAlive()
      try {
        return await new Promise<boolean>((resolve, reject) => {
          stream.on('data', ({ TTL }) => resolve(Number(TTL) > 0))
          stream.on('error', reject)
          stream.on('end', () => reject(new Error('etcd ended the keepalive')))
          stream.write({ ID: lease })
        })
      } finally {
        stream.on('error', () => undefined)
        stream.end()
        stream.cancel()
      }
    })
  }

  /** Calls back for every change under the prefix, and whenever some may have been missed. */
  watch(prefix: string, onChange: () => void): { close(): void } {
    let stop: () => void = () => undefined
    let timer: Timer | undefined
    const { clock, callMs } = this.#options
    const begin = (): void => {
      stop()
      if (this.#isClosed) return
      const watcher = this.#connected().watch().prefix(prefix).watcher()
      watcher.on('data', onChange)
      watcher.on('connected', onChange)
      watcher.on('error', () => {
        clock.clearTimeout(timer)
        timer = clock.setTimeout(begin, callMs)
      })
      stop = () => {
        watcher.removeAllListeners()
        watcher.on('error', () => undefined)
        void watcher.cancel().catch(() => undefined)
      }
    }
    this.#watches.add(begin)
    begin()
    return {
      close: () => {
        this.#watches.delete(begin)
        clock.clearTimeout(timer)
        stop()
      },
    }
  }

  /** Watches begin anew: etcd has lost its history, so they wait for revisions that it already had. */
  restartWatches(): void {
    for (const begin of this.#watches) begin()
  }

  close(): void {
    this.#isClosed = true
    this.#watches.clear()
    this.#options.clock.clearTimeout(this.#restart)
    this.#etcd?.close()
    this.#etcd = null
  }

  async #call<T>(work: (etcd: Etcd3) => Promise<T>): Promise<T> {
    let last: ClusterError | undefined
    for (let attempt = 0; attempt < this.#endpoints.length; attempt++) {
      const etcd = this.#connected()
      this.#requests.value++
      try {
        const result = await this.#bounded(work(etcd))
        if (!this.#isUp) this.#options.log.info('etcd answers again', { address: this.address })
        this.#isUp = true
        return result
      } catch (error) {
        const wrapped = this.#wrap(error)
        if (!wrapped.retryable) throw wrapped
        this.#failures.value++
        last = wrapped
        this.#abandon(etcd)
      }
    }
    if (this.#isUp && !this.#isClosed) {
      this.#options.log.warn('etcd is away: shards are kept and written, none is claimed', {
        address: this.address,
        error: last?.message,
      })
    }
    this.#isUp = false
    throw last ?? new ClusterError('CLUSTER_ETCD_UNREACHABLE', 'No endpoint of etcd is known.')
  }

  async #bounded<T>(call: Promise<T>): Promise<T> {
    const { clock, callMs } = this.#options
    if (await within(clock, call, callMs)) return call
    throw new Error(`no answer within ${callMs} ms`)
  }

  /** The endpoint failed: its connections go, the next call takes the next endpoint. */
  #abandon(etcd: Etcd3): void {
    if (this.#etcd !== etcd) return
    this.#etcd = null
    this.#index = (this.#index + 1) % this.#endpoints.length
    etcd.close()
    const { clock, callMs } = this.#options
    // Not at once: an endpoint that refuses would be asked as fast as it answers.
    this.#restart ??= clock.setTimeout(() => {
      this.#restart = undefined
      this.restartWatches()
    }, callMs)
  }

  #connected(): Etcd3 {
    if (this.#isClosed) {
      throw new ClusterError('CLUSTER_ETCD_UNREACHABLE', 'The connection to etcd is closed.')
    }
    return (this.#etcd ??= this.#connect())
  }

  #connect(): Etcd3 {
    const endpoint = this.#endpoints[this.#index]
    const options: IOptions = {
      hosts: endpoint?.url ?? '',
      ...(endpoint?.auth ? { auth: endpoint.auth } : {}),
      ...(this.#ca === null ? {} : { credentials: { rootCertificate: this.#ca } }),
      grpcOptions: {
        'grpc.initial_reconnect_backoff_ms': 100,
        'grpc.max_reconnect_backoff_ms': 1000,
        // An endpoint that was abandoned must not lend its dead connection to its successor.
        'grpc.use_local_subchannel_pool': 1,
      },
      faultHandling: {
        host: () => NO_POLICY as never,
        global: NO_POLICY as never,
        watchBackoff: WATCH_PAUSE as never,
      },
    }
    return new Etcd3(options)
  }

  async #hasNoLeader(): Promise<boolean> {
    try {
      const status = await this.#bounded(this.#connected().maintenance.status())
      return String(status.leader) === '0'
    } catch {
      return false
    }
  }

  #wrap(error: unknown): ClusterError {
    if (error instanceof BaseError && error instanceof ClusterError) return error
    const text = messageOf(error)
    const details = { address: this.address }
    if (/user name is empty|authentication failed|permission denied|not enabled/i.test(text)) {
      const message = `etcd at ${this.address} refuses the credentials: ${text}. Write them into -etcd as http://user:password@host:2379, with a role that may read and write the prefix /gateway/.`
      return new ClusterError('CLUSTER_ETCD_AUTH', message, details, { cause: error })
    }
    if (/certificate|self.signed|wrong version number|SSL|EPROTO/i.test(text)) {
      const message = `etcd at ${this.address} cannot be spoken to over TLS: ${text}. Check the scheme (https:// or http://) and the certificates of -etcd-ca.`
      return new ClusterError('CLUSTER_ETCD_TLS', message, details, {
        cause: error,
        retryable: true,
      })
    }
    const isLeaseGone = /requested lease not found/i.test(text)
    if (isLeaseGone) {
      const message = 'The lease has expired in etcd; a new one is granted.'
      return new ClusterError('CLUSTER_LEASE_EXPIRED', message, details, { cause: error })
    }
    const message = `etcd at ${this.address} does not answer: ${text}. Check that it runs and that -etcd names it.`
    return new ClusterError('CLUSTER_ETCD_UNREACHABLE', message, details, {
      cause: error,
      retryable: true,
    })
  }
}

function parseEndpoints(text: string): Endpoint[] {
  return text.split(',').map((part) => {
    const trimmed = part.trim()
    const url = new URL(/^https?:\/\//.test(trimmed) ? trimmed : `http://${trimmed}`)
    const username = decodeURIComponent(url.username)
    const password = decodeURIComponent(url.password)
    const port = url.port === '' ? '2379' : url.port
    return {
      url: `${url.protocol}//${url.hostname}:${port}`,
      auth: username === '' ? null : { username, password },
    }
  })
}
