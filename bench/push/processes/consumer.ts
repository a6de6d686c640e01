/**
 * The other end of a destination: with `queue` it serves gateway.Queue and answers at once, with
 * `subscribe <port> <n>` it holds n subscriptions and drops what comes.
 */
import {
  type ClientReadableStream,
  credentials,
  loadPackageDefinition,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServiceClientConstructor,
  type sendUnaryData,
} from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { join } from 'node:path'

interface Loaded {
  readonly gateway: {
    readonly Queue: ServiceClientConstructor
    readonly Events: ServiceClientConstructor
  }
}

const RAW = (bytes: Buffer): Buffer => bytes
const [role = '', port = '', count = ''] = process.argv.slice(2)
// What comes is not decoded: it is the sender that is measured.
if (role === 'queue') await serveQueue()
else await subscribe()

function load(file: string): Loaded {
  const options = { keepCase: true, longs: String, enums: String }
  return loadPackageDefinition(
    loadSync(join(process.cwd(), 'proto', file), options),
  ) as unknown as Loaded
}

async function serveQueue(): Promise<void> {
  const { service } = load('queue.proto').gateway.Queue
  const server = new Server({ 'grpc.max_receive_message_length': -1 })
  server.addService(
    {
      Push: { ...service['Push']!, requestDeserialize: RAW },
      PushStream: { ...service['PushStream']!, requestDeserialize: RAW },
    },
    {
      Push: (_: unknown, answer: sendUnaryData<object>) => answer(null, {}),
      PushStream: (call: ServerDuplexStream<Buffer, object>) => {
        let number = 0
        call.on('data', () => call.write({ number: String(++number) }))
        call.on('end', () => call.end())
      },
    },
  )
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, at) => {
      if (error === null) resolve(at)
      else reject(error)
    })
  })
  process.send!({ port: bound })
}

async function subscribe(): Promise<void> {
  const { Events } = load('events.proto').gateway
  const { service } = Events
  const path = service['Subscribe']!.path
  for (let index = 0; index < Number(count); index++) {
    const client = new Events(`127.0.0.1:${port}`, credentials.createInsecure(), {
      'grpc.max_receive_message_length': -1,
      'grpc.use_local_subchannel_pool': 1,
    })
    const stream: ClientReadableStream<Buffer> = client.makeServerStreamRequest(
      path,
      RAW,
      RAW,
      Buffer.alloc(0),
    )
    stream.on('data', () => undefined)
    stream.on('error', () => undefined)
    await new Promise((resolve) => stream.once('metadata', resolve))
  }
  process.send!({ port: Number(port) })
}
