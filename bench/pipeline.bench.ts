/** The data path from socket to Redis, against what one would build today and against the floor: bench/README.md. */
import { setTimeout as sleep } from 'node:timers/promises'
import { median, timesFaster, withinTimes, NO_AIM, type Aim } from './harness.ts'
import { readPipelineFlags, type PipelineFlags } from './pipeline/flags.ts'
import type { Group } from './pipeline/messages.ts'
import type { Mix } from './pipeline/mixes.ts'
import { runEvent } from './pipeline/events.ts'
import { runSlice, type Slice } from './pipeline/slice.ts'
import { type Contender, Stage } from './pipeline/stage.ts'
import { Report } from './report.ts'

const RIVALS = { discordjs: '@discordjs/ws + ioredis.rpush', floor: 'ws, frames dropped' } as const

/**
 * What @discordjs/ws gets where the others get all they can take: with several messages of a connection in
 * flight it joins their inflated parts (2.0.4, unpackMessage awaits between them) and dies of the JSON.
 */
const RIVAL_RATE = 5000
const SETTLE_MS = 5000
const IDLE_MS = 10_000

const flags = readPipelineFlags(process.argv.slice(2))
const report = new Report('pipeline', flags.bench)
const { scenario } = flags
const isEvent = scenario === 'storm' || scenario === 'reconnect' || scenario === 'stall'
try {
  if (isEvent) await runEvent(flags, report)
  else if (scenario === 'workers') await compareWorkers()
  else await compare()
} catch (error) {
  report.problem(scenario, error)
}
process.exitCode = report.finish()

async function compare(): Promise<void> {
  const isAlone = flags.alone || scenario === 'soak' || flags.compression === 'zstd'
  const groups: Group[] = isAlone ? ['gateway'] : ['gateway', 'discordjs', 'floor']
  const stage = await Stage.open(flags, mixOf(flags), groups)
  const onSignal = (): void => void stage.close().finally(() => process.exit(1))
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal)
  try {
    const contenders = []
    const idleBytes = scenario === 'quiet' ? await stage.idleBytes() : 0
    for (const group of groups) contenders.push(await stage.contender(group))
    if (scenario === 'quiet') await tellIdle(contenders[0]!, idleBytes)
    const slices = new Map<Group, Slice[]>(groups.map((group) => [group, []]))
    const { rounds, seconds } = flags.bench
    for (let round = 0; round < rounds; round++) {
      for (let turn = 0; turn < contenders.length; turn++) {
        const contender = contenders[(turn + round) % contenders.length]!
        const rate = contender.group === 'discordjs' ? (flags.rate ?? RIVAL_RATE) : flags.rate
        const slice = await runSlice(stage, contender, rate, seconds / rounds)
        slices.get(contender.group)!.push(slice)
        if (process.env.BENCH_VERBOSE) console.error(contender.group, JSON.stringify(slice))
      }
    }
    tell(slices)
  } finally {
    await stage.close()
  }
}

/** The same shards and load on one worker and on two that share them. */
async function compareWorkers(): Promise<void> {
  const stage = await Stage.open(flags, mixOf(flags), ['gateway'])
  const onSignal = (): void => void stage.close().finally(() => process.exit(1))
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal)
  try {
    const { rounds, seconds } = flags.bench
    const slices = new Map<number, Slice[]>([
      [1, []],
      [2, []],
    ])
    for (let round = 0; round < rounds; round++) {
      for (const workers of round % 2 === 0 ? [1, 2] : [2, 1]) {
        const contender = await stage.contender('gateway', flags.shards, workers)
        const slice = await runSlice(stage, contender, flags.rate, seconds / rounds)
        await stage.leave(contender)
        slices.get(workers)!.push(slice)
        if (process.env.BENCH_VERBOSE) console.error(workers, JSON.stringify(slice))
      }
    }
    const perCpuSecond = (workers: number): number[] =>
      slices.get(workers)!.map(({ microsPerEvent }) => 1e6 / microsPerEvent)
    const [one, two] = [perCpuSecond(1), perCpuSecond(2)]
    const ratios = two.map((value, round) => value / one[round]!)
    const ratio = median(ratios)
    report.add({
      row: 'workers: events per CPU second of two',
      unit: '/s',
      ours: median(two),
      rival: median(one),
      rival_name: 'one worker',
      ratio,
      spread: [Math.min(...ratios), Math.max(...ratios)],
      aim: '>= 0.9',
      met: ratio >= 0.9,
      correct: [...slices.values()].flat().every(({ isComplete }) => isComplete),
    })
  } finally {
    await stage.close()
  }
}

/** Shards that are connected and get nothing but their ACKs. */
async function tellIdle({ child }: Contender, idleBytes: number): Promise<void> {
  await sleep(SETTLE_MS)
  const a = child.cost()
  await sleep(IDLE_MS)
  const b = child.cost()
  const cpu = b.userSeconds + b.systemSeconds - a.userSeconds - a.systemSeconds
  const cores = (cpu / (b.atMs - a.atMs)) * 1000
  const kib = (b.rssBytes - idleBytes) / 1024 / flags.shards
  for (const [name, unit, ours, aim] of [
    ['idle process, RSS', 'MiB', idleBytes / 2 ** 20, NO_AIM],
    ['memory of a connected shard', 'KiB', kib, most(200, 'KiB')],
    ['idle shards', 'cores', cores, most(0.02, 'cores')],
  ] as const) {
    report.add({
      row: `quiet: ${name}`,
      unit,
      ours,
      rival: null,
      rival_name: '',
      ratio: null,
      spread: [ours, ours],
      aim: aim.text,
      met: aim.isMet(ours, 0),
      correct: true,
    })
  }
}

function tell(slices: ReadonlyMap<Group, readonly Slice[]>): void {
  const ours = slices.get('gateway')!
  const how = `${scenario}${flags.cache ? ' cache' : ''}`
  const isCorrect = [...slices.values()].flat().every((slice) => slice.isComplete)
  const row = (
    name: string,
    unit: string,
    of: (slice: Slice) => number,
    aim: Aim,
    rival?: keyof typeof RIVALS,
  ): void => {
    const mine = ours.map(of)
    const theirs = rival === undefined ? undefined : slices.get(rival)?.map(of)
    const ratios = theirs === undefined ? mine : mine.map((value, index) => theirs[index]! / value)
    const value = median(mine)
    const ratio = theirs === undefined ? null : median(ratios)
    report.add({
      row: `${how}: ${name}`,
      unit,
      ours: value,
      rival: theirs === undefined ? null : median(theirs),
      rival_name: rival === undefined || theirs === undefined ? '' : RIVALS[rival],
      ratio,
      spread: [Math.min(...ratios), Math.max(...ratios)],
      aim: aim.text,
      met: aim.isMet(value, ratio ?? 0),
      correct: isCorrect,
    })
  }
  const micros = (slice: Slice): number => slice.microsPerEvent
  const times = scenario === 'few' ? timesFaster(8) : scenario === 'peak' ? timesFaster(3) : NO_AIM
  if (slices.has('discordjs')) row('CPU per event', 'µs', micros, times, 'discordjs')
  if (slices.has('floor')) {
    const aim = scenario === 'peak' && !flags.cache ? withinTimes(1.8) : NO_AIM
    row('CPU per event', 'µs', micros, aim, 'floor')
  }
  if (scenario === 'saturated') {
    const aim = flags.cache ? 60_000 : 80_000
    row('events per CPU second', '/s', (slice) => 1e6 / slice.microsPerEvent, least(aim))
  }
  const cores = scenario === 'peak' ? most(flags.cache ? 0.8 : 0.6, 'cores') : NO_AIM
  row('cores', 'cores', (slice) => slice.cores, cores)
  row('user', 'cores', (slice) => slice.userSeconds / slice.seconds, NO_AIM)
  row('system', 'cores', (slice) => slice.systemSeconds / slice.seconds, NO_AIM)
  row('events', '/s', (slice) => slice.events / slice.seconds, NO_AIM)
  if (flags.rate !== null) {
    const p99 = scenario === 'peak' ? most(25, 'ms') : NO_AIM
    row('socket to Redis p50', 'ms', (slice) => slice.delays!.direct.p50Ms, NO_AIM)
    row('socket to Redis p99', 'ms', (slice) => slice.delays!.direct.p99Ms, p99)
    if (flags.cache) {
      const aim = scenario === 'peak' ? most(60, 'ms') : NO_AIM
      row('socket to Redis p50, rows', 'ms', (slice) => slice.delays!.afterCache.p50Ms, NO_AIM)
      row('socket to Redis p99, rows', 'ms', (slice) => slice.delays!.afterCache.p99Ms, aim)
    }
  }
  row('event loop delay p50', 'ms', (slice) => slice.loopP50Ms, NO_AIM)
  row('event loop delay p99', 'ms', (slice) => slice.loopP99Ms, NO_AIM)
  row('event loop delay max', 'ms', (slice) => slice.loopMaxMs, NO_AIM)
  row('garbage collection', '%', (slice) => slice.gcShare * 100, NO_AIM)
  row('RSS', 'MiB', (slice) => slice.rssMiB, NO_AIM, 'discordjs')
  row('events per flush', 'events', (slice) => slice.eventsPerFlush, NO_AIM)
  if (flags.cache) row('rows per transaction', 'rows', (slice) => slice.rowsPerBatch, NO_AIM)
  row('generator', 'cores', (slice) => slice.generatorCores, NO_AIM)
}

function mixOf({ scenario: name }: PipelineFlags): Mix {
  return name === 'presence' || name === 'messages' ? name : 'mixed'
}

function most(limit: number, unit: string): Aim {
  return { text: `< ${limit} ${unit}`, isMet: (value) => value < limit }
}

function least(limit: number): Aim {
  return { text: `>= ${limit}`, isMet: (value) => value >= limit }
}
