/** Two workers of a fleet, as far as their management listeners know of each other. */
import {
  Client,
  credentials,
  Metadata,
  type MethodDefinition,
  type ServiceError,
  status,
} from '@grpc/grpc-js'
import { expect, onTestFinished, test } from 'vitest'
import { silentLog, systemClock } from '../../src/base/index.ts'
import {
  type GatewayControl,
  type Peer,
  type PeerDirectory,
  Peers,
  ServerError,
  advertisedAddress,
  startGrpcServer,
} from '../../src/server/index.ts'
import { freePort } from '../support/server-process.ts'

interface Worker {
  readonly peer: { id: string; address: string }
  readonly restarted: number[]
}

const same = (bytes: Buffer): Buffer => bytes
/** A stream of as many messages as the first byte asks for; the second one is the shard. */
const COUNT: MethodDefinition<Buffer, Buffer> = {
  path: '/test.Stream/Count',
  requestStream: false,
  responseStream: true,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
}

/** Holds some shards, and knows where the others are. */
async function startWorker(
  id: string,
  shards: readonly number[],
  others: () => readonly { peer: Peer; shards: readonly number[] }[],
): Promise<Worker> {
  const peer = { id, address: '' }
  const restarted: number[] = []
  const control: GatewayControl = {
    version: id,
    stats: () => shards.map((shard) => ({ shard, status: 'CONNECTED', eventRate: 1 })),
    restartShard(shardId) {
      if (!shards.includes(shardId)) {
        throw new ServerError('SERVER_SHARD_NOT_FOUND', `Shard ${shardId} is not here.`)
      }
      restarted.push(shardId)
      return Promise.resolve()
    },
    requestGuildMembers: () => Promise.resolve(),
  }
  const directory: PeerDirectory = {
    self: peer,
    others: () => others().map((other) => other.peer),
    ownerOf: (shardId) => {
      if (shards.includes(shardId)) return peer
      return others().find((other) => other.shards.includes(shardId))?.peer ?? null
    },
  }
  const peers = new Peers(directory, { clock: systemClock, log: silentLog })
  const server = await startGrpcServer({
    address: '127.0.0.1:0',
    flag: 'addr',
    control,
    peers,
    services: [
      {
        name: 'test.Stream',
        definition: { Count: COUNT },
        implementation: {
          Count: peers.stream(
            COUNT,
            (request) => request[1]!,
            (stream) => {
              for (let count = 0; count < stream.request[0]!; count++) stream.write(Buffer.from(id))
              if (shards.includes(stream.request[1]!)) stream.end()
              else stream.emit('error', { code: status.NOT_FOUND, details: 'not here' })
            },
          ),
        },
      },
    ],
    clock: systemClock,
    log: silentLog,
  })
  peer.address = server.address
  onTestFinished(async () => {
    peers.close()
    await server.close()
  })
  return { peer, restarted }
}

async function startPair(): Promise<{ a: Worker; b: Worker }> {
  const a: Worker = await startWorker('a', [0, 2], () => [{ peer: b.peer, shards: [1, 3, 5] }])
  const b: Worker = await startWorker('b', [1, 3], () => [{ peer: a.peer, shards: [0, 2] }])
  return { a, b }
}

/** RestartShard { shard = 1 } as bytes: tag 0x08, one byte of varint. */
function restart(address: string, shardId: number, metadata = new Metadata()): Promise<unknown> {
  return call(address, 'RestartShard', Buffer.from([0x08, shardId]), metadata)
}

function call(
  address: string,
  method: string,
  request: Buffer,
  metadata = new Metadata(),
): Promise<Buffer> {
  const client = new Client(address, credentials.createInsecure())
  return new Promise<Buffer>((resolve, reject) => {
    client.makeUnaryRequest(
      `/gateway.Gateway/${method}`,
      same,
      same,
      request,
      metadata,
      { deadline: Date.now() + 5000 },
      (error, response) => (error === null ? resolve(response!) : reject(error)),
    )
  }).finally(() => client.close())
}

/** Each Stat is 0x0a, its length 6, then shard, status and event_rate as tag and varint. */
function shardsIn(stats: Buffer): number[] {
  return Array.from({ length: stats.length / 8 }, (_, index) => stats[index * 8 + 3]!)
}

async function refusal(work: Promise<unknown>): Promise<string> {
  const error = (await work.then(
    () => null,
    (thrown: unknown) => thrown,
  )) as ServiceError | null
  return String(error?.metadata.get('gateway-code')[0])
}

test('a call for a shard of another worker is answered by that one', async () => {
  const { a, b } = await startPair()
  await restart(a.peer.address, 3)
  await restart(b.peer.address, 3)
  await restart(a.peer.address, 2)
  expect([a.restarted, b.restarted]).toEqual([[2], [3, 3]])
})

test('a stream of another worker comes through whole, with its end or its refusal', async () => {
  const { a } = await startPair()
  const client = new Client(a.peer.address, credentials.createInsecure())
  onTestFinished(() => client.close())
  const count = async (messages: number, shardId: number): Promise<string[]> => {
    const request = Buffer.from([messages, shardId])
    const said: string[] = []
    const stream = client.makeServerStreamRequest(COUNT.path, same, same, request)
    stream.on('data', (message: Buffer) => said.push(message.toString()))
    let failure = ''
    stream.on('error', (error: ServiceError) => (failure = error.details))
    await new Promise((resolve) => stream.on('end', resolve))
    return failure === '' ? said : [...said, failure]
  }
  expect(await count(200, 1)).toEqual(new Array(200).fill('b'))
  expect(await count(200, 0)).toEqual(new Array(200).fill('a'))
  expect(await count(9, 5)).toEqual([...new Array(9).fill('b'), 'not here'])
})

test('Stats are those of the fleet, the same from any worker', async () => {
  const { a, b } = await startPair()
  const [fromA, fromB] = await Promise.all(
    [a, b].map(({ peer }) => call(peer.address, 'Stats', Buffer.alloc(0))),
  )
  expect(fromA).toEqual(fromB)
  expect(shardsIn(fromA!)).toEqual([0, 1, 2, 3])
})

test('a refusal of the other worker comes back with its code', async () => {
  const { a } = await startPair()
  // By the keys that it has read b holds 5; b has just given it away.
  expect(await refusal(restart(a.peer.address, 5))).toBe('SERVER_SHARD_NOT_FOUND')
})

test('a call that was meant for another worker is refused and not passed on', async () => {
  const { a, b } = await startPair()
  const metadata = new Metadata()
  metadata.set('gateway-worker', 'c')
  expect(await refusal(restart(a.peer.address, 3, metadata))).toBe('SERVER_WRONG_WORKER')
  metadata.set('gateway-worker', 'a')
  expect(await refusal(restart(a.peer.address, 3, metadata))).toBe('SERVER_SHARD_NOT_FOUND')
  expect(b.restarted).toEqual([])
})

test('a worker that does not answer is named, and its shards are missing in Stats', async () => {
  const gone = { id: 'gone', address: `127.0.0.1:${await freePort()}` }
  const a = await startWorker('a', [0], () => [{ peer: gone, shards: [1] }])
  expect(await refusal(restart(a.peer.address, 1))).toBe('SERVER_WORKER_UNREACHABLE')
  expect(shardsIn(await call(a.peer.address, 'Stats', Buffer.alloc(0)))).toEqual([0])
})

test.each([
  ['127.0.0.1:50051', '', '127.0.0.1:50051'],
  ['0.0.0.0:50051', '', 'host-1:50051'],
  ['[::]:50051', '', 'host-1:50051'],
  ['0.0.0.0:4000', '10.0.0.7:0', '10.0.0.7:4000'],
  ['0.0.0.0:4000', 'worker.internal:443', 'worker.internal:443'],
])('a listener at %s with -advertise %s is reached at %s', (listening, given, reached) => {
  expect(advertisedAddress(listening, given, 'host-1')).toBe(reached)
})
