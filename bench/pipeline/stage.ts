/** Servers, generator, consumer and contenders: everything that a scenario needs, each a process of its own. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePort } from '../../tests/support/server-process.ts'
import {
  startEtcd,
  startPostgres,
  startRedis,
  type TestServer,
} from '../../tests/support/servers.ts'
import { Child } from './child.ts'
import type { PipelineFlags } from './flags.ts'
import { addGatewayMetrics, type GatewayMetrics, readGatewayMetrics } from './gateway-metrics.ts'
import type {
  ConsumerCommand,
  ConsumerState,
  GeneratorCommand,
  GeneratorReady,
  GeneratorState,
  Group,
  RivalOptions,
  RivalState,
} from './messages.ts'
import type { Mix } from './mixes.ts'

/** The contender has a core for itself; everything else shares the other one. */
const CONTENDER_CORE = 0
const OTHER_CORE = 1
const CONNECT_MS_MAX = 330_000
const SETTLE_MS = 5000
const TOKEN = 'MTEwMDAwMDAwMDAwMDAwMDAwMQ.bench.bench'
const ROW_EVENTS = ['PRESENCE_UPDATE', 'GUILD_MEMBER_UPDATE']

export interface Contender {
  readonly group: Group
  readonly child: Child
  /** Workers of the fleet beside `child`; only a gateway has some. */
  readonly others: readonly Child[]
  /** Key prefix of its lists; '' when it pushes nothing. */
  readonly prefix: string
}

export class Stage {
  readonly #flags: PipelineFlags
  readonly #dir: string
  readonly redis: TestServer
  readonly #postgres: TestServer
  #etcd: TestServer | null = null
  readonly generator: Child
  readonly #ready: GeneratorReady
  readonly consumer: Child
  #httpUrls: readonly string[] = []
  readonly #contenders: Contender[] = []

  private constructor(
    flags: PipelineFlags,
    dir: string,
    servers: readonly [TestServer, TestServer],
    generator: Child,
    ready: GeneratorReady,
    consumer: Child,
  ) {
    this.#flags = flags
    this.#dir = dir
    ;[this.redis, this.#postgres] = servers
    this.generator = generator
    this.#ready = ready
    this.consumer = consumer
  }

  static async open(flags: PipelineFlags, mix: Mix, groups: readonly Group[]): Promise<Stage> {
    bindTo(OTHER_CORE)
    const dir = mkdtempSync(join(tmpdir(), 'gateway-bench-'))
    const servers = await Promise.all([startRedis(), startPostgres({ settings: POSTGRES })])
    const { shards, compression, tls } = flags
    const generator = start('generator', dir, OTHER_CORE, [
      JSON.stringify({ shards, mix, compression, tls, groups }),
    ])
    const ready = await generator.message<GeneratorReady>()
    writeFileSync(join(dir, 'ca.pem'), ready.certificate)
    const consumer = start('consumer', dir, OTHER_CORE, [String(servers[0].port)])
    await consumer.message()
    return new Stage(flags, dir, servers, generator, ready, consumer)
  }

  /** Starts a contender and waits until all its shards stream; with several workers they share the shards. */
  async contender(group: Group, shards = this.#flags.shards, workers = 1): Promise<Contender> {
    const prefix = group === 'floor' ? '' : `${group}:${shards}:${workers}:`
    const env = { NODE_EXTRA_CA_CERTS: join(this.#dir, 'ca.pem'), DISCORD_TOKEN: TOKEN }
    let child: Child
    let others: Child[] = []
    if (group === 'gateway') {
      ;[child, ...others] = await this.#gateways(shards, workers, prefix, env)
    } else {
      const options: RivalOptions = {
        api: this.#ready.api,
        url: this.#ready.url,
        shards,
        compression: this.#flags.compression,
        redisPort: this.redis.port,
        prefix,
        psql: this.#flags.cache ? this.#postgres.url : null,
      }
      child = start(group, this.#dir, CONTENDER_CORE, [JSON.stringify(options)], env)
    }
    const contender = { group, child, others, prefix }
    this.#contenders.push(contender)
    const deadline = performance.now() + CONNECT_MS_MAX
    for (;;) {
      const { open } = await this.tell({ do: 'state', group })
      const ready = group !== 'gateway' ? open : (await this.metrics().catch(() => null))?.ready
      if (open >= shards && (ready ?? 0) >= shards) break
      if (performance.now() > deadline) {
        throw new Error(`${group}: ${open} of ${shards} shards connected; its log: ${child.log()}`)
      }
      for (const one of [child, ...others]) one.mustRun()
      await sleep(200)
    }
    return contender
  }

  async #gateways(
    shards: number,
    workers: number,
    prefix: string,
    env: Readonly<Record<string, string>>,
  ): Promise<[Child, ...Child[]]> {
    const { cache, compression, nodeArgs, scenario } = this.#flags
    // What stands still is the sink in `stall`, where the disk takes over; elsewhere it is the bench itself that is
    // slower than the gateway, and neither the disk nor the bound of a list that nobody reads belong to the path.
    const whenFull = scenario === 'stall' ? 'spill' : 'block'
    const urls: string[] = []
    const gateway = async (worker: number): Promise<Child> => {
      const http = `127.0.0.1:${await freePort()}`
      urls.push(`http://${http}`)
      const fleet: string[] = []
      if (workers > 1) {
        this.#etcd ??= await startEtcd()
        fleet.push('-etcd', this.#etcd.url, '-podId', `w${worker}`)
        fleet.push('-max-shards', String(Math.ceil(shards / workers)))
      }
      return new Child({
        name: 'gateway',
        file: fileURLToPath(new URL(`../../cmd/gateway/main${EXTENSION}`, import.meta.url)),
        args: [
          ['-psql', this.#postgres.url, '-redis', this.redis.url, '-redis-prefix', prefix],
          ['-discord-api', this.#ready.api, '-shards', String(shards), '-addr', 'none'],
          ['-http', http, '-cache', cache ? 'default' : 'none', '-name', 'bench', ...fleet],
          ['-compress', `${compression}-stream`, '-intents', 'all', '-prod'],
          ['-log-level', 'warn', '-queue-bytes-max', String(256 << 20)],
          ['-queue-max', '0', '-when-full', whenFull],
        ].flat(),
        core: CONTENDER_CORE,
        env: { ...env, GATEWAY_DATA: join(this.#dir, `data-${worker}`) },
        nodeArgs,
        log: join(this.#dir, `gateway-${shards}-${workers}-${worker}.log`),
      })
    }
    const first = await gateway(1)
    const gateways: [Child, ...Child[]] = [first]
    for (let worker = 2; worker <= workers; worker++) gateways.push(await gateway(worker))
    this.#httpUrls = urls
    return gateways
  }

  /** What a gateway with a single shard holds: what is above it belongs to the shards. */
  async idleBytes(): Promise<number> {
    const idle = await this.contender('gateway', 1)
    await sleep(SETTLE_MS)
    const { rssBytes } = idle.child.cost()
    await this.leave(idle)
    return rssBytes
  }

  tell(command: GeneratorCommand): Promise<GeneratorState> {
    return this.generator.ask(command)
  }

  ask(command: ConsumerCommand): Promise<ConsumerState> {
    return this.consumer.ask(command)
  }

  watch(contender: Contender): Promise<ConsumerState> {
    const rowEvents = this.#flags.cache ? ROW_EVENTS : []
    return this.ask({ do: 'watch', prefix: contender.prefix, rowEvents })
  }

  /** Events that the contender is through with. */
  async done(contender: Contender): Promise<number> {
    if (contender.group !== 'floor') return (await this.ask({ do: 'state' })).events
    return (await contender.child.ask<RivalState>({})).events
  }

  /** Of all workers of the gateway that was started last. */
  async metrics(): Promise<GatewayMetrics> {
    return addGatewayMetrics(await Promise.all(this.#httpUrls.map(readGatewayMetrics)))
  }

  /** Ends a contender before the others. */
  async leave(contender: Contender): Promise<void> {
    await Promise.all([contender.child, ...contender.others].map((child) => child.stop()))
    this.#contenders.splice(this.#contenders.indexOf(contender), 1)
  }

  async close(): Promise<void> {
    const children = this.#contenders.flatMap(({ child, others }) => [child, ...others])
    await Promise.all(children.map((child) => child.stop()))
    await Promise.all([this.generator.stop(), this.consumer.stop()])
    await Promise.all([this.redis.stop(), this.#postgres.stop(), this.#etcd?.stop()])
    rmSync(this.#dir, { recursive: true, force: true })
  }
}

const EXTENSION = extname(fileURLToPath(import.meta.url))
/** As an operator would set it: durable but not waiting for the disk at each commit. */
const POSTGRES = { synchronous_commit: 'off', shared_buffers: '512MB', max_wal_size: '4GB' }

function start(
  name: string,
  dir: string,
  core: number,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Child {
  const file = fileURLToPath(new URL(`processes/${name}${EXTENSION}`, import.meta.url))
  return new Child({ name, file, args, core, env, log: join(dir, `${name}.log`) })
}

/** This process, and what it starts from now on. */
function bindTo(core: number): void {
  try {
    execFileSync('taskset', ['-cp', String(core), String(process.pid)], { stdio: 'ignore' })
  } catch {
    // Without taskset, or with one core, the scheduler decides; the figures then vary more.
  }
}
