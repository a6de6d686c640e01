/** One process of the bench: what it says by IPC, and what it costs by /proc. */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, openSync, readFileSync } from 'node:fs'
import { once } from 'node:events'

/** Linux' USER_HZ. */
const TICKS_PER_SECOND = 100
const PAGE_BYTES = 4096
const STOP_MS = 12_000

export interface Cost {
  readonly atMs: number
  readonly userSeconds: number
  readonly systemSeconds: number
  readonly rssBytes: number
}

export interface ChildOptions {
  readonly name: string
  readonly file: string
  readonly args: readonly string[]
  /** Core that it is bound to. */
  readonly core: number
  readonly env?: Readonly<Record<string, string>>
  readonly nodeArgs?: readonly string[]
  /** Where its output goes. */
  readonly log: string
}

export class Child {
  readonly name: string
  readonly #process: ChildProcess
  readonly #log: string
  #hasEnded = false

  constructor(options: ChildOptions) {
    this.name = options.name
    this.#log = options.log
    const log = openSync(options.log, 'w')
    const node = [process.execPath, ...(options.nodeArgs ?? []), options.file, ...options.args]
    const command = hasTaskset() ? ['taskset', '-c', String(options.core), ...node] : node
    this.#process = spawn(command[0]!, command.slice(1), {
      env: { ...process.env, ...options.env },
      stdio: ['ignore', log, log, 'ipc'],
    })
    this.#process.once('exit', () => {
      this.#hasEnded = true
    })
    // A question to a process that has ended is answered by its log.
    this.#process.on('error', () => undefined)
  }

  get pid(): number {
    return this.#process.pid!
  }

  /** The next message; rejects with the log's end when the process ends before it. */
  message<T>(): Promise<T> {
    if (this.#hasEnded) return Promise.reject(this.#failure())
    return new Promise((resolve, reject) => {
      const onMessage = (value: unknown): void => {
        this.#process.off('exit', onExit)
        resolve(value as T)
      }
      const onExit = (): void => {
        this.#process.off('message', onMessage)
        reject(this.#failure())
      }
      this.#process.once('message', onMessage).once('exit', onExit)
    })
  }

  ask<T>(question: object): Promise<T> {
    const answer = this.message<T>()
    if (this.#process.connected) this.#process.send(question)
    return answer
  }

  cost(): Cost {
    // Behind the name, which may hold spaces: fields 3 and up of proc(5).
    const text = readFileSync(`/proc/${this.pid}/stat`, 'utf8')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return {
      atMs: performance.now(),
      userSeconds: Number(fields[11]) / TICKS_PER_SECOND,
      systemSeconds: Number(fields[12]) / TICKS_PER_SECOND,
      rssBytes: Number(fields[21]) * PAGE_BYTES,
    }
  }

  /** Throws when the process has ended. */
  mustRun(): void {
    if (this.#hasEnded) throw this.#failure()
  }

  log(): string {
    return readFileSync(this.#log, 'utf8')
  }

  signal(signal: NodeJS.Signals): void {
    if (!this.#hasEnded) this.#process.kill(signal)
  }

  async stop(): Promise<void> {
    if (this.#hasEnded) return
    const ended = once(this.#process, 'exit')
    this.#process.kill('SIGTERM')
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), STOP_MS)
    await ended
    clearTimeout(timer)
  }

  #failure(): Error {
    const tail = this.log().trimEnd().split('\n').slice(-5).join('\n')
    return new Error(`${this.name} has ended:\n${tail}`)
  }
}

function hasTaskset(): boolean {
  return ['/usr/bin/taskset', '/bin/taskset'].some((path) => existsSync(path))
}

/** What several processes cost together. */
export function costOf(children: readonly Child[]): Cost {
  const costs = children.map((child) => child.cost())
  const sum = (of: (cost: Cost) => number): number =>
    costs.reduce((total, cost) => total + of(cost), 0)
  return {
    atMs: costs.at(-1)!.atMs,
    userSeconds: sum(({ userSeconds }) => userSeconds),
    systemSeconds: sum(({ systemSeconds }) => systemSeconds),
    rssBytes: sum(({ rssBytes }) => rssBytes),
  }
}
