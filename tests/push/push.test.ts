import { readFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { fileURLToPath } from 'node:url'
import type { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type PushDrop, Push, redisList } from '../../src/push/index.ts'
import { startRedis, type TestServer } from '../support/servers.ts'
import { until } from '../support/until.ts'
import { expectOrder, identity } from './contract.ts'
import { pushEvent, pushEvents } from './events.ts'
import { listen } from './grpc-subject.ts'
import { recordedLanes } from './recorded-lanes.ts'
import { adminOf, type LogLine, receivedFrom, recordedLog, redisOptions } from './redis-subject.ts'

let server: TestServer
let admin: Redis

beforeAll(async () => {
  server = await startRedis()
  admin = adminOf(server)
})

afterAll(async () => {
  admin.disconnect()
  await server.stop()
})

beforeEach(async () => {
  await admin.flushall()
})

const NOWHERE = 'redis://127.0.0.1:1'

describe('several destinations', () => {
  test('a dead one that is not required neither stops the start nor slows the others', async () => {
    const [acks, deadAcks] = [recordedLanes(), recordedLanes()]
    const drops: PushDrop[] = []
    const push = new Push([
      redisList(redisOptions(server.url, { acks })),
      redisList(
        redisOptions(NOWHERE, {
          name: 'dead',
          isRequired: false,
          whenFull: 'drop-new',
          acks: deadAcks,
          limits: { eventsMax: 100, bytesMax: 1024 * 1024 },
          onDrop: (drop) => drops.push(drop),
        }),
      ),
    ])
    await push.start()
    for (const event of pushEvents(1000)) push.push(event, -1, 0)
    expect(push.hasRoom()).toBe(true)
    await until(() => acks.direct.through(0) === 1000)
    expect(deadAcks.direct.through(0)).toBe(0)
    expect(drops.length).toBe(900)
    expect(drops.every((drop) => drop.destination === 'dead')).toBe(true)
    const { undelivered } = await push.drain(50)
    expect(undelivered).toMatchObject([{ destination: 'dead', events: 100 }])
    expect((await receivedFrom(admin)).length).toBe(1000)
  })

  test('one that comes up late gets what was kept for it', async () => {
    const late = await startRedis()
    await late.shutDown()
    const acks = recordedLanes()
    const push = new Push([redisList(redisOptions(late.url, { isRequired: false, acks }))])
    await push.start()
    for (const event of pushEvents(10)) push.push(event, -1, 0)
    await late.start()
    await until(() => acks.direct.through(0) === 10)
    expect((await push.drain(1000)).undelivered).toEqual([])
    await late.stop()
  })

  test('a required one that cannot start ends the start of all', async () => {
    const push = new Push([
      redisList(redisOptions(server.url)),
      redisList(redisOptions(NOWHERE, { connectTimeoutMs: 100 })),
      redisList(redisOptions(NOWHERE, { connectTimeoutMs: 60_000 })),
    ])
    await expect(push.start()).rejects.toMatchObject({ code: 'PUSH_UNREACHABLE' })
    await until(async () => !String(await admin.client('LIST')).includes('name=gateway-test'))
  })

  test('each has its own filter, encoding and form', async () => {
    const grpc = await listen()
    const client = await grpc.subscribe({ filter: { events: ['TYPING_START'] } })
    const push = new Push([
      redisList(redisOptions(server.url, { keyPrefix: 'a:', payload: 'd', encoding: 'json' })),
      redisList(redisOptions(server.url, { keyPrefix: 'b:', events: ['MESSAGE_CREATE'] })),
      grpc.destination,
    ])
    await push.start()
    for (const event of pushEvents(4, { names: ['MESSAGE_CREATE', 'TYPING_START'], d: {} })) {
      push.push(event, 0, 1)
    }
    push.settle(0, 1)
    await until(() => push.stats().every((stats) => stats.queuedEvents === 0))
    expect(push.stats().map((stats) => stats.deliveredEvents)).toEqual([4, 2, 2])
    expect((await admin.keys('*')).sort()).toEqual([
      'a:MESSAGE_CREATE',
      'a:TYPING_START',
      'b:MESSAGE_CREATE',
    ])
    expect(await admin.lrange('a:TYPING_START', 0, -1)).toEqual(['{}', '{}'])
    await until(() => client.events.length === 2)
    await push.drain(100)
    await grpc.close()
  })
})

describe('a poor line to Redis', () => {
  test('gets on with smaller flushes when it breaks under large ones', async () => {
    // Breaks each connection that is sent more than 40 KB before it has answered.
    const sockets: Socket[] = []
    const proxy = createServer((near) => {
      const far = connect(server.port, '127.0.0.1')
      sockets.push(near, far)
      let unanswered = 0
      near.on('data', (chunk) => {
        unanswered += chunk.length
        if (unanswered > 40_000) {
          near.destroy()
          far.destroy()
        } else {
          far.write(chunk)
        }
      })
      far.on('data', (chunk) => {
        unanswered = 0
        near.write(chunk)
      })
      for (const socket of [near, far]) socket.on('error', () => undefined)
      near.on('close', () => far.destroy())
      far.on('close', () => near.destroy())
    })
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
    const { port } = proxy.address() as { port: number }
    const acks = recordedLanes()
    const destination = redisList(redisOptions(`127.0.0.1:${port}`, { acks, random: () => 0 }))
    await destination.start()
    for (const event of pushEvents(300, { d: 'x'.repeat(1000) })) destination.push(event, -1, 0)
    await until(() => acks.direct.through(0) === 300)
    const arrived = await receivedFrom(admin)
    expectOrder(arrived, false)
    expect(new Set(arrived.map(identity)).size).toBe(300)
    await destination.drain(0)
    for (const socket of sockets) socket.destroy()
    proxy.close()
  })
})

describe('rediss://', () => {
  test('checks the certificate of the server', async () => {
    // Self-signed for localhost until 2126; nothing else is behind this key.
    const [cert, key] = ['cert', 'key'].map((name) =>
      fileURLToPath(new URL(`tls/${name}.pem`, import.meta.url)),
    ) as [string, string]
    const plain = await startRedis()
    const tlsPort = plain.port
    await plain.stop()
    const secure = await startRedis({
      args: ['--port', '0', '--tls-port', String(tlsPort), '--tls-auth-clients', 'no'].concat([
        '--tls-cert-file',
        cert,
        '--tls-key-file',
        key,
        '--tls-ca-cert-file',
        cert,
      ]),
    })
    const address = `rediss://localhost:${tlsPort}`
    const stranger = redisList(redisOptions(address, { connectTimeoutMs: 300 }))
    await expect(stranger.start()).rejects.toThrow(/PUSH_UNREACHABLE.*self-signed certificate/)
    const before = getCACertificates('default')
    setDefaultCACertificates([...before, readFileSync(cert, 'utf8')])
    const acks = recordedLanes()
    const destination = redisList(redisOptions(address, { acks }))
    await destination.start()
    destination.push(pushEvent(), -1, 0)
    await until(() => acks.direct.through(0) === 1)
    await destination.drain(100)
    setDefaultCACertificates(before)
    await secure.stop()
  })
})

test('a replica is left quietly, for whatever its address means next', async () => {
  const one = await startRedis()
  const adminOne = adminOf(one)
  const lines: LogLine[] = []
  const acks = recordedLanes()
  const destination = redisList(redisOptions(one.url, { acks, log: recordedLog(lines) }))
  await destination.start()
  const idOf = async (): Promise<string | undefined> =>
    /id=(\d+) [^\n]*name=gateway-test/.exec(String(await adminOne.client('LIST')))?.[1]
  const before = await idOf()
  await adminOne.replicaof('127.0.0.1', 1)
  destination.push(pushEvent(), -1, 0)
  await until(async () => ![undefined, before].includes(await idOf()))
  await adminOne.replicaof('NO', 'ONE')
  await until(() => acks.direct.through(0) === 1)
  expect(lines.map((line) => line.message)).toEqual([
    'redis: connected',
    'redis: refuses events, trying again',
    'redis: takes events again',
  ])
  await destination.drain(0)
  adminOne.disconnect()
  await one.stop()
})
