import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type {
  ServerWritableStream,
  ServiceDefinition,
  UntypedServiceImplementation,
} from '@grpc/grpc-js'
import { Metadata, status } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import type { SubscribeDestination } from './destination.ts'
import { readSubscribeRequest, type SubscribeRequest } from './subscribe-request.ts'
import type { EventStream } from './subscriber.ts'

const SERVICE = 'gateway.Events'

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
  })
  const definition = loaded[SERVICE] as ServiceDefinition
  const subscribe = definition['Subscribe']!
  return {
    name: SERVICE,
    // Events are encoded before they come here.
    definition: {
      ...definition,
      Subscribe: { ...subscribe, responseSerialize: (message: Buffer) => message },
    },
    implementation: {
      Subscribe: (call: ServerWritableStream<SubscribeRequest, Buffer>): void => {
        const stream = eventStream(call)
        const subscription = readSubscribeRequest(call.request)
        if (typeof subscription === 'string') {
          stream.end(status.INVALID_ARGUMENT, subscription)
          return
        }
        const link = destination.subscribe(subscription, stream)
        if (link === null) return
        // Tells the client that it is subscribed, before the first event.
        call.sendMetadata(new Metadata())
        let isGone = false
        const onGone = (): void => {
          if (isGone) return
          isGone = true
          link.onGone()
        }
        call.on('drain', link.onDrain)
        call.on('cancelled', onGone)
        call.on('close', onGone)
      },
    },
    protoFile,
  }
}

function eventStream(call: ServerWritableStream<SubscribeRequest, Buffer>): EventStream {
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
