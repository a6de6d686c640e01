/** What a fleet of workers costs and how quickly it acts, against real etcd, Postgres and Redis. bench/README.md#cluster */
import { Absence } from './cluster/absence.ts'
import {
  BenchFleet,
  SETTLE_SECONDS,
  type Servers,
  sleep,
  startServers,
  TTL_SECONDS,
} from './cluster/fleet.ts'
import { missingEvents } from './cluster/missing-events.ts'
import { readBenchFlags } from './flags.ts'
import { type Row, Report } from './report.ts'

const flags = readBenchFlags(process.argv.slice(2), {
  seconds: 20,
  rounds: 1,
  json: false,
  only: '',
})
const report = new Report('cluster', flags)
const IDENTIFY_WINDOW_SECONDS = 5
const START_MS_MAX = 60_000
/** What a start may take beyond Discord's own pace, as a share of it. */
const START_SHARE_MAX = 0.1

interface Measured {
  readonly row: string
  readonly unit: string
  readonly ours: number
  readonly rival: number | null
  readonly rivalName: string
  readonly aim: string
  readonly isMet: boolean
}

/** The parts, in the order in which they run; `-only` picks some by name. */
const PARTS: readonly (readonly [string, (servers: Servers) => Promise<void>])[] = [
  ['start 8 shards, max_concurrency 1', (servers) => start(servers, 8, 1)],
  ['start 64 shards, max_concurrency 16', (servers) => start(servers, 64, 16)],
  ['start 64 shards, max_concurrency 64', (servers) => start(servers, 64, 64)],
  ['fleet of 4 workers, 64 shards', fleetOfFour],
]

const servers = await startServers()
try {
  for (const [name, part] of PARTS) {
    if (!name.includes(flags.only)) continue
    try {
      await part(servers)
    } catch (error) {
      report.problem(name, error)
    }
  }
} finally {
  await Promise.all([servers.redis.stop(), servers.postgres.stop()])
}
process.exit(report.finish())

/** From the first IDENTIFY to the last shard's READY. */
async function start(at: Servers, shards: number, maxConcurrency: number): Promise<void> {
  const fleet = await BenchFleet.open(at, `start_${shards}_${maxConcurrency}`, {
    shards,
    maxConcurrency,
  })
  try {
    for (const name of ['w1', 'w2']) fleet.start(name)
    await fleet.untilConnected(START_MS_MAX)
    const times = fleet.sim.ledger.identifies.map(({ atMs }) => atMs)
    const seconds = (Math.max(...times) - Math.min(...times)) / 1000
    const least = (Math.ceil(shards / maxConcurrency) - 1) * IDENTIFY_WINDOW_SECONDS
    // One bucket has no wait in it at all: then what counts is a tenth of one window.
    const most = (least || IDENTIFY_WINDOW_SECONDS) * START_SHARE_MAX + least
    add({
      row: `start ${shards} shards, max_concurrency ${maxConcurrency}, 2 workers`,
      unit: 's',
      ours: seconds,
      rival: least,
      rivalName: 'as quickly as Discord allows',
      aim: `<= ${most.toFixed(1)} s`,
      isMet: seconds <= most,
    })
    add({
      row: `identifies for ${shards} shards, max_concurrency ${maxConcurrency}`,
      unit: 'identifies',
      ours: times.length,
      rival: shards,
      rivalName: 'one each',
      aim: 'one each',
      isMet: times.length === shards,
    })
  } finally {
    await fleet.end()
  }
}

async function fleetOfFour(at: Servers): Promise<void> {
  const shards = 64
  const fleet = await BenchFleet.open(at, 'four', { shards, maxConcurrency: 64 })
  try {
    for (const name of ['w1', 'w2', 'w3', 'w4']) fleet.start(name)
    await fleet.untilConnected(START_MS_MAX)
    await untilShared(fleet, 4)
    await steadyState(fleet)
    await rollingRestart(fleet, at)
    await crash(fleet)
    await fifth(fleet)
  } finally {
    await fleet.end()
  }
}

/** No worker has more than its share. */
async function untilShared(fleet: BenchFleet, workers: number): Promise<void> {
  const most = Math.ceil(fleet.shardCount / workers)
  await fleet.until(
    async () => {
      const shares = [...(await fleet.owned()).values()]
      return fleet.connected === fleet.shardCount && Math.max(...shares) <= most
    },
    START_MS_MAX,
    `shards shared by ${workers} workers`,
  )
}

async function steadyState(fleet: BenchFleet): Promise<void> {
  await sleep(2000)
  const running = fleet.workers.filter((worker) => worker.isRunning)
  const read = async (): Promise<number> => {
    const values = await Promise.all(
      running.map((worker) => worker.metric('gateway_etcd_requests_total')),
    )
    return values.reduce((sum, value) => sum + value, 0)
  }
  const before = await read()
  await sleep(flags.seconds * 1000)
  const requests = (await read()) - before
  const perMinute = (requests / fleet.shardCount / flags.seconds) * 60
  add({
    row: `etcd requests for each shard in a minute, TTL ${TTL_SECONDS} s`,
    unit: 'requests',
    ours: perMinute,
    rival: null,
    rivalName: '',
    aim: 'none',
    isMet: requests > 0,
  })
}

/** One worker after the other: SIGTERM, and its successor under the same name when it has ended. */
async function rollingRestart(fleet: BenchFleet, at: Servers): Promise<void> {
  fleet.sim.setRate(200)
  const identifies = fleet.sim.ledger.identifies.length
  const absence = new Absence(fleet.sim, fleet.shardCount)
  for (const worker of fleet.workers.slice(0, 4)) {
    worker.kill('SIGTERM')
    await worker.ended
    const next = fleet.start(worker.name)
    await fleet.until(() => next.httpUrl !== null, START_MS_MAX, `${worker.name} started again`)
    await fleet.untilConnected(START_MS_MAX)
    // Its share comes back to it before the next one goes, as a deploy that waits for readiness does.
    await untilShared(fleet, 4)
  }
  const longest = absence.stop() / 1000
  fleet.sim.setRate(0)
  let missing = Number.POSITIVE_INFINITY
  for (let attempt = 0; attempt < 20 && missing > 0; attempt++) {
    await sleep(250)
    missing = await missingEvents(fleet, at.redis.url)
  }
  const spent = fleet.sim.ledger.identifies.length - identifies
  const none = (row: string, unit: string, ours: number): void =>
    add({ row, unit, ours, rival: null, rivalName: '', aim: '0', isMet: ours === 0 })
  none('rolling restart of 4 workers × 16 shards: identifies', 'identifies', spent)
  none('rolling restart of 4 workers × 16 shards: events lost', 'events', missing)
  add({
    row: 'rolling restart of 4 workers × 16 shards: longest absence',
    unit: 's',
    ours: longest,
    rival: null,
    rivalName: '',
    aim: '< 2 s',
    isMet: longest < 2,
  })
}

/** kill -9 of one of the four, until every one of its shards has RESUMED elsewhere. */
async function crash(fleet: BenchFleet): Promise<void> {
  const victim = fleet.workers.findLast((worker) => worker.isRunning)!
  const identifies = fleet.sim.ledger.identifies.length
  const startedAt = performance.now()
  victim.kill('SIGKILL')
  await fleet.until(() => fleet.connected < fleet.shardCount, 5000, 'the shards lost')
  await fleet.untilConnected(START_MS_MAX)
  const seconds = (performance.now() - startedAt) / 1000
  const spent = fleet.sim.ledger.identifies.length - identifies
  add({
    row: `kill -9 of a worker with 16 shards: until all have resumed, TTL ${TTL_SECONDS} s`,
    unit: 's',
    ours: seconds,
    rival: TTL_SECONDS + 2,
    rivalName: 'TTL + 2 s',
    aim: `<= ${TTL_SECONDS + 2} s, 0 identifies`,
    isMet: seconds <= TTL_SECONDS + 2 && spent === 0,
  })
  fleet.start(victim.name)
  await untilShared(fleet, 4)
}

async function fifth(fleet: BenchFleet): Promise<void> {
  const identifies = fleet.sim.ledger.identifies.length
  const absence = new Absence(fleet.sim, fleet.shardCount)
  const worker = fleet.start('w5')
  await fleet.until(() => worker.httpUrl !== null, START_MS_MAX, 'a fifth worker')
  const startedAt = performance.now()
  await untilShared(fleet, 5)
  const seconds = (performance.now() - startedAt) / 1000
  const longest = absence.stop() / 1000
  const spent = fleet.sim.ledger.identifies.length - identifies
  add({
    row: 'a fifth worker joins: until the shards are shared again',
    unit: 's',
    ours: seconds,
    rival: SETTLE_SECONDS,
    rivalName: 'the settle time',
    aim: 'none',
    isMet: true,
  })
  add({
    row: 'a fifth worker joins: longest absence',
    unit: 's',
    ours: longest,
    rival: null,
    rivalName: '',
    aim: '< 2 s, 0 identifies',
    isMet: longest < 2 && spent === 0,
  })
}

function add({ row, unit, ours, rival, rivalName, aim, isMet }: Measured): void {
  const ratio = rival === null ? null : rival / ours
  const whole: Row = {
    row,
    unit,
    ours,
    rival,
    rival_name: rivalName,
    ratio,
    spread: [ratio ?? 0, ratio ?? 0],
    aim,
    met: isMet,
    correct: true,
  }
  report.add(whole)
}
