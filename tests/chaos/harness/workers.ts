/** The gateway processes of a run: each with a name, a way to etcd of its own, and a log for each of its lives. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Program } from '../../support/program.ts'
import { TcpProxy } from './tcp-proxy.ts'

const GATEWAY = 'cmd/gateway/main.ts'
/** A stop that takes longer than this is a finding: docs/operating.md. */
const STOP_MS_MAX = 10_000
/** What a supervisor waits before it starts again what could not start, and how often in a run. */
const RESTART_MS = 500
const FAILED_STARTS_MAX = 20

export interface Life {
  readonly worker: number
  readonly program: Program
  /** Undefined while it starts. */
  httpUrl: string | undefined
  readonly startedAtMs: number
}

export interface WorkersOptions {
  /** Flags that all of them have. */
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string>>
  /** Null: without etcd. */
  readonly etcdPort: number | null
  /** Default: the gateway. */
  readonly program?: string
  /** Before what could not start is started again. Default 500. */
  readonly restartMs?: number
}

export class Workers {
  readonly lives: Life[] = []
  readonly #options: WorkersOptions
  readonly #proxies = new Map<number, TcpProxy>()
  readonly #running = new Map<number, Life>()
  readonly #frozen = new Set<number>()
  /** One each: a worker that is started or ended meanwhile is not started again. */
  readonly #restarts = new Map<number, NodeJS.Timeout>()
  #failedStarts = 0
  #isOver = false
  /** What no process may do: end by itself, or take too long over its end. */
  readonly problems: string[] = []

  constructor(options: WorkersOptions) {
    this.#options = options
  }

  get running(): readonly Life[] {
    return [...this.#running.values()]
  }

  /** Starts the worker unless it runs; it may have been started again already after a start that failed. */
  async start(worker: number): Promise<Life> {
    const { argv, env, etcdPort, program: path = GATEWAY, restartMs = RESTART_MS } = this.#options
    this.#cancelRestart(worker)
    const flags = [...argv, `-podId=w${worker}`]
    if (etcdPort !== null) {
      const proxy = this.#proxies.get(worker) ?? (await TcpProxy.start(etcdPort))
      this.#proxies.set(worker, proxy)
      flags.push(`-etcd=http://127.0.0.1:${proxy.port}`)
    }
    // Nothing is awaited between this look and the process.
    const other = this.#running.get(worker)
    if (other !== undefined) return other
    if (this.#isOver) throw new Error(`worker ${worker} is not started: the run is over`)
    const program = new Program(path, flags, env)
    const life: Life = { worker, program, httpUrl: undefined, startedAtMs: Date.now() }
    this.lives.push(life)
    this.#running.set(worker, life)
    void program.exited.then(({ code, signal }) => {
      if (this.#running.get(worker) !== life) return
      this.#running.delete(worker)
      const isStarting = !program.logLines().some(({ msg }) => msg === 'started')
      if (isStarting && code === 1 && ++this.#failedStarts <= FAILED_STARTS_MAX) {
        // A server died while it was being started: whoever supervises it starts it again.
        if (this.#isOver) return
        this.#cancelRestart(worker)
        const restart = (): void => void this.start(worker).catch(() => undefined)
        this.#restarts.set(worker, setTimeout(restart, restartMs))
        return
      }
      this.problems.push(`worker ${worker} ended by itself (${code ?? signal})`)
    })
    void program.line('serving HTTP', 60_000).then(
      (line) => (life.httpUrl = String(line['url'])),
      () => undefined,
    )
    return life
  }

  async kill(worker: number): Promise<void> {
    const life = this.#take(worker)
    if (life === undefined) return
    life.program.kill('SIGKILL')
    await life.program.exited
  }

  async stop(worker: number): Promise<void> {
    // Whoever is stopped hears no SIGTERM, and its thaw no longer finds it.
    if (this.isFrozen(worker)) this.thaw(worker)
    const life = this.#take(worker)
    if (life === undefined) return
    const sentAt = performance.now()
    const { code, signal } = await life.program.stop()
    const ms = Math.round(performance.now() - sentAt)
    // Before its first line it is Node that is told, not the gateway.
    if (life.program.lines.length === 0 && signal === 'SIGTERM') return
    if (code !== 0 || ms > STOP_MS_MAX) {
      this.problems.push(`worker ${worker} ended with ${code ?? signal} ${ms} ms after SIGTERM`)
    }
  }

  freeze(worker: number): void {
    this.#running.get(worker)?.program.kill('SIGSTOP')
    this.#frozen.add(worker)
  }

  thaw(worker: number): void {
    this.#running.get(worker)?.program.kill('SIGCONT')
    this.#frozen.delete(worker)
  }

  isFrozen(worker: number): boolean {
    return this.#frozen.has(worker)
  }

  proxy(worker: number): TcpProxy | undefined {
    return this.#proxies.get(worker)
  }

  /** Nothing that was ever started runs behind it. */
  async end(): Promise<void> {
    this.#isOver = true
    for (const worker of this.#restarts.keys()) this.#cancelRestart(worker)
    this.#running.clear()
    for (const { program } of this.lives) {
      if (program.isRunning) program.kill('SIGKILL')
    }
    await Promise.all(this.lives.map(({ program }) => program.exited))
    await Promise.all([...this.#proxies.values()].map((proxy) => proxy.stop()))
  }

  /** A file for each life: `w2-1.log`. */
  writeLogs(folder: string): void {
    const counts = new Map<number, number>()
    for (const { worker, program } of this.lives) {
      const count = (counts.get(worker) ?? 0) + 1
      counts.set(worker, count)
      writeFileSync(join(folder, `w${worker}-${count}.log`), `${program.output}\n`)
    }
  }

  #cancelRestart(worker: number): void {
    clearTimeout(this.#restarts.get(worker))
    this.#restarts.delete(worker)
  }

  #take(worker: number): Life | undefined {
    this.#cancelRestart(worker)
    const life = this.#running.get(worker)
    this.#running.delete(worker)
    return life
  }
}
