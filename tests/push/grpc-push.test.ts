import { generateKeyPairSync } from 'node:crypto'
import { ServerCredentials, status } from '@grpc/grpc-js'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { decodeTerm } from '../../src/etf/index.ts'
import {
  type GrpcPushDestination,
  type GrpcPushOptions,
  type PushDrop,
  PushError,
} from '../../src/push/index.ts'
import { until } from '../support/until.ts'
import { expectArithmetic, expectOrder, identity } from './contract.ts'
import { pushEvent, pushEvents } from './events.ts'
import { startedPush, TestConsumer, tlsFile } from './grpc-push-subject.ts'
import { recordedLanes } from './recorded-lanes.ts'
import { type LogLine, recordedLog } from './redis-subject.ts'

let consumers: TestConsumer[]
let destination: GrpcPushDestination | undefined
let lanes: ReturnType<typeof recordedLanes>
let drops: PushDrop[]
let lines: LogLine[]

beforeEach(() => {
  consumers = []
  lanes = recordedLanes()
  drops = []
  lines = []
})

afterEach(async () => {
  await destination?.drain(0)
  destination = undefined
  for (const consumer of consumers) consumer.stop()
})

async function open(count: number, given: Partial<GrpcPushOptions> = {}): Promise<TestConsumer[]> {
  for (let index = 0; index < count; index++) consumers.push(new TestConsumer())
  await Promise.all(consumers.map((consumer) => consumer.start()))
  destination = await startedPush(consumers, {
    acks: lanes,
    onDrop: (drop) => drops.push(drop),
    log: recordedLog(lines),
    ...given,
  })
  return consumers
}

const settled = (): Promise<void> => until(() => lanes.direct.isIdle, { what: 'all acknowledged' })
const guildEvent = (sequence: number, guild: number): ReturnType<typeof pushEvent> =>
  pushEvent({ sequence, d: { guild_id: BigInt(guild) << 22n, id: 1n } })

describe('gRPC push', () => {
  test('Push: key and value as the ancestor sends them', async () => {
    const [consumer] = await open(1, { method: 'push', payload: 'd', encoding: 'json' })
    destination!.push(pushEvent({ d: { id: 290926798626357999n } }), -1, 0)
    await settled()
    expect(consumer!.requests.map(({ key, value }) => [key, String(value)])).toEqual([
      ['gateway:events:MESSAGE_CREATE', '{"id":"290926798626357999"}'],
    ])
  })

  test('PushStream: batches of gateway.Event, in ETF or JSON', async () => {
    const [consumer] = await open(1, { encoding: 'json' })
    for (const event of pushEvents(1000, { shardId: 2 })) destination!.push(event, -1, 0)
    await settled()
    expect(consumer!.batches.length).toBeLessThan(20)
    const { d, encoding, ...rest } = consumer!.events[999]!
    expect(rest).toEqual({
      t: 'MESSAGE_CREATE',
      s: '1000',
      shard: 2,
      shard_count: 4,
      session_id: 'session-a',
      class: '',
      received_at: '1763638800123',
      number: '0',
      late: false,
    })
    expect(encoding).toBe('EVENT_ENCODING_JSON')
    expect(JSON.parse(String(d))).toEqual({ content: 'x'.repeat(20) })
    await destination!.drain(1000)
    await until(() => consumer!.ends.length > 0)
    expect(consumer!.ends[0]).toBe('end')
  })

  test('sends no more than the window before an answer', async () => {
    const window = { eventsMax: 300, bytesMax: 1024 * 1024 }
    const [consumer] = await open(1, { window })
    consumer!.stall()
    for (const event of pushEvents(2000)) destination!.push(event, -1, 0)
    const sent = (): number => consumer!.batches.reduce((sum, count) => sum + count, 0)
    await until(() => sent() === 300)
    consumer!.go()
    await settled()
    expect(consumer!.received().map((event) => event.sequence)).toEqual(
      Array.from({ length: 2000 }, (_, index) => index + 1),
    )
  })

  for (const method of ['stream', 'push'] as const) {
    test(`${method}: nothing is lost and order is kept when the consumer crashes three times`, async () => {
      const [consumer] = await open(1, { method })
      let sequence = 0
      const burst = method === 'stream' ? 400 : 100
      for (let crash = 0; crash < 3; crash++) {
        for (const event of pushEvents(burst, { from: sequence + 1 }))
          destination!.push(event, -1, 0)
        sequence += burst
        const { deliveredEvents } = destination!.stats()
        await until(() => destination!.stats().deliveredEvents > deliveredEvents + 50)
        consumer!.stop()
        for (const event of pushEvents(burst / 4, { from: sequence + 1 })) {
          destination!.push(event, -1, 0)
        }
        sequence += burst / 4
        await until(() => !destination!.stats().isUp)
        await consumer!.start()
      }
      await settled()
      const arrived = method === 'stream' ? consumer!.received() : consumer!.receivedByPush()
      expectOrder(arrived, true)
      expect(new Set(arrived.map(identity)).size).toBe(sequence)
      expectArithmetic(destination!)
      expect(drops).toEqual([])
      const said = lines.map((line) => line.message)
      expect(said.filter((message) => /takes no events/.test(message)).length).toBe(3)
      expect(said.filter((message) => /takes events again/.test(message)).length).toBe(3)
    })

    test(`${method}: an answer that does not come counts as none, and the event comes again`, async () => {
      const [consumer] = await open(1, { method, deadlineMs: 200 })
      consumer!.stall()
      for (const event of pushEvents(5)) destination!.push(event, -1, 0)
      await until(() => destination!.stats().retries > 0)
      expect(lanes.direct.through(0)).toBe(0)
      consumer!.go()
      await settled()
      expect(lines[0]!.fields).toMatchObject({ address: consumer!.address })
      expect(String(lines[0]!.fields['cause'])).toMatch(/^DEADLINE_EXCEEDED/)
    })

    test(`${method}: an event that the consumer refuses for good is dropped alone, and counted`, async () => {
      const [consumer] = await open(1, { method })
      consumer!.refuse = (eventName, sequence) =>
        sequence === 137 || eventName.endsWith('POISON')
          ? { code: status.INVALID_ARGUMENT, details: 'never' }
          : null
      for (let sequence = 1; sequence <= 300; sequence++) {
        const eventName = sequence === 137 ? 'POISON' : 'MESSAGE_CREATE'
        destination!.push(pushEvent({ sequence, eventName }), -1, 0)
      }
      await settled()
      expect(drops.map((drop) => [drop.sequence, drop.cause])).toEqual([[137, 'refused']])
      const arrived = method === 'stream' ? consumer!.received() : consumer!.receivedByPush()
      expectOrder(arrived, true)
      expect(new Set(arrived.map(identity)).size).toBe(299)
      expectArithmetic(destination!)
    })
  }

  test('by guild: each guild has its consumer, in order; one that is away delays only its own', async () => {
    const [even, odd] = await open(2, { spread: 'guild' })
    odd!.stop()
    for (let sequence = 1; sequence <= 200; sequence++) {
      destination!.push(guildEvent(sequence, sequence % 4), -1, 0)
    }
    await until(() => destination!.stats().queuedEvents === 100)
    expect(even!.events.length).toBe(100)
    expect(destination!.stats().isUp).toBe(false)
    await odd!.start()
    await settled()
    for (const [consumer, rest] of [
      [even!, 0],
      [odd!, 1],
    ] as const) {
      const sequences = [...new Set(consumer.events.map((event) => Number(event.s)))]
      expect(sequences).toEqual([...sequences].sort((a, b) => a - b))
      expect(sequences.every((sequence) => sequence % 2 === rest)).toBe(true)
    }
  })

  test('in turn: while a consumer is away the others take its share', async () => {
    const [one, two] = await open(2)
    for (const event of pushEvents(2000)) destination!.push(event, -1, 0)
    await settled()
    expect(one!.events.length).toBeGreaterThan(500)
    expect(two!.events.length).toBeGreaterThan(500)
    two!.stop()
    for (const event of pushEvents(2000, { from: 2001 })) destination!.push(event, -1, 0)
    await settled()
    const arrived = [...one!.received(), ...two!.received()]
    expect(new Set(arrived.map(identity)).size).toBe(4000)
  })

  test('a start without an answer says so, with the cause', async () => {
    const consumer = new TestConsumer()
    await consumer.start()
    consumer.stop()
    const failure = await startedPush([consumer], { connectTimeoutMs: 300 }).catch(
      (error: unknown) => error,
    )
    expect(failure).toBeInstanceOf(PushError)
    expect(failure).toMatchObject({ code: 'PUSH_UNREACHABLE', retryable: true })
    expect((failure as Error).message).toMatch(/ECONNREFUSED/)
  })
})

describe('gRPC push over TLS', () => {
  const cert = tlsFile('cert.pem')
  const key = tlsFile('key.pem')
  const pair = { private_key: Buffer.from(key), cert_chain: Buffer.from(cert) }

  async function tlsConsumer(asksForCertificate: boolean): Promise<TestConsumer> {
    const consumer = new TestConsumer()
    await consumer.start(ServerCredentials.createSsl(Buffer.from(cert), [pair], asksForCertificate))
    consumers.push(consumer)
    return consumer
  }

  test('both sides show certificates where the consumer asks for one', async () => {
    const consumer = await tlsConsumer(true)
    const tls = { ca: cert, cert, key, serverName: 'localhost' }
    destination = await startedPush([consumer], { acks: lanes, tls })
    for (const event of pushEvents(10)) destination.push(event, -1, 0)
    await settled()
    expect(consumer.events.map((event) => decodeTerm(event.d))).toHaveLength(10)
  })

  for (const [what, tls] of [
    ['has another name', { ca: cert, serverName: 'other.example' }],
    ['is signed by nobody that is known', { serverName: 'localhost' }],
    [
      'does not belong to its key',
      {
        ca: cert,
        cert,
        key: generateKeyPairSync('ec', {
          namedCurve: 'P-256',
          privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
          publicKeyEncoding: { type: 'spki', format: 'pem' },
        }).privateKey,
      },
    ],
  ] as const) {
    test(`a certificate that ${what} ends the start at once`, async () => {
      const consumer = await tlsConsumer(false)
      const startedAt = performance.now()
      const failure = await startedPush([consumer], { tls }).catch((error: unknown) => error)
      expect(failure).toMatchObject({ code: 'PUSH_CERTIFICATE' })
      expect(performance.now() - startedAt).toBeLessThan(3000)
    })
  }
})
