import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createRequire } from 'node:module'
import {
  type Client,
  type ClientDuplexStream,
  credentials,
  loadPackageDefinition,
  type ServiceClientConstructor,
  type ServiceDefinition,
  type ServiceError,
  status,
} from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { protoPath as healthProtoPath } from 'grpc-health-check'
import { afterEach, describe, expect, test } from 'vitest'
import { BaseError, type Log, silentLog, systemClock } from '../../src/base/index.ts'
import {
  type GatewayControl,
  type GrpcServer,
  type GrpcService,
  ServerError,
  startGrpcServer,
} from '../../src/server/index.ts'

const GATEWAY_PROTO = join(import.meta.dirname, '../../proto/gateway.proto')
const REFLECTION_PROTO = join(
  dirname(createRequire(import.meta.url).resolve('@grpc/reflection')),
  '../proto/grpc/reflection/v1/reflection.proto',
)

type Reply = Record<string, unknown>

class FakeControl implements GatewayControl {
  readonly version = '1.2.3'
  readonly calls: unknown[] = []
  failure: Error | null = null

  stats(): ReturnType<GatewayControl['stats']> {
    return [
      { shard: 0, status: 'CONNECTED', eventRate: 12.6 },
      { shard: 1, status: 'DISCONNECTED', eventRate: 0 },
      { shard: 2, status: 'GUILD_STREAM', eventRate: 3 },
      { shard: 3, status: 'CONNECTING', eventRate: 0 },
    ]
  }

  restartShard(shardId: number): Promise<void> {
    return this.#answer('restartShard', shardId)
  }

  requestGuildMembers(guildId: bigint, shardId: number): Promise<void> {
    return this.#answer('requestGuildMembers', guildId, shardId)
  }

  #answer(...call: unknown[]): Promise<void> {
    this.calls.push(call)
    return this.failure === null ? Promise.resolve() : Promise.reject(this.failure)
  }
}

const closing: (() => Promise<void> | void)[] = []

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

async function start(
  options: { services?: GrpcService[]; address?: string; log?: Log } = {},
): Promise<{ server: GrpcServer; control: FakeControl }> {
  const control = new FakeControl()
  const server = await startGrpcServer({
    address: '127.0.0.1:0',
    flag: 'addr',
    control,
    clock: systemClock,
    log: silentLog,
    ...options,
  })
  closing.push(() => server.close())
  return { server, control }
}

function clientOf(protoFile: string, service: string, address: string): Client {
  const definition = loadSync(protoFile, {
    keepCase: true,
    longs: String,
    enums: String,
    defaults: true,
  })
  let found: unknown = loadPackageDefinition(definition)
  for (const part of service.split('.')) found = (found as Record<string, unknown>)[part]
  const client = new (found as ServiceClientConstructor)(address, credentials.createInsecure())
  closing.push(() => client.close())
  return client
}

function call(client: Client, method: string, request: Reply = {}): Promise<Reply> {
  const stub = client as unknown as Record<
    string,
    (request: Reply, done: (error: ServiceError | null, reply: Reply) => void) => void
  >
  return new Promise((resolve, reject) => {
    stub[method]!(request, (error, reply) => {
      if (error === null) resolve(reply)
      else reject(error)
    })
  })
}

async function askReflection(address: string, request: Reply): Promise<Reply> {
  const client = clientOf(REFLECTION_PROTO, 'grpc.reflection.v1.ServerReflection', address)
  const stream = (client as unknown as Record<string, () => ClientDuplexStream<Reply, Reply>>)[
    'ServerReflectionInfo'
  ]!()
  stream.write(request)
  const [reply] = (await once(stream, 'data')) as [Reply]
  stream.end()
  return reply
}

describe('gateway.Gateway', () => {
  test('Version and Stats answer as the proto says', async () => {
    const { server } = await start()
    const client = clientOf(GATEWAY_PROTO, 'gateway.Gateway', server.address)
    expect(await call(client, 'Version')).toEqual({ version: '1.2.3' })
    expect(await call(client, 'Stats')).toEqual({
      stats: [
        { shard: 0, status: 'CONNECTED', event_rate: 13 },
        { shard: 1, status: 'DISCONNECTED', event_rate: 0 },
        { shard: 2, status: 'GUILD_STREAM', event_rate: 3 },
        { shard: 3, status: 'CONNECTING', event_rate: 0 },
      ],
    })
  })

  test('fields have the numbers of tatsuworks/gateway on the wire', async () => {
    const { server, control } = await start()
    const client = clientOf(GATEWAY_PROTO, 'gateway.Gateway', server.address)
    const raw = (method: string, hex: string): Promise<string> =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(
          `/gateway.Gateway/${method}`,
          (bytes: Buffer) => bytes,
          (bytes: Buffer) => bytes.toString('hex'),
          Buffer.from(hex, 'hex'),
          (error, reply) => (error === null ? resolve(reply ?? '') : reject(error)),
        )
      })
    expect(await raw('Version', '')).toBe(`0a05${Buffer.from('1.2.3').toString('hex')}`)
    // Stat: 1 shard, 2 status, 3 event_rate.
    expect(await raw('Stats', '')).toBe(
      ['0a0608001003180d', '0a06080110001800', '0a06080210021803', '0a06080310011800'].join(''),
    )
    expect(await raw('RestartShard', '0807')).toBe('')
    expect(await raw('RequestGuildMembers', '08ffffffffffffffff7f' + '1002')).toBe('')
    expect(control.calls).toEqual([
      ['restartShard', 7],
      ['requestGuildMembers', 9223372036854775807n, 2],
    ])
  })

  test('a guild id above 2^53 and one above 2^63 arrive exactly', async () => {
    const { server, control } = await start()
    const client = clientOf(GATEWAY_PROTO, 'gateway.Gateway', server.address)
    await call(client, 'RequestGuildMembers', { guild_id: '197038439483310087', shard: 1 })
    await call(client, 'RequestGuildMembers', { guild_id: '-1', shard: 1 })
    expect(control.calls).toEqual([
      ['requestGuildMembers', 197038439483310087n, 1],
      ['requestGuildMembers', 18446744073709551615n, 1],
    ])
  })

  test('a missing guild id is INVALID_ARGUMENT', async () => {
    const { server, control } = await start()
    const client = clientOf(GATEWAY_PROTO, 'gateway.Gateway', server.address)
    await expect(call(client, 'RequestGuildMembers', { shard: 1 })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: 'guild_id is missing: expected a guild id.',
    })
    expect(control.calls).toEqual([])
  })

  test.each([
    [
      new ServerError('SERVER_SHARD_NOT_FOUND', 'Shard 9 is not here.'),
      status.NOT_FOUND,
      'Shard 9 is not here.',
    ],
    [new ServerError('SERVER_SHARD_NOT_READY', 'Not now.'), status.UNAVAILABLE, 'Not now.'],
    [
      new BaseError('SHARD_X', 'Full.', {}, { retryable: true }),
      status.UNAVAILABLE,
      '[SHARD_X] Full.',
    ],
    [new BaseError('SHARD_X', 'Never.'), status.FAILED_PRECONDITION, '[SHARD_X] Never.'],
    [
      new Error('internals'),
      status.INTERNAL,
      'The call failed inside the program; its log says why.',
    ],
  ])('%s is told by its status', async (failure, code, details) => {
    const { server, control } = await start()
    control.failure = failure
    const client = clientOf(GATEWAY_PROTO, 'gateway.Gateway', server.address)
    await expect(call(client, 'RestartShard', { shard: 9 })).rejects.toMatchObject({
      code,
      details,
    })
  })
})

describe('startGrpcServer', () => {
  test('serves further services, and reflection and health tell of all', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'gateway-proto-'))
    closing.push(() => rm(folder, { recursive: true }))
    const protoFile = join(folder, 'echo.proto')
    await writeFile(
      protoFile,
      'syntax = "proto3"; package gateway; service Echo { rpc Say(Word) returns (Word); } message Word { string text = 1; }',
    )
    const definition = loadSync(protoFile)['gateway.Echo'] as ServiceDefinition
    const { server } = await start({
      services: [
        {
          name: 'gateway.Echo',
          definition,
          protoFile,
          implementation: {
            Say: (unary: { request: Reply }, done: (e: null, r: Reply) => void) =>
              done(null, unary.request),
          },
        },
      ],
    })
    const client = clientOf(protoFile, 'gateway.Echo', server.address)
    expect(await call(client, 'Say', { text: 'hello' })).toEqual({ text: 'hello' })

    const list = await askReflection(server.address, { list_services: '' })
    const { service } = list['list_services_response'] as { service: { name: string }[] }
    expect(service.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['gateway.Gateway', 'gateway.Echo']),
    )
    for (const symbol of ['gateway.Gateway', 'gateway.Echo', 'gateway.Word', 'gateway.Stat']) {
      const reply = await askReflection(server.address, { file_containing_symbol: symbol })
      expect(reply).toHaveProperty('file_descriptor_response')
      expect(reply['error_response']).toBeFalsy()
    }
    const health = clientOf(healthProtoPath, 'grpc.health.v1.Health', server.address)
    for (const name of ['', 'gateway.Gateway', 'gateway.Echo']) {
      expect(await call(health, 'Check', { service: name })).toEqual({ status: 'SERVING' })
    }
    server.setServing(false)
    expect(await call(health, 'Check', { service: '' })).toEqual({ status: 'NOT_SERVING' })
    await expect(call(health, 'Check', { service: 'nobody' })).rejects.toMatchObject({
      code: status.NOT_FOUND,
    })
  })

  test('an address in use names itself and the flag', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    closing.push(() => void other.close())
    const { port } = other.address() as { port: number }
    await expect(start({ address: `127.0.0.1:${port}` })).rejects.toThrow(
      `[SERVER_CANNOT_LISTEN] Cannot listen on 127.0.0.1:${port}: another program listens there. Give another address by -addr.`,
    )
  })

  test('localhost is served', async () => {
    const { server } = await start({ address: 'localhost:0' })
    const client = clientOf(GATEWAY_PROTO, 'gateway.Gateway', server.address)
    expect(await call(client, 'Version')).toEqual({ version: '1.2.3' })
  })

  test('close cuts a health watcher that never leaves', async () => {
    const { server } = await start()
    const health = clientOf(healthProtoPath, 'grpc.health.v1.Health', server.address)
    const watch = (
      health as unknown as Record<string, (request: Reply) => ClientDuplexStream<Reply, Reply>>
    )['Watch']!({ service: '' })
    watch.on('error', () => undefined)
    await once(watch, 'data')
    const startedAt = performance.now()
    await server.close()
    expect(performance.now() - startedAt).toBeLessThan(5000)
  })
})
