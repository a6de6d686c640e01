import {
  type ClientReadableStream,
  Metadata,
  type ServiceClientConstructor,
  type ServiceError,
  status,
} from '@grpc/grpc-js'
import { backoffMs, sleep } from '../../base/index.ts'
import { ConsumerError } from '../errors.ts'
import type { ConsumedEventName } from '../event.ts'
import type { EventSource, SourceContext } from '../ports.ts'
import { type GrpcTarget, serviceClient, targetCredentials } from './proto-files.ts'

const FIRST_TIMEOUT_MS = 30_000
const RECONNECT_BACKOFF = { baseMs: 50, maxMs: 5_000 }
/** Nothing that a new attempt would change. */
const FATAL: ReadonlySet<number> = new Set([
  status.INVALID_ARGUMENT,
  status.UNAUTHENTICATED,
  status.PERMISSION_DENIED,
  status.UNIMPLEMENTED,
])

export interface GrpcSubscriptionOptions extends GrpcTarget {
  /** The subscriber's name in the gateway's log. */
  readonly name: string
  /** Default: all but GUILD_MEMBERS_CHUNK. */
  readonly events?: readonly (ConsumedEventName | (string & {}))[]
  readonly shards?: readonly number[]
  readonly guildIds?: readonly string[]
}

/** An event as proto-loader hands it over (keepCase, longs and enums as strings). */
interface WireEvent {
  readonly t: string
  readonly s: string
  readonly shard: number
  readonly shard_count: number
  readonly session_id: string
  readonly class: string
  readonly received_at: string
  readonly d: Buffer
}

/** `gateway.Events/Subscribe` of a gateway. Comes back by itself, but for a request that it refuses. */
export function grpcSubscription(options: GrpcSubscriptionOptions): EventSource {
  return new GrpcSubscription(options)
}

class GrpcSubscription implements EventSource {
  readonly #options: GrpcSubscriptionOptions
  readonly #closing = new AbortController()
  #client: InstanceType<ServiceClientConstructor> | undefined
  #stream: ClientReadableStream<WireEvent> | undefined
  #isPaused = false
  #running: Promise<void> = Promise.resolve()

  constructor(options: GrpcSubscriptionOptions) {
    this.#options = options
  }

  async start(context: SourceContext): Promise<void> {
    const Events = serviceClient('events.proto', 'gateway.Events')
    this.#client = new Events(this.#options.address, targetCredentials(this.#options), {
      // Events of large guilds exceed the client's default of 4 MiB.
      'grpc.max_receive_message_length': -1,
      'grpc.keepalive_time_ms': 30_000,
    })
    const first = Promise.withResolvers<void>()
    const timer = context.clock.setTimeout(
      () => first.reject(this.#unreachable()),
      FIRST_TIMEOUT_MS,
    )
    this.#running = this.#run(context, first)
    try {
      await first.promise
    } catch (error) {
      await this.pause()
      await this.close()
      throw error
    } finally {
      context.clock.clearTimeout(timer)
    }
  }

  async pause(): Promise<void> {
    this.#isPaused = true
    this.#closing.abort(new Error('the consumer stops'))
    this.#stream?.cancel()
    await this.#running
  }

  async close(): Promise<void> {
    this.#client?.close()
  }

  async #run(context: SourceContext, first: PromiseWithResolvers<void>): Promise<void> {
    const { clock, random, log, intake } = context
    let attempts = 0
    let saidDown = false
    while (!this.#isPaused) {
      const end = await this.#subscribe(context, () => {
        first.resolve()
        attempts = 0
        if (saidDown) log.warn('subscription: connected again', {})
        saidDown = false
      })
      if (this.#isPaused) break
      this.#lastEnd = end
      if (FATAL.has(end.code)) {
        const error = refused(end)
        first.reject(error)
        intake.fail(error)
        return
      }
      if (!saidDown) log.warn('subscription: ended, trying again', { cause: end.message })
      saidDown = true
      const waitMs = backoffMs(attempts++, random, RECONNECT_BACKOFF)
      await sleep(clock, waitMs, this.#closing.signal).catch(() => undefined)
    }
  }

  #lastEnd: ServiceError | undefined

  /** One stream, from its beginning to its end. */
  #subscribe({ intake }: SourceContext, onSubscribed: () => void): Promise<ServiceError> {
    const { name, events = [], shards = [], guildIds = [], token } = this.#options
    const client = this.#client!
    const metadata = new Metadata()
    if (token !== undefined) metadata.set('authorization', `Bearer ${token}`)
    const request = { name, filter: { events, shards, guild_ids: guildIds } }
    const subscribe = client['Subscribe'] as unknown as (
      request: object,
      metadata: Metadata,
    ) => ClientReadableStream<WireEvent>
    const stream = subscribe.call(client, request, metadata)
    this.#stream = stream
    return new Promise((resolve) => {
      stream.once('metadata', onSubscribed)
      stream.on('data', (event: WireEvent) => {
        intake.take({
          eventName: event.t,
          stamp: {
            shardId: event.shard,
            shardCount: event.shard_count,
            sessionId: event.session_id,
            sequence: Number(event.s),
            guildClass: event.class,
            receivedAtMs: Number(event.received_at),
          },
          payload: event.d,
          confirm: () => undefined,
        })
        if (intake.room() > 0 || stream.isPaused()) return
        stream.pause()
        void intake.whenRoom().then(() => stream.resume())
      })
      stream.once('error', (error: ServiceError) => resolve(error))
      stream.once('end', () => {
        resolve(
          Object.assign(new Error('the gateway ended the stream'), {
            code: status.UNAVAILABLE,
            details: 'the gateway ended the stream',
            metadata: new Metadata(),
          }),
        )
      })
    })
  }

  #unreachable(): ConsumerError {
    const { address } = this.#options
    return new ConsumerError(
      'CONSUMER_UNREACHABLE',
      `The gateway at ${address} did not answer within ${FIRST_TIMEOUT_MS / 1000} s (${this.#lastEnd?.details ?? 'no answer'}). Check the address, that it listens with -addr, and that it has a destination of the kind grpc-subscribe.`,
      { address },
      { cause: this.#lastEnd, retryable: true },
    )
  }
}

function refused(end: ServiceError): ConsumerError {
  return new ConsumerError(
    'CONSUMER_REFUSED',
    `The gateway refuses the subscription: ${end.details}.`,
    { status: status[end.code] },
    { cause: end },
  )
}
