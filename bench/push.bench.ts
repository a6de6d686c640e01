/**
 * Every destination: CPU of this process and wall time for each event that the other end has accepted, against a
 * command of ioredis for each event. Sinks are processes of their own. bench/README.md#push
 */
import { type ChildProcess, execFile, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import { Redis } from 'ioredis'
import { eventsService, type PushEvent, SubscribeDestination } from '../src/push/index.ts'
import { findOnPath } from '../tests/support/binaries.ts'
import { startRedis } from '../tests/support/servers.ts'
import { makePayloads } from './etf-payloads.ts'
import { readBenchFlags } from './flags.ts'
import { median } from './harness.ts'
import { fanOutContender } from './push/fan-out.ts'
import {
  commandContender,
  type Contender,
  destinationOptions,
  grpcContender,
  ours,
  redisListContender,
  redisStreamContender,
  stdoutContender,
} from './push/contenders.ts'
import { Report } from './report.ts'

const SUBSCRIBERS = 32
/** Of a large bot: nearly each event in a flush is of another shard. */
const SHARDS = 720
/** What redis-benchmark is asked for. */
const PIPELINE = 64
const CONNECTIONS = 1

interface Turn {
  readonly cpuMicros: number
  readonly wallMicros: number
  /** CPU of the server; where it is asked. */
  readonly serverMicros: number
}

const flags = readBenchFlags(process.argv.slice(2), {
  seconds: 2,
  rounds: 5,
  json: false,
  only: '',
})
const report = new Report('push', flags)
const events = makeEvents()
const children: ChildProcess[] = []
try {
  await redisRows()
  await marksRows()
  await grpcRows()
  await streamRows()
} finally {
  for (const child of children) child.kill('SIGKILL')
}
process.exitCode = report.finish()

async function redisRows(): Promise<void> {
  if (!'redis'.includes(flags.only) && !flags.only.startsWith('redis')) return
  const server = await startRedis()
  const { port, url: address } = server
  const benchmark = findOnPath('redis-benchmark') ?? 'redis-benchmark'
  const list = await redisListContender(address, events)
  const rpush = await commandContender('rpush', false, address, events)
  const piped = await commandContender('rpush', true, address, events)
  const bytes = Math.round(
    events.reduce((sum, { start, end }) => sum + end - start, 0) / events.length,
  )
  const ceiling = await benchmarkContender(benchmark, port, bytes)
  const lists = await measure([list, rpush, piped, ceiling], () => flush(port))
  row('redis-list: CPU an event', 'cpuMicros', lists, list, rpush, 6)
  row('redis-list: CPU an event', 'cpuMicros', lists, list, piped, null)
  row('redis-list: time an event', 'wallMicros', lists, list, rpush, null)
  row('redis-list: time an event', 'wallMicros', lists, list, ceiling, 0.85)
  const stream = await redisStreamContender(address, events)
  const xadd = await commandContender('xadd', false, address, events)
  const streams = await measure([stream, xadd], () => flush(port))
  row('redis-stream: CPU an event', 'cpuMicros', streams, stream, xadd, null)
  row('redis-stream: time an event', 'wallMicros', streams, stream, xadd, null)
  for (const contender of [list, rpush, piped, stream, xadd]) await contender.close()
  await server.stop()
}

/** What -redis-marks costs. */
async function marksRows(): Promise<void> {
  if (!'marks'.includes(flags.only) && !flags.only.startsWith('marks')) return
  const server = await startRedis()
  const client = new Redis(server.port)
  for (const [shards, taken] of [
    [16, events],
    [SHARDS, ofShards(SHARDS)],
  ] as const) {
    const marked = await redisListContender(server.url, taken, `bench-${shards}`)
    const plain = await redisListContender(server.url, taken)
    const turns = await measure(
      [marked, plain],
      () => flush(server.port),
      async () => {
        const info = await client.info('cpu')
        const seconds = /used_cpu_sys:(\S+)\s+used_cpu_user:(\S+)/.exec(info)!
        return (Number(seconds[1]) + Number(seconds[2])) * 1e6
      },
    )
    const name = `redis-list with marks, ${shards} shards`
    row(`${name}: Redis' CPU an event`, 'serverMicros', turns, marked, plain, null)
    row(`${name}: CPU an event`, 'cpuMicros', turns, marked, plain, null)
    for (const contender of [marked, plain]) await contender.close()
  }
  client.disconnect()
  await server.stop()
}

async function grpcRows(): Promise<void> {
  if (!'grpc'.includes(flags.only) && !flags.only.startsWith('grpc')) return
  const { port } = await start('queue')
  const address = `127.0.0.1:${port}`
  const stream = await grpcContender('stream', address, events)
  const unary = await grpcContender('push', address, events)
  const pushes = await measure([stream, unary])
  row('grpc-push stream: CPU an event', 'cpuMicros', pushes, stream, unary, null)
  row('grpc-push stream: time an event', 'wallMicros', pushes, stream, unary, 5)
  await stream.close()
  await unary.close()
  const [one, many] = [fanOutContender(1, events), fanOutContender(SUBSCRIBERS, events)]
  const fanOut = await measure([many, one])
  row(`${many.name}: CPU an event`, 'cpuMicros', fanOut, many, one, 0.5)
  await one.close()
  await many.close()
  const subscribed = [await subscribeContender(SUBSCRIBERS), await subscribeContender(1)] as const
  const sockets = await measure(subscribed)
  row(`${subscribed[0].name}: CPU an event`, 'cpuMicros', sockets, ...subscribed, null)
  row(`${subscribed[0].name}: time an event`, 'wallMicros', sockets, ...subscribed, null)
  for (const contender of subscribed) await contender.close()
}

async function streamRows(): Promise<void> {
  if (!'stdout'.includes(flags.only) && !flags.only.startsWith('stdout')) return
  const reader = spawn('sh', ['-c', 'exec cat > /dev/null'], {
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  children.push(reader)
  const stdout = stdoutContender(reader.stdin, events)
  const turns = await measure([stdout])
  row('stdout: CPU an event', 'cpuMicros', turns, stdout, null, null)
  row('stdout: time an event', 'wallMicros', turns, stdout, null, null)
  await stdout.close()
}

/** Turns of all contenders by name; one that fails is left out. */
async function measure(
  contenders: readonly Contender[],
  between: () => Promise<void> = () => Promise.resolve(),
  serverCpu: () => Promise<number> = () => Promise.resolve(0),
): Promise<ReadonlyMap<string, readonly Turn[]>> {
  const turns = new Map<string, Turn[]>(contenders.map(({ name }) => [name, []]))
  const counts = new Map<string, number>()
  for (let round = -1; round < flags.rounds; round++) {
    for (let index = 0; index < contenders.length; index++) {
      // Another one begins in each round.
      const contender = contenders[(index + Math.max(0, round)) % contenders.length]!
      try {
        // The first round warms up, and says how many events fill a turn.
        const count = counts.get(contender.name) ?? 1000
        const turn = await take(contender, count, serverCpu)
        if (round >= 0) turns.get(contender.name)!.push(turn)
        else {
          const seconds = flags.seconds / flags.rounds
          const perSecond = 1e6 / (await take(contender, 5000, serverCpu)).wallMicros
          counts.set(contender.name, Math.max(500, Math.round(perSecond * seconds)))
        }
      } catch (error) {
        report.problem(contender.name, error)
      }
      await between()
      globalThis.gc?.()
    }
  }
  return turns
}

async function take(
  contender: Contender,
  count: number,
  serverCpu: () => Promise<number>,
): Promise<Turn> {
  const serverBefore = await serverCpu()
  const before = process.cpuUsage()
  const startedAt = process.hrtime.bigint()
  await contender.send(count)
  const wallMicros = Number(process.hrtime.bigint() - startedAt) / 1000
  const { user, system } = process.cpuUsage(before)
  const serverMicros = ((await serverCpu()) - serverBefore) / count
  return { cpuMicros: (user + system) / count, wallMicros: wallMicros / count, serverMicros }
}

/** @param factor the least that the rival's value over ours may be; null: to compare. */
function row(
  name: string,
  key: keyof Turn,
  turns: ReadonlyMap<string, readonly Turn[]>,
  own: Contender,
  rival: Contender | null,
  factor: number | null,
): void {
  const values = (contender: Contender | null): number[] =>
    (contender === null ? [] : (turns.get(contender.name) ?? [])).map((turn) => turn[key])
  const [mine, theirs] = [values(own), values(rival)]
  const ratios =
    rival === null ? [] : mine.map((value, round) => (theirs[round] ?? Number.NaN) / value)
  const ratio = ratios.length === 0 ? null : median(ratios)
  const isComplete =
    mine.length === flags.rounds && (rival === null || theirs.length === flags.rounds)
  report.add({
    row: name,
    unit: 'µs',
    ours: mine.length === 0 ? null : median(mine),
    rival: theirs.length === 0 ? null : median(theirs),
    rival_name: rival?.name ?? '',
    ratio,
    spread: ratios.length === 0 ? [0, 0] : [Math.min(...ratios), Math.max(...ratios)],
    aim: factor === null ? 'none' : `ratio >= ${factor}`,
    met: factor === null || (ratio !== null && ratio >= factor),
    correct: isComplete,
  })
}

/** `redis-benchmark -P 64` with a payload of the same size: what the server can take at all. */
async function benchmarkContender(binary: string, port: number, bytes: number): Promise<Contender> {
  return {
    name: `redis-benchmark -P ${PIPELINE}`,
    async send(count) {
      const args = ['-p', port, '-P', PIPELINE, '-c', CONNECTIONS, '-n', count, '-d', bytes, '-q']
      await promisify(execFile)(binary, [...args.map(String), '-t', 'rpush'])
    },
    close: () => Promise.resolve(),
  }
}

async function flush(port: number): Promise<void> {
  const client = new Redis(port)
  await client.flushall()
  client.disconnect()
}

async function subscribeContender(streams: number): Promise<Contender> {
  const destination = new SubscribeDestination(destinationOptions('subscribe'))
  const { definition, implementation } = eventsService(destination)
  const server = new Server()
  server.addService(definition, implementation)
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound)
      else reject(error)
    })
  })
  await start('subscribe', String(port), String(streams))
  const contender = ours(`subscribe, ${streams} streams`, destination, events)
  return {
    ...contender,
    close: async () => {
      await contender.close()
      server.forceShutdown()
    },
  }
}

/** The other end, in a process of its own. */
async function start(...args: readonly string[]): Promise<{ readonly port: number }> {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  const file = fileURLToPath(new URL(`./push/processes/consumer.${extension}`, import.meta.url))
  const child = fork(file, args)
  children.push(child)
  const [message] = (await once(child, 'message')) as [{ port: number }]
  return message
}

/** Events as a shard hands them over, in the mix of a busy bot. */
function makeEvents(): PushEvent[] {
  const kinds = makePayloads().filter(({ name }) => name !== 'GUILD_CREATE')
  let sequence = 0
  return kinds.flatMap(({ name, variants }) =>
    variants.map(({ d }): PushEvent => {
      sequence++
      return {
        shardId: sequence % 16,
        shardCount: 16,
        sessionId: `0123456789abcdef0123456789abcd${sequence % 16}`,
        sequence,
        position: sequence,
        eventName: name,
        guildClass: '',
        receivedAtMs: 1_763_638_800_000,
        bytes: d,
        start: 0,
        end: d.length,
      }
    }),
  )
}

/** The same events in turn, each of the next shard. */
function ofShards(shardCount: number): PushEvent[] {
  return Array.from({ length: shardCount }, (_, shardId) => ({
    ...events[shardId % events.length]!,
    shardId,
    shardCount,
    sessionId: `0123456789abcdef0123456789ab${shardId}`,
    sequence: shardId + 1,
    position: shardId + 1,
  }))
}
