import {
  type ClientDuplexStream,
  type ClientReadableStream,
  Metadata,
  type ServiceClientConstructor,
  type ServiceError,
  status,
} from '@grpc/grpc-js'
import { backoffMs, type Clock, sleep, systemClock, within } from '../../base/index.ts'
import { ConsumerError } from '../errors.ts'
import type { ConsumedEventName } from '../event.ts'
import type { EventSource, SourceContext } from '../ports.ts'
import { Acknowledgements } from './acknowledgements.ts'
import { type GrpcTarget, serviceClient, targetCredentials } from './proto-files.ts'

const FIRST_TIMEOUT_MS = 30_000
/** A handler may take this long; the gateway's own default is 30 s. */
const ACKNOWLEDGE_SECONDS = 300
/** How long the end of a stream is waited for, behind its last acknowledgement. */
const END_TIMEOUT_MS = 1_000
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
  /**
   * Names a subscription whose events are acknowledged (Consume): what was not comes again, to this process or to
   * another one of the same subscription; those share its events. Without it: Subscribe, what comes from now on.
   */
  readonly subscription?: string
  /** Of a subscription that is behind by half of the gateway's queue. Default: it is cut off. */
  readonly whenSlow?: 'cut-off' | 'drop-oldest' | 'block'
  /** Of a subscription: an event that is not handled for so long goes to another process. Default 300. */
  readonly acknowledgeSeconds?: number
  /** How long a subscription is kept while nobody has a stream of it. Default: the gateway's, 300. */
  readonly keepSeconds?: number
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
  readonly number: string
}

/** `gateway.Events` of a gateway: Consume, or Subscribe. Comes back by itself, but for a request that it refuses. */
export function grpcSubscription(options: GrpcSubscriptionOptions): EventSource {
  return new GrpcSubscription(options)
}

class GrpcSubscription implements EventSource {
  readonly #options: GrpcSubscriptionOptions
  readonly #closing = new AbortController()
  #client: InstanceType<ServiceClientConstructor> | undefined
  #stream: ClientReadableStream<WireEvent> | ClientDuplexStream<object, WireEvent> | undefined
  #acknowledgements: Acknowledgements | undefined
  #isPaused = false
  #clock: Clock = systemClock
  #running: Promise<void> = Promise.resolve()

  constructor(options: GrpcSubscriptionOptions) {
    this.#options = options
  }

  async start(context: SourceContext): Promise<void> {
    this.#clock = context.clock
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
    // What is not read comes again; a stream that acknowledges is needed until the handlers have ended.
    if (this.#options.subscription === undefined) this.#stream?.cancel()
    else this.#stream?.pause()
  }

  async close(): Promise<void> {
    const stream = this.#stream
    this.#acknowledgements?.flush()
    if (stream !== undefined && 'end' in stream) stream.end()
    // Whatever else it brings is not taken, but its end is read.
    stream?.resume()
    if (!(await within(this.#clock, this.#running, END_TIMEOUT_MS))) stream?.cancel()
    await this.#running
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
    const stream = this.#open(intake.roomMax)
    this.#stream = stream
    const acknowledgements =
      'write' in stream
        ? new Acknowledgements((acknowledge) => stream.write({ acknowledge }))
        : undefined
    this.#acknowledgements = acknowledgements
    stream.once('close', () => acknowledgements?.end())
    return new Promise((resolve) => {
      stream.once('metadata', onSubscribed)
      stream.on('data', (event: WireEvent) => {
        if (this.#isPaused) return
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
          confirm: acknowledgements?.take(event.number) ?? (() => undefined),
        })
        if (intake.room() > 0 || stream.isPaused()) return
        stream.pause()
        void intake.whenRoom().then(() => {
          if (!this.#isPaused) stream.resume()
        })
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

  #open(roomMax: number): ClientReadableStream<WireEvent> | ClientDuplexStream<object, WireEvent> {
    const { name, events = [], shards = [], guildIds = [], token, subscription } = this.#options
    const client = this.#client!
    const metadata = new Metadata()
    if (token !== undefined) metadata.set('authorization', `Bearer ${token}`)
    const request = { name, filter: { events, shards, guild_ids: guildIds } }
    if (subscription === undefined) {
      const subscribe = client['Subscribe'] as unknown as (
        request: object,
        metadata: Metadata,
      ) => ClientReadableStream<WireEvent>
      return subscribe.call(client, request, metadata)
    }
    const consume = client['Consume'] as unknown as (
      metadata: Metadata,
    ) => ClientDuplexStream<object, WireEvent>
    const { whenSlow = 'cut-off', acknowledgeSeconds, keepSeconds } = this.#options
    const stream = consume.call(client, metadata)
    stream.write({
      subscribe: {
        ...request,
        subscription,
        when_slow: `SLOW_POLICY_${whenSlow.toUpperCase().replace('-', '_')}`,
        unacknowledged_max: roomMax,
        acknowledge_seconds: acknowledgeSeconds ?? ACKNOWLEDGE_SECONDS,
        keep_seconds: keepSeconds ?? 0,
      },
    })
    return stream
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
