/** One run: start everything, follow the schedule, wait until it is quiet, check. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import {
  memoryCounters,
  messageOf,
  Secret,
  seededRandom,
  silentLog,
  systemClock,
} from '../../../src/base/index.ts'
import { migrate, openDatabase } from '../../../src/cache/index.ts'
import type { Sim } from '../../../sim/index.ts'
import { queryRows, startDiscord } from '../../e2e/run.ts'
import { until } from '../../support/until.ts'
import { Checks } from './checks.ts'
import { checkFences, installFenceLog, readFenceLog } from './fence-log.ts'
import type { ChaosFlags } from './flags.ts'
import { Injector, sleep } from './injector.ts'
import { checkResources, Resources, type Sample } from './resources.ts'
import { LEASE_TTL_SECONDS, planFaults } from './schedule.ts'
import { type ChaosServers, startServers } from './servers.ts'
import { Workers } from './workers.ts'

export interface Verdict {
  readonly isPassed: boolean
  /** One line. */
  readonly text: string
}

const PREFIX = 'gateway:events:'
const GUILDS_PER_SHARD = 6
const READY_MS_MAX = 45_000
/** On top of -minutes, with what it takes to end everything: less than 2 minutes. */
const OVERHEAD_MS_MAX = 110_000
/** An outage at the end, backoffs of all sorts, and the leases of the last one that was killed. */
const QUIET_MS_MAX = 50_000
/** Resources are looked at when nothing has happened for this long. */
const CALM_MS = 2000
/** Of one check so many findings are shown; all of them stand in the log. */
const SHOWN_MAX = 5

export async function runChaos(flags: ChaosFlags, print: (line: string) => void): Promise<Verdict> {
  const { seed, minutes, workers: workerCount, shards, profile, rate, only } = flags
  const logDir = mkdtempSync(join(tmpdir(), `gateway-chaos-${seed}-`))
  const startedAt = performance.now()
  const lines: string[] = []
  const say = (text: string): void => {
    const line = `${((performance.now() - startedAt) / 1000).toFixed(1).padStart(6)} s  ${text}`
    lines.push(line)
    print(line)
  }
  const durationMs = minutes * 60_000
  const hasEtcd = workerCount > 1
  say(
    `seed ${seed}, ${minutes} min, ${workerCount} workers, ${shards} shards, ${rate} changes/s, profile ${profile}`,
  )
  const findings: string[] = []
  let summary = ''
  let fleet: ChaosFleet | undefined
  const follow = async (): Promise<void> => {
    fleet = await ChaosFleet.start(flags, hasEtcd)
    const { sim, workers, servers, resources } = fleet
    await fleet.untilQuiet(READY_MS_MAX)
    await sleep(CALM_MS)
    const before = await resources.scrape()
    say(`${shards} shards are ready`)
    resources.watch()
    sim.setRate(rate)
    const injector = new Injector({ sim, workers, servers, say })
    const began = performance.now()
    const plan = planFaults({ seed, durationMs, workers: workerCount, shards, hasEtcd, only })
    await injector.follow(plan, durationMs)
    sim.setRate(0)
    const endAtMs = performance.now()
    say('traffic and faults are over')
    await fleet.untilQuiet(QUIET_MS_MAX)
    say('every event is acknowledged')
    await resources.stop()
    await sleep(CALM_MS)
    const after = await resources.scrape()
    summary = await check({
      fleet,
      injector,
      findings,
      before,
      after,
      halfAtMs: began + durationMs / 2,
      endAtMs,
      say,
      flags,
    })
  }
  try {
    await within(follow(), durationMs + OVERHEAD_MS_MAX)
  } catch (error) {
    findings.push(`run: ${messageOf(error)}`)
    say(`run: ${messageOf(error)}`)
  }
  await fleet?.resources.stop()
  await fleet?.workers.end()
  const isPassed = findings.length === 0
  const seconds = Math.round((performance.now() - startedAt) / 1000)
  const first = findings[0]?.slice(0, 200)
  const verdict = isPassed
    ? `PASSED seed ${seed} in ${seconds} s: ${summary}`
    : `FAILED seed ${seed} in ${seconds} s: ${findings.length} findings, the first is "${first}"; logs in ${logDir}`
  if (isPassed) rmSync(logDir, { recursive: true, force: true })
  else {
    mkdirSync(logDir, { recursive: true })
    fleet?.workers.writeLogs(logDir)
    writeFileSync(join(logDir, 'schedule.log'), `${lines.join('\n')}\n`)
    writeFileSync(join(logDir, 'findings.log'), `${findings.join('\n')}\n`)
    fleet?.writeLedger(join(logDir, 'ledger.log'))
  }
  await fleet?.end()
  return { isPassed, text: verdict }
}

/** What does not end is a finding, too. */
async function within(work: Promise<void>, timeoutMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not over within ${timeoutMs} ms`)), timeoutMs)
  })
  // It may fail later, when what it waits for is ended.
  work.catch(() => undefined)
  await Promise.race([work, late]).finally(() => clearTimeout(timer))
}

interface CheckInput {
  readonly fleet: ChaosFleet
  readonly injector: Injector
  readonly findings: string[]
  readonly before: readonly Sample[]
  readonly after: readonly Sample[]
  readonly halfAtMs: number
  readonly endAtMs: number
  readonly say: (text: string) => void
  readonly flags: ChaosFlags
}

async function check(input: CheckInput): Promise<string> {
  const { fleet, injector, findings, before, after, halfAtMs, endAtMs, say, flags } = input
  const { sim, workers, servers, resources } = fleet
  const client = new Client({ connectionString: servers.postgres.url })
  await client.connect()
  const fenceLog = await readFenceLog(client)
  await client.end()
  const checks = new Checks({
    sim,
    workers,
    shardCount: flags.shards,
    postgresUrl: servers.postgres.url,
    redisUrl: servers.redis.url,
    redisPrefix: PREFIX,
    fenceLog,
    disturbances: injector.disturbances,
    mayRedisForget: flags.profile === 'default-redis',
  })
  const { samples } = resources
  const resourceCheck = checkResources({ before, after, samples, halfAtMs, endAtMs })
  for (const text of resourceCheck.told) say(text)
  const results: readonly (readonly [string, readonly string[]])[] = [
    ['0 processes', workers.problems],
    ['1 events', [...(await checks.events()), ...(await checks.counters())]],
    ['2 state', await checks.state()],
    ['3 fences', checkFences(fenceLog)],
    ['4 identifies', checks.identifies()],
    ['5 resources', resourceCheck.findings],
  ]
  for (const [name, list] of results) {
    say(`check ${name}: ${list.length === 0 ? 'holds' : `${list.length} findings`}`)
    for (const text of list.slice(0, SHOWN_MAX)) say(`  ${text}`)
    for (const text of list) findings.push(`check ${name}: ${text}`)
  }
  const lost = flags.profile === 'durable' ? '' : `, ${checks.forgotten} events forgotten by Redis`
  return `${checks.summary}${lost}`
}

class ChaosFleet {
  readonly sim: Sim
  readonly servers: ChaosServers
  readonly workers: Workers
  readonly resources: Resources
  readonly #shards: number

  private constructor(sim: Sim, servers: ChaosServers, workers: Workers, shards: number) {
    this.sim = sim
    this.servers = servers
    this.workers = workers
    this.resources = new Resources(workers)
    this.#shards = shards
  }

  static async start(flags: ChaosFlags, hasEtcd: boolean): Promise<ChaosFleet> {
    const { shards, seed } = flags
    const [servers, sim] = await Promise.all([
      startServers(flags.profile, hasEtcd),
      startDiscord({
        shards,
        guilds: GUILDS_PER_SHARD * shards,
        membersMax: 150,
        rate: 0,
        seed,
        maxConcurrency: 16,
        identifyLimit: 100_000,
        heartbeatIntervalMs: 5000,
        heartbeatTimeoutMs: 25_000,
        ledgerEvents: 10_000_000,
        ledgerMib: 4096,
      }),
    ])
    await prepareDatabase(servers.postgres.url, shards)
    const argv = [
      '-prod',
      '-addr=none',
      '-http=127.0.0.1:0',
      '-intents=all',
      '-payload=envelope',
      '-identify-breaker=1000',
      `-lease-ttl=${LEASE_TTL_SECONDS}`,
      `-discord-api=${sim.apiUrl}`,
      `-psql=${servers.postgres.url}`,
      `-redis=${servers.redis.url}`,
      ...(hasEtcd ? ['-rebalance-settle=2', '-rebalance-percent=100'] : []),
    ]
    const workers = new Workers({
      argv,
      env: { DISCORD_TOKEN: sim.token },
      etcdPort: servers.etcd?.port ?? null,
    })
    const fleet = new ChaosFleet(sim, servers, workers, shards)
    for (let worker = 1; worker <= flags.workers; worker++) await workers.start(worker)
    return fleet
  }

  /** Every shard has a connected session whose last event is acknowledged in Postgres. */
  async untilQuiet(timeoutMs: number): Promise<void> {
    const missing = async (): Promise<string[]> => {
      const stored = await this.#storedSequences()
      const missed: string[] = []
      for (let shard = 0; shard < this.#shards; shard++) {
        const session = this.sim.sessions.find(
          (one) => one.shardId === shard && one.reader !== null && one.end === null,
        )
        const sequence = session === undefined ? undefined : stored.get(session.id)
        if (session === undefined) missed.push(`shard ${shard} has no connection`)
        else if (sequence !== session.sequence) {
          missed.push(`shard ${shard} acknowledged ${sequence ?? 'nothing'} of ${session.sequence}`)
        }
      }
      return missed
    }
    let last: string[] = []
    const isQuiet = async (): Promise<boolean> => {
      last = await missing().catch((error: unknown) => [messageOf(error)])
      if (last.length > 0) await sleep(50)
      return last.length === 0
    }
    await until(isQuiet, { timeoutMs }).catch(() => {
      throw new Error(`not quiet within ${timeoutMs} ms: ${last.join(', ')}`)
    })
  }

  async #storedSequences(): Promise<Map<string, number>> {
    const rows = await queryRows<{ session_id: string; sequence: string }>(
      this.servers.postgres.url,
      'select session_id, sequence from gateway_sessions where session_id is not null',
    )
    return new Map(rows.map((row) => [row.session_id, Number(row.sequence)]))
  }

  /** What the simulator says of sessions, for whoever looks for the cause of a finding. */
  writeLedger(path: string): void {
    const { identifies, resumes, closes, ends } = this.sim.ledger
    const all = [
      ...identifies.map((entry) => ({ what: 'identify', ...entry })),
      ...resumes.map((entry) => ({ what: 'resume', ...entry })),
      ...closes.map((entry) => ({ what: 'close', ...entry })),
      ...ends.map((entry) => ({ what: 'end', ...entry })),
    ].sort((a, b) => a.n - b.n)
    const text = all.map((entry) => {
      return JSON.stringify({ time: new Date(entry.atMs).toISOString(), ...entry })
    })
    writeFileSync(path, `${text.join('\n')}\n`)
  }

  async end(): Promise<void> {
    await this.workers.end()
    await this.sim.stop()
    await this.servers.stop()
  }
}

/** The tables, and the triggers on them, before the first worker comes. */
async function prepareDatabase(url: string, shards: number): Promise<void> {
  const deps = {
    clock: systemClock,
    random: seededRandom(1),
    log: silentLog,
    counters: memoryCounters(),
  }
  const database = await openDatabase({ url: new Secret(url), name: 'chaos' }, deps)
  await migrate(database, deps)
  await database.close()
  const client = new Client({ connectionString: url })
  await client.connect()
  await installFenceLog(client, shards)
  await client.end()
}
