/**
 * A process with one destination that spills, fed as Discord would: from the sequence behind the acknowledged
 * one of its predecessor. Says on standard error how far it is acknowledged, a line each time; tests/push/kill.ts
 * kills it. With redis-marks: bare payloads without a spill, one in three after the cache.
 *
 *   node kill-child.ts <redis-list|redis-stream|redis-marks|grpc-push|stdout> <address> <folder> <from> <to>
 */
import { memoryCounters, seededRandom, silentLog, systemClock } from '../../src/base/index.ts'
import {
  type AckLane,
  type Destination,
  GrpcPushDestination,
  openStdout,
  redisList,
  redisStream,
  Spill,
  SpillLedger,
  SpillThread,
  StdoutDestination,
} from '../../src/push/index.ts'
import { pushEvent } from './events.ts'

const EVENTS_PER_TICK = 40
const TICK_MS = 5
const SETTLE_AFTER_TURNS = 4
const NAMES = ['MESSAGE_CREATE', 'TYPING_START', 'GUILD_MEMBER_UPDATE'] as const

const [kind, address, folder, from, to] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
]
let sequence = Number(from)
const hasMarks = kind === 'redis-marks'
/** By lane: the last position that it took, and the last that is through. */
const submitted = [0, 0]
const through = [0, 0]
const ackLane = (lane: number): AckLane => ({
  submit: (_, position) => void (submitted[lane] = position),
  done: (_, position) => {
    through[lane] = position
    const lanes = [0, 1].filter((one) => submitted[one]! > through[one]!)
    const acknowledged = Math.min(sequence - 1, ...lanes.map((one) => through[one]!))
    process.stderr.write(`${acknowledged}\n`)
  },
})
const common = { clock: systemClock, log: silentLog, counters: memoryCounters() }
const spill = hasMarks
  ? undefined
  : await Spill.open({
      ...common,
      destination: 'killed',
      thread: new SpillThread(),
      ledger: new SpillLedger(),
      folder,
      form: kind,
      bytesMax: 1024 ** 3,
      afterMs: 100,
    })
const options = {
  ...common,
  name: 'killed',
  payload: hasMarks ? ('d' as const) : ('envelope' as const),
  encoding: 'etf' as const,
  limits: { eventsMax: 500, bytesMax: 64 * 1024 * 1024 },
  isRequired: false,
  whenFull: hasMarks ? ('block' as const) : ('spill' as const),
  spill,
  acks: { direct: ackLane(0), afterCache: ackLane(1) },
  onDrop: () => process.exit(3),
  random: seededRandom(1),
}
const redis = { ...options, address, connectionName: 'gateway-test' }
const makers: Readonly<Record<string, () => Destination>> = {
  'redis-list': () => redisList(redis),
  'redis-marks': () => redisList({ ...redis, marks: 'killed' }),
  'redis-stream': () => redisStream({ ...redis, split: { by: 'none' }, trim: {} }),
  'grpc-push': () =>
    new GrpcPushDestination({ ...options, addresses: [address], method: 'stream', spread: 'turn' }),
  stdout: () => new StdoutDestination({ ...options, output: openStdout() }),
}
const destination = makers[kind]!()
await destination.start()
let ticket = 0
const feed = setInterval(() => {
  for (let count = 0; count < EVENTS_PER_TICK && sequence <= Number(to); count++) {
    if (!destination.hasRoom) return
    const eventName = NAMES[sequence % NAMES.length]!
    const isAfterCache = hasMarks && eventName === 'GUILD_MEMBER_UPDATE'
    const event = pushEvent({ sequence, eventName, receivedAtMs: Date.now(), d: { s: sequence } })
    sequence++
    destination.push(event, isAfterCache ? 0 : -1, isAfterCache ? ticket : 0)
  }
  // The rows of an earlier turn are committed.
  destination.settle(0, ticket++ - SETTLE_AFTER_TURNS)
  const { queuedEvents, spilledEvents } = destination.stats()
  if (sequence <= Number(to) || queuedEvents + spilledEvents > 0) return
  clearInterval(feed)
  void destination.drain(1000).then(() => process.exit(0))
}, TICK_MS)
