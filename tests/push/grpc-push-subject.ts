import { readFileSync } from 'node:fs'
import {
  loadPackageDefinition,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServiceClientConstructor,
  type ServiceError,
  type sendUnaryData,
} from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { memoryCounters, seededRandom, silentLog, systemClock } from '../../src/base/index.ts'
import { decodeTerm } from '../../src/etf/index.ts'
import { GrpcPushDestination, type GrpcPushOptions } from '../../src/push/index.ts'
import type { Received } from './contract.ts'
import type { WireEvent } from './grpc-subject.ts'
import { recordedLanes } from './recorded-lanes.ts'

interface PushBatch {
  readonly number: string
  readonly events: readonly WireEvent[]
}

export interface Request {
  readonly key: string
  readonly value: Buffer
}

export const tlsFile = (name: string): string =>
  readFileSync(new URL(`tls/${name}`, import.meta.url), 'utf8')

/** A backend that serves gateway.Queue, made by grpc-js from the proto file. */
export class TestConsumer {
  readonly requests: Request[] = []
  readonly events: WireEvent[] = []
  /** Number of events in each batch. */
  readonly batches: number[] = []
  readonly ends: string[] = []
  port = 0
  /** Answered with this instead. */
  refuse: (eventName: string, sequence: number) => Partial<ServiceError> | null = () => null
  #server: Server | undefined
  #isStalled = false
  #held: (() => void)[] = []

  async start(serverCredentials = ServerCredentials.createInsecure()): Promise<void> {
    const loaded = loadPackageDefinition(
      loadSync(new URL('../../proto/queue.proto', import.meta.url).pathname, {
        keepCase: true,
        longs: String,
        enums: String,
        defaults: true,
      }),
    ) as unknown as { gateway: { Queue: ServiceClientConstructor } }
    const server = new Server({ 'grpc.max_receive_message_length': -1 })
    server.addService(loaded.gateway.Queue.service, {
      Push: (call: ServerUnaryCall<Request, object>, answer: sendUnaryData<object>) => {
        const refusal = this.refuse(call.request.key, 0)
        if (refusal !== null) {
          answer(refusal)
          return
        }
        this.#whenGoing(() => {
          this.requests.push(call.request)
          answer(null, {})
        })
      },
      PushStream: (call: ServerDuplexStream<PushBatch, object>) => {
        call.on('data', (batch: PushBatch) => {
          this.batches.push(batch.events.length)
          this.#whenGoing(() => {
            for (const event of batch.events) {
              const refusal = this.refuse(event.t, Number(event.s))
              if (refusal !== null) {
                call.emit('error', refusal)
                return
              }
            }
            this.events.push(...batch.events)
            call.write({ number: batch.number })
          })
        })
        call.on('end', () => {
          this.ends.push('end')
          call.end()
        })
        call.on('cancelled', () => this.ends.push('cancelled'))
      },
    })
    this.port = await new Promise<number>((resolve, reject) => {
      server.bindAsync(`127.0.0.1:${this.port}`, serverCredentials, (error, port) => {
        if (error === null) resolve(port)
        else reject(error)
      })
    })
    this.#server = server
  }

  get address(): string {
    return `127.0.0.1:${this.port}`
  }

  stall(): void {
    this.#isStalled = true
  }

  go(): void {
    this.#isStalled = false
    for (const work of this.#held.splice(0)) work()
  }

  /** As a crash: whoever is connected is cut off, and what is held is forgotten. */
  stop(): void {
    this.#held = []
    this.#isStalled = false
    this.#server?.forceShutdown()
    this.#server = undefined
  }

  received(): Received[] {
    return this.events.map((event) => ({
      shardId: event.shard,
      sessionId: event.session_id,
      sequence: Number(event.s),
      eventName: event.t,
      d: decodeTerm(event.d),
    }))
  }

  /** Of `Push` with the payload `envelope`. */
  receivedByPush(): Received[] {
    return this.requests.map(({ value }) => {
      const { shard, session_id, s, t, d } = decodeTerm(value) as Record<string, unknown>
      return {
        shardId: Number(shard),
        sessionId: String(session_id),
        sequence: Number(s),
        eventName: String(t),
        d,
      }
    })
  }

  #whenGoing(work: () => void): void {
    if (this.#isStalled) this.#held.push(work)
    else work()
  }
}

function pushOptions(
  addresses: readonly string[],
  given: Partial<GrpcPushOptions> = {},
): GrpcPushOptions {
  return {
    name: 'consumers',
    addresses,
    method: 'stream',
    spread: 'turn',
    payload: 'envelope',
    encoding: 'etf',
    limits: { eventsMax: 10_000, bytesMax: 64 * 1024 * 1024 },
    acks: recordedLanes(),
    onDrop: () => undefined,
    clock: systemClock,
    random: seededRandom(1),
    log: silentLog,
    counters: memoryCounters(),
    ...given,
  }
}

export async function startedPush(
  consumers: readonly TestConsumer[],
  given: Partial<GrpcPushOptions> = {},
): Promise<GrpcPushDestination> {
  const addresses = consumers.map((consumer) => consumer.address)
  const destination = new GrpcPushDestination(pushOptions(addresses, given))
  await destination.start()
  return destination
}
