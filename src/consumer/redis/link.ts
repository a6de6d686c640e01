import { Redis, type RedisOptions, ReplyError } from 'ioredis'
import {
  backoffMs,
  type Clock,
  type Log,
  messageOf,
  type Random,
  sleep,
  within,
} from '../../base/index.ts'
import { ConsumerError } from '../errors.ts'

const CONNECT_TIMEOUT_MS = 30_000
const RECONNECT_BACKOFF = { baseMs: 50, maxMs: 5_000 }
/** After an answer that is an error, such as LOADING, READONLY or OOM. */
const REFUSED_BACKOFF = { baseMs: 200, maxMs: 5_000 }
/** Longer than any command of a consumer blocks. */
const COMMAND_TIMEOUT_MS = 15_000
/** Blocking commands of the readers wait this long. */
export const BLOCK_SECONDS = 5
const UNBLOCK_RETRY_MS = 20
const UNBLOCK_TIMEOUT_MS = (BLOCK_SECONDS + 1) * 1000
const REFUSED_LOGIN = /^(NOAUTH|WRONGPASS|NOPERM|ERR invalid password|ERR Client sent AUTH)/

/** `host:port`, `redis://…`, `rediss://…`, or options of ioredis for everything else (CA, Sentinel). */
export type RedisTarget = string | RedisOptions

export interface LinkOptions {
  readonly redis: RedisTarget
  /** What CLIENT LIST shows. */
  readonly connectionName: string
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

/**
 * One connection to a Redis that comes back by itself. ioredis resends nothing: whoever sent a command without
 * an answer looks at what the server made of it before he goes on.
 */
export class RedisLink {
  readonly client: Redis
  readonly #options: LinkOptions
  #isClosed = false
  #saidDown = false
  #lastError: Error | undefined
  #refusals = 0
  /** The server's number of the connection. */
  #clientId = 0
  #waiters: (() => void)[] = []

  constructor(options: LinkOptions) {
    this.#options = options
    const fixed = {
      lazyConnect: true,
      connectionName: options.connectionName.replaceAll(/[^\x21-\x7e]/g, '_'),
      protocol: 2 as const,
      disableClientInfo: true,
      keepAlive: 15_000,
      commandTimeout: COMMAND_TIMEOUT_MS,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      retryStrategy: (times: number) => backoffMs(times - 1, options.random, RECONNECT_BACKOFF),
    }
    const { redis } = options
    this.client =
      typeof redis === 'string'
        ? new Redis(redis, fixed)
        : new Redis({ ...redis, ...fixed, replyMapping: 'legacy' })
    this.client.on('error', (error: Error) => {
      this.#lastError = error
    })
    this.client.on('close', () => this.#onClose())
    this.client.on('ready', () => this.#onReady())
  }

  /** @throws ConsumerError CONSUMER_UNREACHABLE after 30 s, CONSUMER_REFUSED at once. */
  async connect(timeoutMs: number = CONNECT_TIMEOUT_MS): Promise<void> {
    const { clock } = this.#options
    const giveUp = new AbortController()
    const timer = clock.setTimeout(() => giveUp.abort(new Error('no answer')), timeoutMs)
    this.client.connect().catch(() => undefined)
    try {
      for (;;) {
        await Promise.race([this.#up(), rejected(giveUp.signal)])
        try {
          await this.client.ping()
          return
        } catch (error) {
          if (isRefusal(error)) throw error
          await sleep(clock, 100, giveUp.signal)
        }
      }
    } catch (error) {
      const cause = this.#lastError ?? (error as Error)
      this.close()
      if (isRefusal(error) || isRefusal(cause)) throw refused(isRefusal(error) ? error : cause)
      throw new ConsumerError(
        'CONSUMER_UNREACHABLE',
        `Redis did not answer within ${Math.ceil(timeoutMs / 1000)} s (${messageOf(cause)}). Check the address and that this host may connect.`,
        {},
        { cause, retryable: true },
      )
    } finally {
      clock.clearTimeout(timer)
    }
  }

  /** Resolves with true when commands can be sent, with false once it was closed. */
  async untilUp(): Promise<boolean> {
    while (!this.#isClosed && this.client.status !== 'ready') {
      await new Promise<void>((resolve) => this.#waiters.push(resolve))
    }
    return !this.#isClosed
  }

  /** A command failed: waits a while after a refusal, else leaves the connection for a new one. */
  async recover(error: unknown): Promise<void> {
    if (this.#isClosed) return
    const { clock, random, log } = this.#options
    if (isReplyError(error)) {
      if (this.#refusals === 0)
        log.warn('redis: refused, trying again', { cause: messageOf(error) })
      await sleep(clock, backoffMs(this.#refusals++, random, REFUSED_BACKOFF))
      return
    }
    this.#lastError ??= error as Error
    if (this.client.status === 'ready') this.client.disconnect(true)
    await new Promise((resolve) => setImmediate(resolve))
  }

  /** A command was answered: what was refused before is over. */
  accepted(): void {
    this.#refusals = 0
  }

  /** Ends a blocking command of this connection, again and again until the loop around it has ended. */
  async unblockUntil(loop: Promise<void>, other: RedisLink): Promise<void> {
    const { clock } = this.#options
    const deadline = clock.monotonic() + UNBLOCK_TIMEOUT_MS
    while (!(await within(clock, loop, UNBLOCK_RETRY_MS))) {
      if (this.client.status !== 'ready' || clock.monotonic() > deadline) this.close()
      // Without the right to it the command ends by itself.
      else await other.client.client('UNBLOCK', this.#clientId).catch(() => undefined)
    }
  }

  close(): void {
    this.#isClosed = true
    this.client.disconnect()
    for (const wake of this.#waiters.splice(0)) wake()
  }

  async #up(): Promise<void> {
    while (this.client.status !== 'ready') {
      const error = this.#lastError
      if (isRefusal(error)) throw error
      await new Promise<void>((resolve) => this.#waiters.push(resolve))
    }
  }

  #onReady(): void {
    if (this.#saidDown) this.#options.log.warn('redis: connected again', {})
    this.#saidDown = false
    this.#lastError = undefined
    this.client.client('ID').then(
      (id) => {
        this.#clientId = id
      },
      () => undefined,
    )
    for (const wake of this.#waiters.splice(0)) wake()
  }

  #onClose(): void {
    if (!this.#isClosed && !this.#saidDown) {
      this.#saidDown = true
      const cause = this.#lastError === undefined ? 'it was closed' : messageOf(this.#lastError)
      this.#options.log.warn('redis: no connection, trying again', { cause })
    }
    for (const wake of this.#waiters.splice(0)) wake()
  }
}

/** An answer, in contrast to none: the command was not done. */
export function isReplyError(error: unknown): error is Error {
  return error instanceof ReplyError
}

function isRefusal(error: unknown): error is Error {
  return isReplyError(error) && REFUSED_LOGIN.test(error.message)
}

function refused(cause: Error): ConsumerError {
  return new ConsumerError(
    'CONSUMER_REFUSED',
    `Redis refuses: ${cause.message}. Write user and password into the address, redis://user:password@host:port, and give the user the rights that docs/consumers.md lists.`,
    {},
    { cause },
  )
}

function rejected(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
  })
}
