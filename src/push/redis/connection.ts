import { Redis, ReplyError } from 'ioredis'
import { backoffMs, type Clock, type Log, messageOf, type Random } from '../../base/index.ts'
import { PushError } from '../errors.ts'
import { parseRedisAddress, type RedisAddress } from './address.ts'

const CONNECT_TIMEOUT_MS = 30_000
const RECONNECT_BACKOFF = { baseMs: 50, maxMs: 5_000 }
const KEEP_ALIVE_MS = 15_000
/** A server that is loading its data is asked again after this. */
const LOADING_RETRY_MS = 500

export interface RedisConnectionOptions {
  readonly destination: string
  /** host:port, redis:// or rediss://. */
  readonly address: string
  /** What CLIENT LIST shows. */
  readonly connectionName: string
  /** A command without an answer for this long breaks the connection. */
  readonly commandTimeoutMs: number
  /** How long connect() tries. */
  readonly connectTimeoutMs?: number | undefined
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

/**
 * One connection to a Redis that comes back by itself. Nothing is resent or kept by ioredis: what was not
 * confirmed is the queue's to send again, in order.
 */
export class RedisConnection {
  readonly client: Redis
  readonly #address: RedisAddress
  readonly #options: RedisConnectionOptions
  readonly #log: Log
  #isUp = false
  /** Called at each connection, the first one included. */
  onUp: () => void = () => undefined
  #isClosed = false
  #wasUp = false
  #attempts = 0
  #downSinceMs: number
  #lastError: Error | undefined
  /** What the last line about an outage said, so that the same is not said again. */
  #saidCause = ''
  #resetCause: string | null = null
  /** The connection is being changed on purpose: no lines about it. */
  #isQuiet = false
  #onFatal: ((error: PushError) => void) | undefined

  constructor(options: RedisConnectionOptions) {
    this.#options = options
    this.#address = parseRedisAddress(options.address)
    this.#log = options.log.child({
      destination: options.destination,
      address: this.#address.shown,
    })
    this.#downSinceMs = options.clock.monotonic()
    const { host, port, sentinels, username, password, db, isTls } = this.#address
    this.client = new Redis({
      ...(sentinels === null
        ? { host, port }
        : {
            sentinels: [...sentinels.hosts],
            name: sentinels.master,
            sentinelRetryStrategy: (times: number) => {
              this.#attempts = times
              return backoffMs(times - 1, options.random, RECONNECT_BACKOFF)
            },
          }),
      db,
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password }),
      ...(isTls ? { tls: {} } : {}),
      lazyConnect: true,
      connectionName: clientName(options.connectionName),
      // RPUSH needs nothing of RESP3, and RESP2 needs no HELLO, which old servers do not know.
      protocol: 2,
      disableClientInfo: true,
      keepAlive: KEEP_ALIVE_MS,
      connectTimeout: 10_000,
      commandTimeout: options.commandTimeoutMs,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      maxLoadingRetryTime: LOADING_RETRY_MS,
      retryStrategy: (times) => {
        this.#attempts = times
        return backoffMs(times - 1, options.random, RECONNECT_BACKOFF)
      },
    })
    this.client.on('error', (error: Error) => this.#onError(error))
    this.client.on('close', () => this.#onClose())
    this.client.on('ready', () => this.#onReady())
  }

  /** Whether a command would be written now. */
  get isUp(): boolean {
    return this.#isUp && this.client.status === 'ready' && this.client.stream.writable
  }

  /** The address without user and password. */
  get shown(): string {
    return this.#address.shown
  }

  /**
   * Connects and waits for the answer to a PING.
   *
   * @throws PushError PUSH_UNREACHABLE after 30 s of trying, PUSH_REFUSED at once for a refused login.
   */
  async connect(): Promise<void> {
    const { clock, connectTimeoutMs = CONNECT_TIMEOUT_MS } = this.#options
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#onFatal = reject
    const tryPing = (): void => {
      this.client.ping().then(
        () => resolve(),
        () => undefined,
      )
    }
    this.client.on('ready', tryPing)
    const timer = clock.setTimeout(
      () => reject(this.#unreachable(connectTimeoutMs)),
      connectTimeoutMs,
    )
    this.client.connect().catch(() => undefined)
    try {
      await promise
    } catch (error) {
      this.close()
      throw error
    } finally {
      clock.clearTimeout(timer)
      this.client.off('ready', tryPing)
      this.#onFatal = undefined
    }
  }

  /** Begins to connect, and goes on for good; nobody waits. */
  open(): void {
    this.client.connect().catch(() => undefined)
  }

  /**
   * Leaves the connection for a new one. After an answer that did not come: what the server still makes of
   * the old one must end first.
   *
   * @param cause for the log; null = say nothing.
   */
  reset(cause: string | null): void {
    if (this.#isClosed || this.client.status !== 'ready') return
    this.#resetCause = cause
    this.#isQuiet = cause === null
    this.client.disconnect(true)
  }

  close(): void {
    this.#isClosed = true
    this.#isUp = false
    this.#onFatal?.(new PushError('PUSH_CLOSED', `Redis at ${this.shown} is no longer wanted.`))
    this.client.disconnect()
  }

  #onReady(): void {
    const downMs = Math.round(this.#options.clock.monotonic() - this.#downSinceMs)
    if (this.#isQuiet) {
      this.#isQuiet = false
    } else if (this.#wasUp) {
      this.#log.info('redis: connected again', { downMs, attempts: this.#attempts })
    } else {
      this.#log.info('redis: connected', {})
    }
    this.#isUp = true
    this.#wasUp = true
    this.#lastError = undefined
    this.#saidCause = ''
    this.onUp()
  }

  #onError(error: Error): void {
    this.#lastError = error
    const isRefused = error instanceof ReplyError && REFUSED_LOGIN.test(error.message)
    if (isRefused && this.#onFatal !== undefined) this.#onFatal(this.#refused(error))
  }

  #onClose(): void {
    if (this.#isClosed) return
    if (this.#isUp) {
      this.#isUp = false
      this.#downSinceMs = this.#options.clock.monotonic()
    }
    const cause = this.#closeCause()
    this.#resetCause = null
    if (this.#isQuiet && this.#lastError === undefined) return
    this.#isQuiet = false
    if (cause === this.#saidCause) return
    const isRefused = REFUSED_LOGIN.test(cause)
    if (this.#saidCause === '') {
      this.#log.warn('redis: no connection, trying again', { cause })
    } else if (isRefused) {
      this.#log.error('redis: the login is refused, trying again; correct the address', { cause })
    } else {
      return
    }
    this.#saidCause = cause
  }

  #closeCause(): string {
    if (this.#lastError !== undefined) return causeOf(this.#lastError)
    return this.#resetCause ?? 'the server closed it'
  }

  #unreachable(waitedMs: number): PushError {
    const cause = this.#lastError === undefined ? 'no answer' : causeOf(this.#lastError)
    return new PushError(
      'PUSH_UNREACHABLE',
      `Redis at ${this.shown} did not answer within ${Math.ceil(waitedMs / 1000)} s (${this.#attempts + 1} attempts, last: ${cause}). Check -redis, that the server runs, and that this host may connect; -redis none starts without it.`,
      { address: this.shown, attempts: this.#attempts + 1 },
      { cause: this.#lastError, retryable: true },
    )
  }

  #refused(cause: Error): PushError {
    return new PushError(
      'PUSH_REFUSED',
      `Redis at ${this.shown} refuses the login (${cause.message}). Write user and password into the address: redis://user:password@host:port.`,
      { address: this.shown },
      { cause },
    )
  }
}

const REFUSED_LOGIN = /^(NOAUTH|WRONGPASS|ERR invalid password|ERR Client sent AUTH)/

function causeOf(error: Error): string {
  const message = messageOf(error)
  return message === '' ? String((error as NodeJS.ErrnoException).code ?? error.name) : message
}

/** CLIENT SETNAME takes no spaces and nothing outside of printable ASCII. */
function clientName(name: string): string {
  return name.replaceAll(/[^\x21-\x7e]/g, '_')
}
