/** Takes the lists as a backend would; checks order and completeness per shard, measures the delay. */
import { Redis } from 'ioredis'
import { STAMP_CHARS, STAMP_KEY } from '../frames.ts'
import type { ConsumerCommand, ConsumerState, Delays } from '../messages.ts'
import { monotonicUs } from '../monotonic.ts'

const TAKE = 256
/** Delays in steps of 0.1 ms up to 10 s. */
const STEP_US = 100
const STEPS = 100_000

const redis = new Redis(Number(process.argv[2]), '127.0.0.1')
const control = new Redis(Number(process.argv[2]), '127.0.0.1')
let keys: string[] = []
let rowKeys = new Set<string>()
let prefix = ''
let isPaused = false
let isTaking = false
let taken = 0
let faults = 0
/** By shard: first and last sequence, and how many. */
let first: number[] = []
let last: number[] = []
let counts: number[] = []
/** By key and shard. */
let lastOfKey = new Map<string, number[]>()
let direct = new Int32Array(STEPS)
let afterCache = new Int32Array(STEPS)

function forget(): void {
  taken = 0
  faults = 0
  first = []
  last = []
  counts = []
  lastOfKey = new Map()
  forgetDelays()
}

function forgetDelays(): void {
  direct = new Int32Array(STEPS)
  afterCache = new Int32Array(STEPS)
}

async function take(): Promise<void> {
  if (isTaking) return
  isTaking = true
  while (!isPaused && keys.length > 0) {
    // Another key comes first each time: BLMPOP takes from the first that has something.
    keys.push(keys.shift()!)
    const answer = (await redis.callBuffer(
      'BLMPOP',
      '0.2',
      keys.length,
      ...keys,
      'LEFT',
      'COUNT',
      TAKE,
    )) as [Buffer, Buffer[]] | null
    if (answer === null) continue
    const key = answer[0].toString()
    const delays = rowKeys.has(key) ? afterCache : direct
    const now = monotonicUs()
    for (const payload of answer[1]) see(key, payload, now, delays)
    taken += answer[1].length
  }
  isTaking = false
}

function see(key: string, payload: Buffer, now: number, delays: Int32Array): void {
  let at = payload.length - STAMP_CHARS
  if (payload[payload.length - 1] === 0x7d) {
    at = payload.lastIndexOf(`"${STAMP_KEY}":"`) + STAMP_KEY.length + 4
  }
  const stamp = payload.toString('latin1', at, at + STAMP_CHARS)
  const shardId = Number.parseInt(stamp.slice(0, 4), 16)
  const sequence = Number.parseInt(stamp.slice(4, 12), 16)
  const step = Math.floor((now - Number.parseInt(stamp.slice(12), 16)) / STEP_US)
  delays[Math.min(STEPS - 1, Math.max(0, step))]!++
  let ofKey = lastOfKey.get(key)
  if (ofKey === undefined) lastOfKey.set(key, (ofKey = []))
  if (!(sequence > (ofKey[shardId] ?? 0))) faults++
  ofKey[shardId] = sequence
  first[shardId] = Math.min(first[shardId] ?? sequence, sequence)
  last[shardId] = Math.max(last[shardId] ?? 0, sequence)
  counts[shardId] = (counts[shardId] ?? 0) + 1
}

function summary(steps: Int32Array): Delays {
  const count = steps.reduce((sum, value) => sum + value, 0)
  const at = (share: number): number => {
    let seen = 0
    for (let step = 0; step < STEPS; step++) {
      seen += steps[step]!
      if (seen >= count * share) return ((step + 0.5) * STEP_US) / 1000
    }
    return 0
  }
  return { count, p50Ms: count === 0 ? 0 : at(0.5), p99Ms: count === 0 ? 0 : at(0.99) }
}

async function state(): Promise<ConsumerState> {
  const before = taken
  const lengths = await Promise.all(keys.map((key) => control.llen(key)))
  const listed = lengths.reduce((sum, length) => sum + length, 0)
  let missing = 0
  for (const shardId of counts.keys()) {
    if (counts[shardId] === undefined) continue
    missing += Math.abs(last[shardId]! - first[shardId]! + 1 - counts[shardId])
  }
  const answer = {
    events: before + listed,
    faults: faults + missing,
    direct: summary(direct),
    afterCache: summary(afterCache),
  }
  return answer
}

const EVENTS = ['PRESENCE_UPDATE', 'MESSAGE_CREATE', 'GUILD_MEMBER_UPDATE', 'TYPING_START']

process.on('message', (command: ConsumerCommand) => {
  if (command.do === 'watch') {
    forget()
    prefix = command.prefix
    keys = EVENTS.map((name) => prefix + name)
    rowKeys = new Set(command.rowEvents.map((name) => prefix + name))
  } else if (command.do === 'pause') isPaused = true
  else if (command.do === 'resume') isPaused = false
  else if (command.do === 'forget') forgetDelays()
  if (!isPaused) void take()
  void state().then((answer) => process.send!(answer))
})
process.on('disconnect', () => process.exit(0))
process.send!('ready')
