/** A simulated Discord, real servers, and compiled gateways between them: what the rows of the bench are taken from. */
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { ChildProcess } from 'node:child_process'
import { Client } from 'pg'
import { startSim, type Sim, type SimOptions } from '../../sim/index.ts'
import { spawnTied } from '../../tests/support/server-process.ts'
import {
  startEtcd,
  startPostgres,
  startRedis,
  type TestServer,
} from '../../tests/support/servers.ts'

/** The shortest that the gateway takes. */
export const TTL_SECONDS = 3
export const SETTLE_SECONDS = 2
const POLL_MS = 5
const LOG_LINES_MAX = 200

const extension = extname(fileURLToPath(import.meta.url))
const PROGRAM = fileURLToPath(new URL(`../../cmd/gateway/main${extension}`, import.meta.url))

export interface Servers {
  readonly redis: TestServer
  readonly postgres: TestServer
}

export async function startServers(): Promise<Servers> {
  const [redis, postgres] = await Promise.all([startRedis(), startPostgres({ fsync: false })])
  return { redis, postgres }
}

export class Worker {
  readonly name: string
  readonly lines: string[] = []
  httpUrl: string | null = null
  readonly ended: Promise<number | null>
  readonly #child: ChildProcess

  constructor(name: string, argv: readonly string[], token: string) {
    this.name = name
    this.#child = spawnTied(process.execPath, [PROGRAM, ...argv, `-podId=${name}`], {
      cwd: process.cwd(),
      env: { DISCORD_TOKEN: token, GATEWAY_DATA: join(tmpdir(), 'gateway-bench-data') },
      deathSignal: 'SIGKILL',
    })
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      createInterface({ input: stream }).on('line', (line) => {
        this.lines.push(line)
        if (this.lines.length > LOG_LINES_MAX) this.lines.shift()
        const url = /"url":"([^"]+)".*"msg":"serving HTTP"/.exec(line)
        if (url !== null) this.httpUrl = url[1]!
      })
    }
    this.ended = new Promise((resolve) => {
      this.#child.once('close', (code) => resolve(code))
    })
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** The sum of a family's series on /metrics; 0 when there is none. */
  async metric(name: string): Promise<number> {
    if (this.httpUrl === null) return 0
    const page = await (await fetch(`${this.httpUrl}/metrics`)).text()
    return page
      .split('\n')
      .filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
      .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
  }
}

/**
 * One fleet on the servers: names, keys, database and etcd are its own, so that several follow each other. A shared etcd would
 * keep the identify permits of the fleet before, whose workers were killed, until their lease is over.
 */
export class BenchFleet {
  readonly sim: Sim
  readonly workers: Worker[] = []
  readonly shardCount: number
  readonly prefix: string
  readonly databaseUrl: string
  readonly #etcd: TestServer
  readonly #argv: readonly string[]

  private constructor(
    sim: Sim,
    etcd: TestServer,
    shardCount: number,
    name: string,
    url: string,
    argv: string[],
  ) {
    this.sim = sim
    this.#etcd = etcd
    this.shardCount = shardCount
    this.prefix = `bench:${name}:`
    this.databaseUrl = url
    this.#argv = argv
  }

  static async open(
    servers: Servers,
    name: string,
    options: Partial<SimOptions> & { readonly shards: number },
  ): Promise<BenchFleet> {
    const etcd = await startEtcd()
    const sim = await startSim({
      guilds: 2 * options.shards,
      membersMax: 50,
      rate: 0,
      identifyLimit: 10_000,
      ledgerEvents: 2_000_000,
      heartbeatIntervalMs: 10_000,
      ...options,
    })
    const admin = new Client({ connectionString: servers.postgres.url })
    await admin.connect()
    await admin.query(`create database ${name}`)
    await admin.end()
    const url = new URL(servers.postgres.url)
    url.pathname = `/${name}`
    return new BenchFleet(sim, etcd, options.shards, name, url.toString(), [
      '-prod',
      '-addr=none',
      '-http=127.0.0.1:0',
      '-intents=all',
      '-payload=envelope',
      '-identify-breaker=1000',
      `-name=${name}`,
      `-lease-ttl=${TTL_SECONDS}`,
      `-rebalance-settle=${SETTLE_SECONDS}`,
      '-rebalance-percent=100',
      `-etcd=${etcd.url}`,
      `-psql=${url.toString()}`,
      `-redis=${servers.redis.url}`,
      `-redis-prefix=bench:${name}:`,
      `-discord-api=${sim.apiUrl}`,
    ])
  }

  start(name: string): Worker {
    const worker = new Worker(name, this.#argv, this.sim.token)
    this.workers.push(worker)
    return worker
  }

  /** Shards with a session that somebody reads. */
  get connected(): number {
    const shards = this.sim.sessions.filter((one) => one.reader !== null && one.end === null)
    return new Set(shards.map(({ shardId }) => shardId)).size
  }

  untilConnected(timeoutMs: number): Promise<void> {
    const what = `all ${this.shardCount} shards connected`
    return this.until(() => this.connected === this.shardCount, timeoutMs, what)
  }

  async until(
    condition: () => boolean | Promise<boolean>,
    timeoutMs: number,
    what: string,
  ): Promise<void> {
    const deadline = performance.now() + timeoutMs
    while (!(await condition())) {
      const dead = this.workers.filter((worker) => !worker.isRunning && worker.lines.length === 0)
      if (performance.now() > deadline || dead.length > 0) {
        const lines = this.workers.flatMap((worker) => worker.lines.slice(-5))
        throw new Error(`${what}: not within ${timeoutMs} ms\n${lines.join('\n')}`)
      }
      await sleep(POLL_MS)
    }
  }

  /** Shards of each running worker, by the owner of the session rows. */
  async owned(): Promise<Map<string, number>> {
    const client = new Client({ connectionString: this.databaseUrl })
    await client.connect()
    const { rows } = await client.query<{ owner: string; shards: string }>(
      'select owner, count(*) as shards from gateway_sessions group by owner',
    )
    await client.end()
    return new Map(rows.map(({ owner, shards }) => [owner, Number(shards)]))
  }

  async end(): Promise<void> {
    for (const worker of this.workers) worker.kill('SIGKILL')
    await Promise.all(this.workers.map((worker) => worker.ended))
    await Promise.all([this.sim.stop(), this.#etcd.stop()])
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)))
}
