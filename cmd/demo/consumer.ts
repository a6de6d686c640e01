/** A backend bot of the demo: subscribes to every event by gRPC and counts. */
import { fileURLToPath } from 'node:url'
import { existsSync } from 'node:fs'
import {
  type ClientReadableStream,
  credentials,
  loadPackageDefinition,
  type ServiceClientConstructor,
} from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'

interface SubscribedEvent {
  readonly t: string
  readonly d: Buffer
}

export class Consumer {
  readonly counts = new Map<string, number>()
  total = 0
  #call: ClientReadableStream<SubscribedEvent> | undefined
  #close = (): void => undefined

  connect(address: string): void {
    const definition = loadSync(protoFile(), { keepCase: true, longs: String, enums: String })
    const Events = (
      loadPackageDefinition(definition) as unknown as {
        gateway: { Events: ServiceClientConstructor }
      }
    ).gateway.Events
    const client = new Events(address, credentials.createInsecure(), {
      'grpc.max_receive_message_length': -1,
    })
    this.#close = () => client.close()
    const subscribe = client['Subscribe'] as unknown as (
      filter: object,
    ) => ClientReadableStream<SubscribedEvent>
    this.#call = subscribe.call(client, { name: 'demo' })
    this.#call.on('data', (event: SubscribedEvent) => {
      this.total++
      this.counts.set(event.t, (this.counts.get(event.t) ?? 0) + 1)
    })
    // Cancelled at the end; an end of the gateway shows in its own lines.
    this.#call.on('error', () => undefined)
  }

  close(): void {
    this.#call?.cancel()
    this.#close()
  }
}

/** proto/ lies beside cmd in a clone and beside dist in an installed program. */
function protoFile(): string {
  const paths = ['../../proto/events.proto', '../../../proto/events.proto'].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  )
  return paths.find((path) => existsSync(path)) ?? paths[0]!
}
