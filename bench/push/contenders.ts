/** Ways to send events, ours and the rivals': each takes so many events and ends when all are accepted. */
import { Redis } from 'ioredis'
import {
  memoryCounters,
  type Random,
  silentLog,
  systemClock,
  systemRandom,
} from '../../src/base/index.ts'
import {
  type AckLane,
  type Destination,
  GrpcPushDestination,
  type PushEvent,
  redisList,
  redisStream,
  StdoutDestination,
  type StdoutOptions,
} from '../../src/push/index.ts'
import type { Writable } from 'node:stream'

export interface Contender {
  readonly name: string
  /** Sends the events in turn, `count` in all. */
  readonly send: (count: number) => Promise<void>
  readonly close: () => Promise<void>
}

/** Events that come in one turn of the event loop, as a read of many sockets brings them. */
const BURST_EVENTS = 128
/** Commands of a rival that may be unanswered: without a bound it would measure its memory. */
const RIVAL_WINDOW = 1024

type DestinationOptions = Omit<StdoutOptions, 'payload' | 'output'> & { readonly random: Random }

const NO_LANE: AckLane = { submit: () => undefined, done: () => undefined }

export function destinationOptions(name: string): DestinationOptions {
  return {
    name,
    limits: { eventsMax: 20_000, bytesMax: 256 * 1024 * 1024 },
    acks: { direct: NO_LANE, afterCache: NO_LANE },
    onDrop: () => undefined,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    counters: memoryCounters(),
  }
}

/** A destination of ours, fed while it has room. */
export function ours(
  name: string,
  destination: Destination,
  events: readonly PushEvent[],
): Contender {
  let next = 0
  return {
    name,
    async send(count) {
      const goal = destination.stats().deliveredEvents + count
      let left = count
      while (left > 0) {
        for (let burst = 0; burst < BURST_EVENTS && left > 0 && destination.hasRoom; burst++) {
          destination.push(events[next++ % events.length]!, -1, 0)
          left--
        }
        await turn()
      }
      while (destination.stats().deliveredEvents < goal) await turn()
    },
    close: async () => void (await destination.drain(1000)),
  }
}

/** @param marks whose marks it keeps (-redis-marks), undefined: none. */
export async function redisListContender(
  address: string,
  events: readonly PushEvent[],
  marks?: string,
): Promise<Contender> {
  const name = marks === undefined ? 'redis-list' : 'redis-list with marks'
  const destination = redisList({
    ...destinationOptions(name),
    address,
    connectionName: 'bench',
    payload: 'd',
    encoding: 'etf',
    marks,
  })
  await destination.start()
  return ours(name, destination, events)
}

export async function redisStreamContender(
  address: string,
  events: readonly PushEvent[],
): Promise<Contender> {
  const destination = redisStream({
    ...destinationOptions('redis-stream'),
    address,
    connectionName: 'bench',
    encoding: 'etf',
    split: { by: 'none' },
    trim: { entriesMax: 10_000 },
  })
  await destination.start()
  return ours('redis-stream', destination, events)
}

export async function grpcContender(
  method: 'stream' | 'push',
  address: string,
  events: readonly PushEvent[],
): Promise<Contender> {
  const name = `grpc-push ${method}`
  const destination = new GrpcPushDestination({
    ...destinationOptions(name),
    addresses: [address],
    method,
    spread: 'turn',
    payload: 'd',
    encoding: 'etf',
  })
  await destination.start()
  return ours(name, destination, events)
}

export function stdoutContender(output: Writable, events: readonly PushEvent[]): Contender {
  const destination = new StdoutDestination({
    ...destinationOptions('stdout'),
    payload: 'envelope',
    output,
  })
  return ours('stdout', destination, events)
}

/** A command of ioredis for each event: `rpush` of the payload, or `xadd` with the fields of our stream. */
export async function commandContender(
  command: 'rpush' | 'xadd',
  enableAutoPipelining: boolean,
  address: string,
  events: readonly PushEvent[],
): Promise<Contender> {
  const client = new Redis(address, { enableAutoPipelining })
  await client.ping()
  let next = 0
  const write = (event: PushEvent): Promise<unknown> => {
    // As the payload that ours pushes: a version byte and the term.
    const payload = Buffer.allocUnsafe(event.end - event.start + 1)
    payload[0] = 131
    payload.set(event.bytes.subarray(event.start, event.end), 1)
    if (command === 'rpush') return client.rpush(`bench:${event.eventName}`, payload)
    const { eventName, sequence, shardId, sessionId, guildClass } = event
    const fields = ['t', eventName, 's', sequence, 'shard', shardId, 'session', sessionId]
    const trim = ['MAXLEN', '~', 10_000] as const
    return client.xadd('bench:all', ...trim, '*', ...fields, 'class', guildClass, 'd', payload)
  }
  return {
    name: `ioredis.${command}${enableAutoPipelining ? ', auto-pipelining' : ' per event'}`,
    async send(count) {
      let pending = 0
      let failure: unknown
      const settle = (): void => void pending--
      for (let left = count; left > 0; ) {
        for (let burst = 0; burst < BURST_EVENTS && left > 0 && pending < RIVAL_WINDOW; burst++) {
          pending++
          left--
          write(events[next++ % events.length]!).then(settle, (error: unknown) => {
            failure = error
            pending--
          })
        }
        await turn()
      }
      while (pending > 0) await turn()
      if (failure !== undefined) throw failure
    },
    close: async () => void (await client.quit()),
  }
}

/** A turn of the event loop, in which sockets are read. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
