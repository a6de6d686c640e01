/** A backend bot of the demo: subscribes to every event by gRPC and counts; asks how the shards are. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
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

interface Stats {
  readonly stats: readonly { readonly shard: number; readonly status: string }[]
}

interface Services {
  readonly gateway: {
    readonly Events: ServiceClientConstructor
    readonly Gateway: ServiceClientConstructor
  }
}

type Client = InstanceType<ServiceClientConstructor>
type Subscribe = (request: object) => ClientReadableStream<SubscribedEvent>
type AskStats = (request: object, done: (error: Error | null, answer?: Stats) => void) => void

export class Consumer {
  readonly counts = new Map<string, number>()
  total = 0
  #call: ClientReadableStream<SubscribedEvent> | undefined
  #clients: Client[] = []
  #askStats: AskStats | undefined

  connect(address: string): void {
    const definition = loadSync([protoFile('events'), protoFile('gateway')], {
      keepCase: true,
      longs: String,
      enums: String,
      defaults: true,
    })
    const { Events, Gateway } = (loadPackageDefinition(definition) as unknown as Services).gateway
    const events = new Events(address, credentials.createInsecure(), {
      // Events of large guilds exceed the client's default of 4 MiB.
      'grpc.max_receive_message_length': -1,
    })
    const gateway = new Gateway(address, credentials.createInsecure())
    this.#clients = [events, gateway]
    this.#askStats = (gateway['Stats'] as unknown as AskStats).bind(gateway)
    this.#call = (events['Subscribe'] as unknown as Subscribe).call(events, { name: 'demo' })
    this.#call.on('data', (event: SubscribedEvent) => {
      this.total++
      this.counts.set(event.t, (this.counts.get(event.t) ?? 0) + 1)
    })
    // Cancelled at the end; an end of the gateway shows in its own lines.
    this.#call.on('error', () => undefined)
  }

  /** The state of each shard, by id; empty while the gateway does not answer. */
  shardStates(): Promise<string[]> {
    return new Promise((resolve) => {
      if (this.#askStats === undefined) return resolve([])
      this.#askStats({}, (_error, answer) => {
        const stats = [...(answer?.stats ?? [])].sort((a, b) => a.shard - b.shard)
        resolve(stats.map(({ status }) => status))
      })
    })
  }

  close(): void {
    this.#call?.cancel()
    for (const client of this.#clients) client.close()
    this.#clients = []
  }
}

/** proto/ lies beside cmd in a clone and beside dist in an installed program. */
function protoFile(name: string): string {
  const paths = [`../../proto/${name}.proto`, `../../../proto/${name}.proto`].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  )
  return paths.find((path) => existsSync(path)) ?? paths[0]!
}
