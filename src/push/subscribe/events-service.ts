import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type {
  ServerDuplexStream,
  ServerWritableStream,
  ServiceDefinition,
  UntypedServiceImplementation,
} from '@grpc/grpc-js'
import { Metadata, status } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import type { StreamLink, SubscribeDestination } from './destination.ts'
import {
  readSubscribeRequest,
  type SubscribeRequest,
  type Subscription,
} from './subscribe-request.ts'
import type { EventStream } from './reader.ts'

const SERVICE = 'gateway.Events'

type SubscribeCall = ServerWritableStream<SubscribeRequest, Buffer>
type ConsumeCall = ServerDuplexStream<ConsumeRequest, Buffer>

/** gateway.ConsumeRequest as proto-loader hands it over. */
interface ConsumeRequest {
  readonly subscribe?: SubscribeRequest | null
  readonly acknowledge?: string
}

/** `gateway.Events` for the gateway's gRPC listener. */
export interface EventsService {
  readonly name: string
  readonly definition: ServiceDefinition
  readonly implementation: UntypedServiceImplementation
  /** Path of proto/events.proto, for reflection. */
  readonly protoFile: string
}

export function eventsService(destination: SubscribeDestination): EventsService {
  const protoFile = eventsProtoFile()
  const loaded = loadSync(protoFile, {
    keepCase: true,
    longs: String,
    enums: String,
    defaults: true,
    oneofs: true,
  })
  const definition = loaded[SERVICE] as ServiceDefinition
  const { Subscribe: subscribe, Consume: consume } = definition
  // Events are encoded before they come here.
  const responseSerialize = (message: Buffer): Buffer => message
  return {
    name: SERVICE,
    definition: {
      ...definition,
      Subscribe: { ...subscribe!, responseSerialize },
      Consume: { ...consume!, responseSerialize },
    },
    implementation: {
      Subscribe: (call: SubscribeCall): void => {
        open(destination, call, readSubscribeRequest(call.request, false))
      },
      Consume: (call: ConsumeCall): void => {
        let link: StreamLink | null | undefined
        call.on('data', ({ subscribe: request, acknowledge }: ConsumeRequest) => {
          const number = Number(acknowledge ?? 0)
          if (link !== undefined) {
            if (number > 0) link?.onAcknowledge(number)
            return
          }
          const subscription =
            request === undefined || request === null
              ? 'the first message of Consume needs `subscribe`'
              : readSubscribeRequest(request, true)
          link = open(destination, call, subscription)
        })
        // Who sends no more acknowledges no more.
        call.on('end', () => call.end())
      },
    },
    protoFile,
  }
}

/** @returns null when the stream was ended. */
function open(
  destination: SubscribeDestination,
  call: SubscribeCall | ConsumeCall,
  subscription: Subscription | string,
): StreamLink | null {
  const stream = eventStream(call)
  if (typeof subscription === 'string') {
    stream.end(status.INVALID_ARGUMENT, subscription)
    return null
  }
  const link = destination.subscribe(subscription, stream)
  if (link === null) return null
  // Tells the client that it is subscribed, before the first event.
  call.sendMetadata(new Metadata())
  let isGone = false
  const onGone = (): void => {
    if (isGone) return
    isGone = true
    link.onGone()
  }
  call.on('drain', () => link.onDrain())
  call.on('cancelled', onGone)
  call.on('close', onGone)
  return link
}

function eventStream(call: SubscribeCall | ConsumeCall): EventStream {
  return {
    write: (message, onWritten) => call.write(message, onWritten),
    // grpc-js makes the status of an 'error' the status of the call.
    end: (code, details) => {
      call.emit('error', Object.assign(new Error(details), { code, details }))
    },
  }
}

/** Beside src in a clone, beside dist in an installed program. */
function eventsProtoFile(): string {
  const candidates = ['../../../proto/events.proto', '../../../../proto/events.proto'].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  )
  return candidates.find((path) => existsSync(path)) ?? candidates[0]!
}
