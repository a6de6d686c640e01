/** The other end of the destinations that kill.test.ts kills. */
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { expect } from 'vitest'
import { startRedis } from '../support/servers.ts'
import { expectOrder, type Received } from './contract.ts'
import { TestConsumer } from './grpc-push-subject.ts'
import { adminOf, bareLists, receivedFrom } from './redis-subject.ts'
import { receivedIn } from './stdout-subject.ts'
import { receivedFromStreams } from './stream-subject.ts'

export interface KilledSink {
  readonly address: string
  /** Null: what it has taken dies with it, which nobody can promise to survive. */
  readonly kill: (() => Promise<void>) | null
  readonly start: () => Promise<void>
  /** Another process of the gateway, and its standard output. */
  readonly begin: (stdout: Readable) => void
  readonly expectAll: (events: number) => Promise<void>
  readonly forget: () => Promise<void>
  readonly stop: () => Promise<void>
}

async function redisSink(kind: 'list' | 'stream' | 'marks'): Promise<KilledSink> {
  // What it has answered is on its disk: else it would lose what it has accepted.
  const server = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
  const admin = adminOf(server)
  return {
    address: server.url,
    kill: () => server.kill(),
    start: () => server.start(),
    begin: (stdout) => void stdout.resume(),
    async expectAll(events) {
      if (kind === 'marks') expectOnce(await bareLists(admin), events)
      else if (kind === 'list') expectEvents(await receivedFrom(admin), events, false)
      else expectEvents(await receivedFromStreams(admin), events, true)
    },
    forget: async () => void (await admin.flushall()),
    async stop() {
      admin.disconnect()
      await server.stop()
    },
  }
}

async function grpcSink(): Promise<KilledSink> {
  const consumer = new TestConsumer()
  await consumer.start()
  return {
    address: consumer.address,
    kill: () => Promise.resolve(consumer.stop()),
    start: () => consumer.start(),
    begin: (stdout) => void stdout.resume(),
    expectAll: async (events) => expectEvents(consumer.received(), events, true),
    forget: () => Promise.resolve(void consumer.events.splice(0)),
    stop: () => Promise.resolve(consumer.stop()),
  }
}

function stdoutSink(): Promise<KilledSink> {
  const lines: string[] = []
  return Promise.resolve({
    address: '',
    kill: null,
    start: () => Promise.resolve(),
    begin: (stdout) =>
      void createInterface({ input: stdout }).on('line', (line) => lines.push(line)),
    // A line that was cut off by the kill is none.
    expectAll: async (events) => expectEvents(receivedIn(lines.filter(isWhole)), events, true),
    forget: () => Promise.resolve(void lines.splice(0)),
    stop: () => Promise.resolve(),
  })
}

/** Every event, in order; repeats are allowed. */
function expectEvents(
  arrived: readonly Received[],
  events: number,
  keepsShardOrder: boolean,
): void {
  const seen = new Set(arrived.map((event) => event.sequence))
  expect(upTo(events).filter((sequence) => !seen.has(sequence))).toEqual([])
  expectOrder(arrived, keepsShardOrder)
}

/** Neither lost nor repeated, and each list in its order, though a bare payload tells nothing of repeats. */
function expectOnce(lists: readonly (readonly number[])[], events: number): void {
  for (const list of lists) expect(list).toEqual([...list].sort((a, b) => a - b))
  expect(lists.flat().sort((a, b) => a - b)).toEqual(upTo(events))
}

function upTo(last: number): number[] {
  return Array.from({ length: last }, (_, index) => index + 1)
}

function isWhole(line: string): boolean {
  try {
    JSON.parse(line)
    return true
  } catch {
    return false
  }
}

export const KILLED_SINKS: Readonly<Record<string, () => Promise<KilledSink>>> = {
  'redis-list': () => redisSink('list'),
  'redis-stream': () => redisSink('stream'),
  'redis-marks': () => redisSink('marks'),
  'grpc-push': grpcSink,
  stdout: stdoutSink,
}
