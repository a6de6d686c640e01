/**
 * `-workers N`: one parent runs N gateways as child processes and listens for them.
 *
 *   parent ── -http /healthz /metrics (all workers, label worker) ── -addr → a worker that answers
 *     ├── worker 1   own ports, -podId w1
 *     └── worker 2   …
 *
 * A worker that ends is started again after a pause that grows; SIGTERM and SIGINT go to all of them. Their log lines
 * go to the parent's standard error, each with its podId.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import {
  backoffMs,
  type Clock,
  type Log,
  messageOf,
  type Random,
  sleep,
  within,
} from '../../src/base/index.ts'
import type { GatewayConfig } from '../../src/config/index.ts'
import { formatAddress, parseListenAddress, startHttpServer } from '../../src/server/index.ts'
import { GrpcFront } from './grpc-front.ts'
import { workersHealth } from './workers-health.ts'
import { joinMetrics } from './worker-metrics.ts'

/** A worker that ran for so long has recovered: its next end begins with the shortest pause again. */
const STEADY_MS = 60_000
const RESTART = { baseMs: 500, maxMs: 30_000 } as const
/** A worker's page that does not come by then is left out. */
const SCRAPE_TIMEOUT_MS = 2000
const CLOSE_MS = 1000

export interface WorkersDeps {
  readonly version: string
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** Command line of the parent; workers get it with listeners, name and count of their own. */
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  /** Where the workers' lines go. */
  readonly write: (line: string) => void
}

interface Worker {
  readonly name: string
  child: ChildProcess | null
  httpUrl: string | null
  grpcAddress: string | null
}

/** What a worker says last that Discord has refused for good. */
export const FATAL_MESSAGE = 'stopped for good: see the error above'

/** Stops this process when the parent that started it as a worker is gone. */
export function endWithParent(): void {
  if (process.channel === undefined) return
  process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'))
  process.channel.unref()
}

export class WorkerParent {
  /** Resolves when Discord refused a worker for good: to start it again would cost identifies. */
  readonly fatal: Promise<void>
  #onFatal: () => void = () => undefined
  readonly #config: GatewayConfig
  readonly #deps: WorkersDeps
  readonly #workers: Worker[]
  readonly #stopping = new AbortController()
  readonly #closers: (() => Promise<void>)[] = []
  #loops: Promise<void>[] = []

  constructor(config: GatewayConfig, deps: WorkersDeps) {
    this.#config = config
    this.#deps = deps
    this.fatal = new Promise((resolve) => {
      this.#onFatal = resolve
    })
    const prefix = config.podId === '' ? 'w' : `${config.podId}-w`
    this.#workers = Array.from({ length: config.workers }, (_, index) => ({
      name: `${prefix}${index + 1}`,
      child: null,
      httpUrl: null,
      grpcAddress: null,
    }))
  }

  /** Listens, then starts the workers. @throws ServerError SERVER_CANNOT_LISTEN */
  async start(): Promise<void> {
    const { log, clock, version } = this.#deps
    const { httpAddress, grpcAddress } = this.#config
    if (httpAddress !== null) {
      const server = await startHttpServer({
        address: httpAddress,
        flag: 'http',
        version,
        clock,
        log,
        health: workersHealth(this.#workers),
        dashboardOf: () => this.#workers.find(({ httpUrl }) => httpUrl !== null)?.httpUrl ?? null,
        metrics: {
          contentType: 'text/plain; version=0.0.4; charset=utf-8',
          render: () => this.#metrics(),
        },
      })
      this.#closers.push(() => server.close())
      log.info('serving HTTP', { url: server.url })
    }
    if (grpcAddress !== null) {
      const front = await GrpcFront.start(grpcAddress, () =>
        this.#workers.flatMap((worker) => worker.grpcAddress ?? []),
      )
      this.#closers.push(() => front.close())
      log.info('serving gRPC', { address: front.address })
    }
    this.#loops = this.#workers.map((worker) => this.#supervise(worker))
    log.info('started workers', { workers: this.#workers.length })
  }

  /** Each worker reads the destinations again. */
  reload(): void {
    for (const { child } of this.#workers) child?.kill('SIGHUP')
  }

  /** Passes the signal on, and waits for all of them. */
  async stop(signal: NodeJS.Signals): Promise<void> {
    this.#stopping.abort()
    for (const { child } of this.#workers) child?.kill(signal)
    await Promise.all(this.#loops)
    const closed = Promise.all(this.#closers.map((close) => close().catch(() => undefined)))
    await within(this.#deps.clock, closed, CLOSE_MS)
  }

  async #supervise(worker: Worker): Promise<void> {
    const { clock, random, log } = this.#deps
    const { signal } = this.#stopping
    for (let attempt = 0; !signal.aborted; attempt++) {
      const startedAt = clock.monotonic()
      const end = await this.#run(worker)
      if (signal.aborted) return
      if (clock.monotonic() - startedAt >= STEADY_MS) attempt = 0
      const waitMs = backoffMs(attempt, random, RESTART)
      log.error('worker ended, it is started again', { podId: worker.name, ...end, waitMs })
      await sleep(clock, waitMs, signal).catch(() => undefined)
    }
  }

  #run(worker: Worker): Promise<Readonly<Record<string, unknown>>> {
    const { argv, env, log } = this.#deps
    const script = process.argv[1]!
    // The last of a flag counts.
    const { grpcAddress, advertise } = this.#config
    /** The same host, a port of its own: other hosts must reach each worker. */
    const ofWorker = (flag: string, address: string): string =>
      `-${flag}=${formatAddress({ ...parseListenAddress(address, flag), port: 0 })}`
    const own = [
      '-workers=1',
      `-podId=${worker.name}`,
      ...(this.#config.httpAddress === null ? [] : ['-http=127.0.0.1:0']),
      ...(grpcAddress === null ? [] : [ofWorker('addr', grpcAddress)]),
      ...(advertise === '' ? [] : [ofWorker('advertise', advertise)]),
      '-prod',
    ]
    const child = spawn(process.execPath, [...process.execArgv, script, ...argv, ...own], {
      env: { ...env },
      // The channel ends with this process, however it ends; then the worker stops too: endWithParent.
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      // Ctrl-C reaches the parent alone, which passes it on.
      detached: true,
    })
    worker.child = child
    for (const stream of [child.stdout!, child.stderr!]) {
      createInterface({ input: stream }).on('line', (line) => this.#onLine(worker, line))
    }
    return new Promise((resolve) => {
      let failure = ''
      child.once('error', (error) => {
        failure = messageOf(error)
        if (child.pid === undefined) resolve({ error: failure })
      })
      child.once('close', (code, signal) => {
        worker.child = null
        worker.httpUrl = null
        worker.grpcAddress = null
        log.debug('worker ended', { podId: worker.name, code, signal })
        resolve({ code, signal })
      })
    })
  }

  /** A worker's line with its name; lines that are no JSON (a stack, a sentence) are wrapped. */
  #onLine(worker: Worker, line: string): void {
    const { log, write } = this.#deps
    const fields = parseLine(line)
    if (fields === null) {
      log.warn('worker said', { podId: worker.name, line })
      return
    }
    if (fields['msg'] === 'serving HTTP') worker.httpUrl = String(fields['url'])
    if (fields['msg'] === FATAL_MESSAGE) this.#onFatal()
    if (fields['msg'] === 'serving gRPC') worker.grpcAddress = String(fields['address'])
    if (this.#config.isProd) {
      write(`{"podId":${JSON.stringify(worker.name)},${line.slice(1)}`)
      return
    }
    const { level, msg, time: _, ...rest } = fields
    const name = level === 'debug' || level === 'warn' || level === 'error' ? level : 'info'
    log[name](String(msg), { podId: worker.name, ...rest })
  }

  async #metrics(): Promise<string> {
    const pages = await Promise.all(
      this.#workers.map(async ({ name, httpUrl }) => {
        if (httpUrl === null) return { worker: name, page: null }
        try {
          const signal = AbortSignal.timeout(SCRAPE_TIMEOUT_MS)
          const answer = await fetch(`${httpUrl}/metrics`, { signal })
          return { worker: name, page: answer.ok ? await answer.text() : null }
        } catch {
          return { worker: name, page: null }
        }
      }),
    )
    return joinMetrics(pages)
  }
}

function parseLine(line: string): Readonly<Record<string, unknown>> | null {
  if (!line.startsWith('{"')) return null
  try {
    return JSON.parse(line) as Record<string, unknown>
  } catch {
    return null
  }
}
