/** The gateway processes of a run: each with a name, a way to etcd of its own, and a log for each of its lives. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Program } from '../../support/program.ts'
import { TcpProxy } from './tcp-proxy.ts'

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
}

export class Workers {
  readonly lives: Life[] = []
  readonly #options: WorkersOptions
  readonly #proxies = new Map<number, TcpProxy>()
  readonly #running = new Map<number, Life>()
  readonly #frozen = new Set<number>()
  readonly #restarts = new Set<NodeJS.Timeout>()
  #failedStarts = 0
  /** What no process may do: end by itself, or take too long over its end. */
  readonly problems: string[] = []

  constructor(options: WorkersOptions) {
    this.#options = options
  }

  get running(): readonly Life[] {
    return [...this.#running.values()]
  }

  async start(worker: number): Promise<Life> {
    const { argv, env, etcdPort } = this.#options
    const flags = [...argv, `-podId=w${worker}`]
    if (etcdPort !== null) {
      const proxy = this.#proxies.get(worker) ?? (await TcpProxy.start(etcdPort))
      this.#proxies.set(worker, proxy)
      flags.push(`-etcd=http://127.0.0.1:${proxy.port}`)
    }
    const program = new Program('cmd/gateway/main.ts', flags, env)
    const life: Life = { worker, program, httpUrl: undefined, startedAtMs: Date.now() }
    this.lives.push(life)
    this.#running.set(worker, life)
    void program.exited.then(({ code, signal }) => {
      if (this.#running.get(worker) !== life) return
      this.#running.delete(worker)
      const isStarting = !program.logLines().some(({ msg }) => msg === 'started')
      if (isStarting && code === 1 && ++this.#failedStarts <= FAILED_STARTS_MAX) {
        // A server died while it was being started: whoever supervises it starts it again.
        this.#restarts.add(setTimeout(() => void this.start(worker), RESTART_MS))
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

  async end(): Promise<void> {
    for (const timer of this.#restarts) clearTimeout(timer)
    for (const life of this.running) {
      this.#running.delete(life.worker)
      life.program.kill('SIGKILL')
      await life.program.exited
    }
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

  #take(worker: number): Life | undefined {
    const life = this.#running.get(worker)
    this.#running.delete(worker)
    return life
  }
}
