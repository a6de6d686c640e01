import { Server, ServerCredentials, status } from '@grpc/grpc-js'
import { afterEach, describe, expect, test } from 'vitest'
import { type Log, silentLog } from '../../src/base/index.ts'
import {
  consume,
  type ConsumedEvent,
  type Consumer,
  grpcSubscription,
  type GrpcSubscriptionOptions,
} from '../../src/consumer/index.ts'
import { eventsService, SubscribeDestination } from '../../src/push/index.ts'
import { pushEvent, pushEvents } from '../push/events.ts'
import { subscribeOptions } from '../push/grpc-subject.ts'
import { freePort } from '../support/server-process.ts'
import { until } from '../support/until.ts'
import { range, sequencesOf } from './world.ts'

const closers: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

/** A gateway's gRPC listener on a port that stays the same when it is started again. */
class Listener {
  readonly #port: number
  #server: Server | undefined
  destination!: SubscribeDestination

  constructor(port: number) {
    this.#port = port
  }

  get address(): string {
    return `127.0.0.1:${this.#port}`
  }

  async start(): Promise<void> {
    this.destination = new SubscribeDestination(subscribeOptions())
    await this.#listen()
  }

  /** The connections break, the gateway lives on. */
  async cutConnections(): Promise<void> {
    this.#server?.forceShutdown()
    await this.#listen()
  }

  async #listen(): Promise<void> {
    const service = eventsService(this.destination)
    const server = new Server()
    server.addService(service.definition, service.implementation)
    this.#server = server
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(this.address, ServerCredentials.createInsecure(), (error) =>
        error === null ? resolve() : reject(error),
      )
    })
  }

  async stop(): Promise<void> {
    await this.destination.drain(0)
    this.#server?.forceShutdown()
  }
}

async function listening(): Promise<Listener> {
  const listener = new Listener(await freePort())
  await listener.start()
  closers.push(() => listener.stop())
  return listener
}

async function started(
  listener: Listener,
  onEvent: (event: ConsumedEvent) => void | Promise<void>,
  options: Partial<GrpcSubscriptionOptions> = {},
  log: Log = silentLog,
): Promise<Consumer> {
  const from = grpcSubscription({ address: listener.address, name: 'bot', ...options })
  const consumer = await consume({ from, onEvent, log, inFlightMax: 50 })
  closers.push(() => consumer.stop(0))
  return consumer
}

describe('a consumer of gateway.Events/Subscribe', () => {
  test('gets the events in order, decoded, with where they came from', async () => {
    const listener = await listening()
    const events: ConsumedEvent[] = []
    const consumer = await started(listener, (event) => void events.push(event))
    for (const event of pushEvents(500, { d: { guild_id: 81384788765712384n } })) {
      listener.destination.push(event, -1, 0)
    }
    await until(() => events.length === 500)
    expect(sequencesOf(events)).toEqual(range(1, 500))
    expect(events[0]).toEqual({
      t: 'MESSAGE_CREATE',
      d: { guild_id: '81384788765712384' },
      shardId: 0,
      shardCount: 4,
      sessionId: 'session-a',
      sequence: 1,
      guildClass: '',
      receivedAtMs: 1_763_638_800_123,
    })
    expect(await consumer.stop()).toMatchObject({ handled: 500, inFlight: 0 })
  })

  test('asks for the events, shards and guilds that it was told', async () => {
    const listener = await listening()
    const events: ConsumedEvent[] = []
    const guild = 81384788765712384n
    await started(listener, (event) => void events.push(event), {
      events: ['MESSAGE_DELETE'],
      shards: [2],
      guildIds: [String(guild)],
    })
    const wanted = { eventName: 'MESSAGE_DELETE', shardId: 2, d: { guild_id: guild } }
    const others = [{ eventName: 'MESSAGE_CREATE' }, { shardId: 1 }, { d: { guild_id: 5n } }]
    for (const [index, other] of [...others, {}].entries()) {
      listener.destination.push(pushEvent({ ...wanted, ...other, sequence: index + 1 }), -1, 0)
    }
    await until(() => events.length > 0)
    expect(sequencesOf(events)).toEqual([4])
  })

  test('reads no further while its handlers are slow', async () => {
    const listener = await listening()
    const gate = Promise.withResolvers<void>()
    const consumer = await started(listener, () => gate.promise)
    const d = { content: 'x'.repeat(50_000) }
    for (const event of pushEvents(1000, { d })) listener.destination.push(event, -1, 0)
    await until(() => consumer.stats().taken >= 50)
    // What the connection holds is bounded by its windows: most of it waits in the gateway.
    await until(() => listener.destination.stats().deliveredEvents > 50)
    expect(consumer.stats().taken).toBeLessThan(100)
    expect(listener.destination.stats().queuedEvents).toBeGreaterThan(500)
    gate.resolve()
    await until(() => consumer.stats().handled === 1000)
  })

  test('subscribes again when the gateway restarts, and says both', async () => {
    const listener = await listening()
    const events: ConsumedEvent[] = []
    const said: string[] = []
    const log: Log = { ...silentLog, warn: (message) => void said.push(message) }
    await started(listener, (event) => void events.push(event), {}, log)
    await listener.stop()
    await until(() => said.length === 1)
    await listener.start()
    await until(() => listener.destination.stats().isUp)
    listener.destination.push(pushEvent({ sequence: 7 }), -1, 0)
    await until(() => events.length === 1)
    expect(said).toEqual(['subscription: ended, trying again', 'subscription: connected again'])
  })

  test('a subscription by name: what was not handled goes to the next process, what was does not', async () => {
    const listener = await listening()
    const gate = Promise.withResolvers<void>()
    const seen: number[] = []
    const first = await started(
      listener,
      ({ sequence }) => {
        if (sequence === 4) return gate.promise
        seen.push(sequence!)
        return undefined
      },
      { subscription: 'bots' },
    )
    // Each of a guild of its own: the fourth holds nothing up but what is acknowledged.
    for (const s of range(1, 10)) {
      const d = { guild_id: 81384788765712384n + BigInt(s) }
      listener.destination.push(pushEvent({ sequence: s, d }), -1, 0)
    }
    await until(() => seen.length === 9)
    await until(() => listener.destination.stats().deliveredEvents === 3)
    await first.stop(0)
    expect(listener.destination.stats().queuedEvents).toBe(7)
    const again: number[] = []
    const second = await started(listener, ({ sequence }) => void again.push(sequence!), {
      subscription: 'bots',
    })
    await until(() => again.length === 7)
    expect(again.toSorted((a, b) => a - b)).toEqual(range(4, 10))
    await second.stop()
    await until(() => listener.destination.stats().queuedEvents === 0)
    expect(listener.destination.stats().droppedEvents).toBe(0)
  })

  test('a stop waits for handlers and acknowledges what they did', async () => {
    const listener = await listening()
    const gate = Promise.withResolvers<void>()
    const consumer = await started(listener, () => gate.promise, { subscription: 'bots' })
    for (const event of pushEvents(5)) listener.destination.push(event, -1, 0)
    await until(() => consumer.stats().taken === 5)
    const stopped = consumer.stop()
    gate.resolve()
    expect(await stopped).toMatchObject({ handled: 5, inFlight: 0 })
    await until(() => listener.destination.stats().deliveredEvents === 5)
    expect(listener.destination.stats().queuedEvents).toBe(0)
  })

  test('an event that onFailed refused comes again on a new stream, and is handled then', async () => {
    const listener = await listening()
    let isReady = false
    const handled: number[] = []
    const said: string[] = []
    const log: Log = { ...silentLog, warn: (message) => void said.push(message) }
    const from = grpcSubscription({ address: listener.address, name: 'bot', subscription: 'bots' })
    const consumer = await consume({
      from,
      log,
      attemptsMax: 1,
      onEvent: ({ sequence }) => {
        if (!isReady) throw new Error('not yet')
        handled.push(sequence!)
      },
      onFailed: () => {
        if (!isReady) throw new Error('full')
      },
    })
    closers.push(() => consumer.stop(0))
    listener.destination.push(pushEvent({ sequence: 1 }), -1, 0)
    await until(() => consumer.stats().failed === 1)
    isReady = true
    await listener.cutConnections()
    await until(() => handled.length === 1)
    expect(said).toContain('subscription: ended, trying again')
  })

  test('a request that the gateway refuses ends the start with its words', async () => {
    const listener = await listening()
    await expect(started(listener, () => undefined, { shards: [-1] })).rejects.toMatchObject({
      code: 'CONSUMER_REFUSED',
      details: { status: status[status.INVALID_ARGUMENT] },
      message: expect.stringContaining('-1 is no shard id') as string,
    })
  })
})
