import {
  type ClientDuplexStream,
  type ClientReadableStream,
  credentials,
  loadPackageDefinition,
  Server,
  ServerCredentials,
  type ServiceClientConstructor,
  type ServiceError,
} from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { memoryCounters, silentLog, systemClock } from '../../src/base/index.ts'
import { decodeTerm } from '../../src/etf/index.ts'
import { eventsService, SubscribeDestination, type SubscribeOptions } from '../../src/push/index.ts'
import { until } from '../support/until.ts'
import type { Received } from './contract.ts'
import { recordedLanes } from './recorded-lanes.ts'

export interface WireEvent {
  readonly t: string
  readonly s: string
  readonly shard: number
  readonly shard_count: number
  readonly session_id: string
  readonly class: string
  readonly received_at: string
  readonly encoding: string
  readonly d: Buffer
  readonly number: string
  readonly late: boolean
}

export interface TestClient {
  readonly events: WireEvent[]
  readonly stream: ClientReadableStream<WireEvent>
  /** The status that ended the stream. */
  readonly ended: Promise<ServiceError>
  close(): void
}

/** A stream of Consume. */
export interface ConsumeClient extends Omit<TestClient, 'stream'> {
  acknowledge(number: number): void
}

export interface ListeningDestination {
  readonly destination: SubscribeDestination
  readonly consume: (request: object) => Promise<ConsumeClient>
  readonly subscribe: (request?: object) => Promise<TestClient>
  readonly close: () => Promise<void>
}

export function subscribeOptions(given: Partial<SubscribeOptions> = {}): SubscribeOptions {
  return {
    name: 'grpc',
    limits: { eventsMax: 10_000, bytesMax: 64 * 1024 * 1024 },
    acks: recordedLanes(),
    onDrop: () => undefined,
    clock: systemClock,
    log: silentLog,
    counters: memoryCounters(),
    ...given,
  }
}

/** A destination behind a real gRPC server, and clients made by grpc-js from the proto file. */
export async function listen(given: Partial<SubscribeOptions> = {}): Promise<ListeningDestination> {
  const destination = new SubscribeDestination(subscribeOptions(given))
  const service = eventsService(destination)
  const server = new Server()
  server.addService(service.definition, service.implementation)
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound)
      else reject(error)
    })
  })
  const loaded = loadPackageDefinition(
    loadSync(service.protoFile, { keepCase: true, longs: String, enums: String, defaults: true }),
  ) as unknown as { gateway: { Events: ServiceClientConstructor } }
  const clients: { close(): void }[] = []
  const connect = (): InstanceType<ServiceClientConstructor> =>
    new loaded.gateway.Events(`127.0.0.1:${port}`, credentials.createInsecure(), {
      'grpc.max_receive_message_length': -1,
      // A connection of its own, as another process would have.
      'grpc.use_local_subchannel_pool': 1,
    })
  return {
    destination,
    async consume(request) {
      const client = connect()
      const stream = client['Consume']!() as ClientDuplexStream<object, WireEvent>
      const events: WireEvent[] = []
      stream.on('data', (event: WireEvent) => events.push(event))
      const ended = new Promise<ServiceError>((resolve) => stream.on('error', resolve))
      stream.write({ subscribe: request })
      await Promise.race([new Promise((resolve) => stream.once('metadata', resolve)), ended])
      const made: ConsumeClient = {
        events,
        ended,
        acknowledge: (number) => void stream.write({ acknowledge: number }),
        close: () => {
          stream.cancel()
          client.close()
        },
      }
      clients.push(made)
      return made
    },
    async subscribe(request = {}) {
      const client = connect()
      const stream = client['Subscribe']!(request) as ClientReadableStream<WireEvent>
      const events: WireEvent[] = []
      stream.on('data', (event: WireEvent) => events.push(event))
      const ended = new Promise<ServiceError>((resolve) => stream.on('error', resolve))
      await Promise.race([new Promise((resolve) => stream.once('metadata', resolve)), ended])
      const made: TestClient = {
        events,
        stream,
        ended,
        close: () => {
          stream.cancel()
          client.close()
        },
      }
      clients.push(made)
      return made
    },
    async close() {
      await destination.drain(0)
      for (const client of clients) client.close()
      server.forceShutdown()
    },
  }
}

/** Resolves with what the client has got, once it is all that was delivered. */
export async function receivedBy(
  client: Pick<TestClient, 'events'>,
  destination: SubscribeDestination,
): Promise<Received[]> {
  await until(() => client.events.length >= destination.stats().deliveredEvents)
  return client.events.map((event) => ({
    shardId: event.shard,
    sessionId: event.session_id,
    sequence: Number(event.s),
    eventName: event.t,
    d: decodeTerm(event.d),
    isLate: event.late,
  }))
}
