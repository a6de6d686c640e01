/**
 * Calls that one worker of a fleet alone can answer, taken by any of them and passed on as they are.
 *
 *   caller ──► worker A ── the same call, gateway-worker: B ──► worker B
 *
 * The metadata `gateway-worker` says who is meant. Whoever else gets such a call refuses it (the address belongs to
 * another process by now, or is a loopback address of another host), and nobody passes it on again.
 */
import {
  Client,
  credentials,
  type handleServerStreamingCall,
  type handleUnaryCall,
  Metadata,
  type MethodDefinition,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceError,
  status,
} from '@grpc/grpc-js'
import { type Clock, type Log, messageOf } from '../base/index.ts'
import { ServerError } from './errors.ts'
import { CODE_METADATA, statusOf } from './grpc-status.ts'

export interface Peer {
  readonly id: string
  /** Of its gRPC listener; empty without one. */
  readonly address: string
}

/** Who is in the fleet; cmd/gateway implements it with the claims in etcd. */
export interface PeerDirectory {
  readonly self: Peer
  /** The other live workers. */
  others(): readonly Peer[]
  /** Whether this process holds it, else who does by the claims; null: nobody at the moment. */
  ownerOf(shardId: number): Peer | null
}

/** A process without a fleet: every shard is its own. */
export const ALONE: PeerDirectory = {
  self: { id: '', address: '' },
  others: () => [],
  ownerOf: () => null,
}

/** The shard that a request is about. May throw a BaseError, which the caller gets. */
export type ShardOf<Request> = (request: Request) => number | Promise<number>

/** A method of a loaded definition, whose types are not known at compile time. */
type AnyMethod = MethodDefinition<object, object>

const WORKER_METADATA = 'gateway-worker'
/** Whoever is asked together with others is waited for so long. */
const ASK_MS = 2000
/** A peer that is frozen is noticed after both of them. */
const KEEPALIVE_MS = 5000
const KEEPALIVE_TIMEOUT_MS = 5000

export class Peers {
  readonly #directory: PeerDirectory
  readonly #clock: Clock
  readonly #log: Log
  readonly #clients = new Map<string, Client>()

  constructor(directory: PeerDirectory, { clock, log }: { clock: Clock; log: Log }) {
    this.#directory = directory
    this.#clock = clock
    this.#log = log
  }

  /** A handler that answers for shards of this process and passes calls for others to their owners. */
  unary<Request, Response>(
    method: MethodDefinition<Request, Response>,
    shardOf: ShardOf<Request>,
    handle: handleUnaryCall<Request, Response>,
  ): handleUnaryCall<Request, Response> {
    return (call, respond) => {
      const pass = (peer: Peer): void => {
        const passed = this.#client(peer).makeUnaryRequest(
          method.path,
          method.requestSerialize,
          method.responseDeserialize,
          call.request,
          this.#addressed(call.metadata, peer),
          { deadline: call.getDeadline() },
          (error, response) => {
            if (error === null) respond(null, response!)
            else respond(this.#statusFrom(error, peer))
          },
        )
        call.on('cancelled', () => passed.cancel())
      }
      this.#route(call, shardOf).then(
        (peer) => (peer === null ? handle(call, respond) : pass(peer)),
        (error: unknown) => respond(statusOf(error, method.path, this.#log)),
      )
    }
  }

  /** The same for a method that answers with a stream. */
  stream<Request, Response>(
    method: MethodDefinition<Request, Response>,
    shardOf: ShardOf<Request>,
    handle: handleServerStreamingCall<Request, Response>,
  ): handleServerStreamingCall<Request, Response> {
    return (call) => {
      const fail = (error: Partial<ServiceError>): void => void call.emit('error', error)
      const pass = (peer: Peer): void => {
        const passed = this.#client(peer).makeServerStreamRequest(
          method.path,
          method.requestSerialize,
          method.responseDeserialize,
          call.request,
          this.#addressed(call.metadata, peer),
          { deadline: call.getDeadline() },
        )
        let failure: ServiceError | null = null
        passed.on('error', (error) => (failure = error as ServiceError))
        passed.on('data', (message: Response) => {
          if (call.write(message)) return
          passed.pause()
          call.once('drain', () => passed.resume())
        })
        // grpc-js ends the stream on a failure too. A failure may overtake messages that the caller was slow to read.
        passed.on('end', () => {
          if (failure === null) call.end()
          else fail(this.#statusFrom(failure, peer))
        })
        call.on('cancelled', () => passed.cancel())
      }
      this.#route(call, shardOf).then(
        (peer) => (peer === null ? handle(call) : pass(peer)),
        (error: unknown) => fail(statusOf(error, method.path, this.#log)),
      )
    }
  }

  /**
   * Whether the caller means this process alone: then nobody else is asked.
   *
   * @throws ServerError SERVER_WRONG_WORKER when it means another one.
   */
  isForSelf(metadata: Metadata): boolean {
    const [meant] = metadata.get(WORKER_METADATA)
    if (meant === undefined) return false
    const { id } = this.#directory.self
    if (meant === id) return true
    throw new ServerError(
      'SERVER_WRONG_WORKER',
      `The call was meant for the worker ${String(meant)}, this is ${id}. The address that the other one has registered leads here: give each worker an -addr that the others reach.`,
      { meant, worker: id },
      { retryable: true },
    )
  }

  /** The same call to every other worker; null from those that do not answer within 2 s. */
  async askOthers<Request, Response>(
    method: MethodDefinition<Request, Response>,
    request: Request,
    metadata: Metadata = new Metadata(),
  ): Promise<ReadonlyMap<string, Response | null>> {
    const asked = this.#directory.others().filter(({ address }) => address !== '')
    const answers = asked.map(
      (peer) =>
        new Promise<[string, Response | null]>((resolve) => {
          this.#client(peer).makeUnaryRequest(
            method.path,
            method.requestSerialize,
            method.responseDeserialize,
            request,
            this.#addressed(metadata, peer),
            { deadline: this.#clock.now() + ASK_MS },
            (error, response) => {
              if (error !== null) {
                const fields = { worker: peer.id, address: peer.address, error: messageOf(error) }
                this.#log.warn('a worker of the fleet did not answer', fields)
              }
              resolve([peer.id, error === null ? response! : null])
            },
          )
        }),
    )
    return new Map(await Promise.all(answers))
  }

  /** The worker that holds the shard by the claims, if it is another one; null: this process, or nobody. */
  ownerOf(shardId: number): Peer | null {
    const owner = this.#directory.ownerOf(shardId)
    return owner === null || owner.id === this.#directory.self.id ? null : owner
  }

  /** One call to one worker. @throws ServerError SERVER_WORKER_UNREACHABLE, and what the worker refuses it with. */
  call<Response>(
    peer: Peer,
    method: AnyMethod,
    request: object,
    metadata: Metadata,
    signal?: AbortSignal,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      const passed = this.#reachable(peer).makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize as (bytes: Buffer) => Response,
        request,
        this.#addressed(metadata, peer),
        (error, response) => {
          if (error === null) resolve(response!)
          else reject(this.#errorFrom(error, peer))
        },
      )
      signal?.addEventListener('abort', () => passed.cancel(), { once: true })
    })
  }

  /** The same for a method that answers with a stream. Resolves at its end. */
  read<Response>(
    peer: Peer,
    method: AnyMethod,
    request: object,
    metadata: Metadata,
    onMessage: (message: Response) => void,
    signal?: AbortSignal,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const passed = this.#reachable(peer).makeServerStreamRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize as (bytes: Buffer) => Response,
        request,
        this.#addressed(metadata, peer),
      )
      passed.on('data', onMessage)
      passed.on('error', (error) => reject(this.#errorFrom(error as ServiceError, peer)))
      passed.on('end', () => resolve())
      signal?.addEventListener('abort', () => passed.cancel(), { once: true })
    })
  }

  close(): void {
    for (const client of this.#clients.values()) client.close()
    this.#clients.clear()
  }

  /** Null: this process answers. */
  async #route<Request, Response>(
    call: ServerUnaryCall<Request, Response> | ServerWritableStream<Request, Response>,
    shardOf: ShardOf<Request>,
  ): Promise<Peer | null> {
    if (this.isForSelf(call.metadata)) return null
    const shardId = await shardOf(call.request)
    const owner = this.#directory.ownerOf(shardId)
    // Nobody holds it: the handler says so.
    if (owner === null || owner.id === this.#directory.self.id) return null
    if (owner.address !== '') return owner
    throw new ServerError(
      'SERVER_WORKER_UNREACHABLE',
      `Shard ${shardId} is held by the worker ${owner.id}, which has no gRPC listener (-addr none).`,
      { shardId, worker: owner.id },
    )
  }

  #client({ address }: Peer): Client {
    let client = this.#clients.get(address)
    if (client !== undefined) return client
    // Those of workers that have gone.
    const living = new Set(this.#directory.others().map((peer) => peer.address))
    for (const [other, old] of this.#clients) {
      if (living.has(other)) continue
      old.close()
      this.#clients.delete(other)
    }
    client = new Client(address, credentials.createInsecure(), {
      'grpc.keepalive_time_ms': KEEPALIVE_MS,
      'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
    })
    this.#clients.set(address, client)
    return client
  }

  #addressed(metadata: Metadata, peer: Peer): Metadata {
    const addressed = new Metadata()
    for (const value of metadata.get('authorization')) addressed.add('authorization', value)
    addressed.set(WORKER_METADATA, peer.id)
    return addressed
  }

  /** @throws ServerError SERVER_WORKER_UNREACHABLE for a worker without a listener. */
  #reachable(peer: Peer): Client {
    if (peer.address !== '') return this.#client(peer)
    throw new ServerError(
      'SERVER_WORKER_UNREACHABLE',
      `The worker ${peer.id} holds the shard and has no gRPC listener (-addr none).`,
      { worker: peer.id },
    )
  }

  #errorFrom(error: ServiceError, peer: Peer): ServerError {
    const { code, details = '' } = this.#statusFrom(error, peer)
    const isBad = code === status.INVALID_ARGUMENT
    return new ServerError(
      isBad ? 'SERVER_BAD_REQUEST' : 'SERVER_WORKER_UNREACHABLE',
      details,
      { worker: peer.id },
      { cause: error, retryable: !isBad },
    )
  }

  /** What the peer answered; or, if it did not, that. */
  #statusFrom(error: ServiceError, { id, address }: Peer): ReturnType<typeof statusOf> {
    const isOwn = error.code !== status.UNAVAILABLE || error.metadata.get(CODE_METADATA).length > 0
    if (isOwn) return { code: error.code, details: error.details, metadata: error.metadata }
    const unreachable = new ServerError(
      'SERVER_WORKER_UNREACHABLE',
      `The worker ${id}, which the call is for, does not answer at ${address}. If it runs, give it an -addr that the others reach.`,
      { worker: id, address },
      { cause: error, retryable: true },
    )
    return statusOf(unreachable, '', this.#log)
  }
}
