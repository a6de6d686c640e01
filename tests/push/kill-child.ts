/**
 * A process with one destination that spills, fed as Discord would: from the sequence behind the acknowledged
 * one of its predecessor. Says on standard output how far it is acknowledged, a line each time; tests/push/kill.ts
 * kills it.
 *
 *   node kill-child.ts <redis-list|redis-stream> <address> <folder> <from> <to>
 */
import { memoryCounters, seededRandom, silentLog, systemClock } from '../../src/base/index.ts'
import {
  type AckLane,
  redisList,
  redisStream,
  Spill,
  SpillLedger,
  SpillThread,
} from '../../src/push/index.ts'
import { pushEvent } from './events.ts'

const EVENTS_PER_TICK = 40
const TICK_MS = 5
const NAMES = ['MESSAGE_CREATE', 'TYPING_START', 'GUILD_MEMBER_UPDATE'] as const

const [kind, address, folder, from, to] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
]
const acks: AckLane = {
  submit: () => undefined,
  done: (_, position) => void process.stdout.write(`${position}\n`),
}
const common = { clock: systemClock, log: silentLog, counters: memoryCounters() }
const spill = await Spill.open({
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
  address,
  connectionName: 'gateway-test',
  payload: 'envelope' as const,
  encoding: 'etf' as const,
  limits: { eventsMax: 500, bytesMax: 64 * 1024 * 1024 },
  isRequired: false,
  whenFull: 'spill' as const,
  spill,
  acks: { direct: acks, afterCache: acks },
  onDrop: () => process.exit(3),
  random: seededRandom(1),
}
const destination =
  kind === 'redis-list'
    ? redisList(options)
    : redisStream({ ...options, split: { by: 'none' }, trim: {} })
await destination.start()
let sequence = Number(from)
const feed = setInterval(() => {
  for (let count = 0; count < EVENTS_PER_TICK && sequence <= Number(to); count++) {
    if (!destination.hasRoom) return
    const eventName = NAMES[sequence % NAMES.length]!
    destination.push(pushEvent({ sequence, eventName, receivedAtMs: Date.now() }), -1, 0)
    sequence++
  }
  const { queuedEvents, spilledEvents } = destination.stats()
  if (sequence <= Number(to) || queuedEvents + spilledEvents > 0) return
  clearInterval(feed)
  void destination.drain(1000).then(() => process.exit(0))
}, TICK_MS)
