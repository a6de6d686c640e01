/** The management services of a fleet, by gRPC from any of its workers. */
import {
  Client,
  type ClientReadableStream,
  credentials,
  Metadata,
  type MethodDefinition,
  type ServiceDefinition,
  type ServiceError,
  status,
} from '@grpc/grpc-js'
import type { Clock, Secret } from '../../src/base/index.ts'
import { ACTIVITY_SERVICE, CODE_METADATA, loadService, protoFile } from '../../src/server/index.ts'

/** A call that a worker refused, or that none answered. */
export class CallError extends Error {
  override readonly name = 'CallError'
  /** Of docs/errors.md. */
  readonly code: string
  /** No worker answered. */
  readonly isUnanswered: boolean

  constructor(code: string, sentence: string, isUnanswered: boolean) {
    super(sentence.startsWith('[') ? sentence : `[${code}] ${sentence}`)
    this.code = code
    this.isUnanswered = isUnanswered
  }
}

/** A worker passes a call on at most once, and waits for those that it asks for 2 s. */
const CALL_MS = 10_000

export class FleetClient {
  readonly #addresses: readonly string[]
  readonly #adminToken: Secret | null
  readonly #clock: Clock
  readonly #services: Readonly<Record<'activity' | 'fleet' | 'gateway', ServiceDefinition>>
  #client: Client | null = null
  #index = 0

  constructor(deps: {
    readonly addresses: readonly string[]
    readonly adminToken: Secret | null
    readonly clock: Clock
  }) {
    this.#addresses = deps.addresses
    this.#adminToken = deps.adminToken
    this.#clock = deps.clock
    this.#services = {
      activity: loadService(protoFile('activity'), ACTIVITY_SERVICE),
      fleet: loadService(protoFile('fleet'), 'gateway.v1.Fleet'),
      gateway: loadService(protoFile('gateway'), 'gateway.Gateway'),
    }
  }

  /** @throws CallError */
  async call<Response>(
    service: 'activity' | 'fleet' | 'gateway',
    method: string,
    request: object = {},
  ): Promise<Response> {
    const definition = this.#services[service][method] as MethodDefinition<object, Response>
    for (;;) {
      try {
        return await this.#once(definition, request)
      } catch (error) {
        const { isUnanswered } = error as CallError
        this.#client?.close()
        this.#client = null
        if (!isUnanswered || ++this.#index >= this.#addresses.length) throw error
      }
    }
  }

  close(): void {
    this.#client?.close()
  }

  #once<Response>(method: MethodDefinition<object, Response>, request: object): Promise<Response> {
    const address = this.#addresses[this.#index] ?? ''
    this.#client ??= new Client(address, credentials.createInsecure())
    const client = this.#client
    const metadata = new Metadata()
    if (this.#adminToken !== null) {
      metadata.set('authorization', `Bearer ${this.#adminToken.reveal()}`)
    }
    return new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        metadata,
        { deadline: this.#clock.now() + CALL_MS },
        (error, response) => {
          if (error === null) resolve(response!)
          else reject(asCallError(error, this.#addresses.join(', ')))
        },
      )
    })
  }
}

function asCallError(error: ServiceError, addresses: string): CallError {
  const [code] = error.metadata.get(CODE_METADATA)
  if (code !== undefined) return new CallError(String(code), error.details, false)
  if (error.code === status.UNIMPLEMENTED) {
    const sentence = `The program at ${addresses} does not know this command: it is no gateway, or an older version of it.`
    return new CallError('SERVER_NO_ROUTE', sentence, false)
  }
  const isSilent = error.code === status.UNAVAILABLE || error.code === status.DEADLINE_EXCEEDED
  if (!isSilent) return new CallError('SERVER_INTERNAL', error.details, false)
  const sentence = `No worker answers at ${addresses}. Give the gRPC address (-addr) of one that runs; its log says "serving gRPC".`
  return new CallError('SERVER_WORKER_UNREACHABLE', sentence, true)
}

/** Of gateway.SubscribeRequest; empty lists want everything. */
export interface TailFilter {
  readonly events: readonly string[]
  readonly shards: readonly number[]
  readonly guild_ids: readonly string[]
}

/** gateway.Event as proto-loader hands it over. */
export interface TailedEvent {
  readonly t: string
  readonly s: string
  readonly shard: number
  readonly session_id: string
  readonly class: string
  readonly received_at: string
  readonly d: Buffer
}

/** `gateway.Events` of one worker. */
export class EventClient {
  readonly #client: Client

  constructor(address: string) {
    this.#client = new Client(address, credentials.createInsecure(), {
      // Events of large guilds exceed the client's default of 4 MiB.
      'grpc.max_receive_message_length': -1,
      'grpc.keepalive_time_ms': 30_000,
    })
  }

  subscribe(filter: TailFilter): ClientReadableStream<TailedEvent> {
    const method = loadService(protoFile('events'), 'gateway.Events')[
      'Subscribe'
    ]! as MethodDefinition<object, TailedEvent>
    return this.#client.makeServerStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      { filter, encoding: 'EVENT_ENCODING_JSON', name: 'gatewayctl tail' },
    )
  }

  close(): void {
    this.#client.close()
  }
}
