/** One of our programs as a child process of a test: its JSON log lines, its end. */
import type { ChildProcess } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { spawnTied } from './server-process.ts'

export type LogLine = Readonly<Record<string, unknown>>

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** One for all programs of a run: what they spill is told apart by their fleets. */
function dataFolder(): string {
  return process.env['TEST_DATA_FOLDER'] ?? join(tmpdir(), 'gateway-test-data')
}

export class Program {
  readonly name: string
  /** Standard output and error together, in the order in which they came. */
  readonly lines: string[] = []
  readonly exited: Promise<Exit>
  readonly #child: ChildProcess
  readonly #listeners = new Set<() => void>()

  /** @param path from the root of the project: `cmd/gateway/main.ts`. */
  constructor(
    path: string,
    argv: readonly string[],
    env: Readonly<Record<string, string>> = {},
    interpreter: string = process.execPath,
  ) {
    this.name = path
    const root = fileURLToPath(new URL('../..', import.meta.url))
    this.#child = spawnTied(interpreter, [`${root}${path}`, ...argv], {
      cwd: root,
      env: { NO_COLOR: '1', GATEWAY_DATA: dataFolder(), ...env },
      deathSignal: 'SIGKILL',
    })
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      createInterface({ input: stream }).on('line', (line) => {
        this.lines.push(line)
        for (const listener of this.#listeners) listener()
      })
    }
    this.exited = new Promise((resolve) => {
      this.#child.once('close', (code, signal) => resolve({ code, signal }))
    })
  }

  /** setpriv becomes the program: it is the program's own. */
  get pid(): number {
    const { pid } = this.#child
    if (pid === undefined) throw new Error(`${this.name} could not be started`)
    return pid
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  get output(): string {
    return this.lines.join('\n')
  }

  /** The lines that are JSON objects. */
  logLines(): LogLine[] {
    return this.lines.flatMap((line) => {
      if (!line.startsWith('{')) return []
      try {
        return [JSON.parse(line) as LogLine]
      } catch {
        return []
      }
    })
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** The first log line with this message, now or later. Rejects when the program ends before. */
  async line(message: string, timeoutMs = 20_000): Promise<LogLine> {
    return this.waitFor(
      () => this.logLines().find((line) => line['msg'] === message) ?? null,
      `"${message}"`,
      timeoutMs,
    )
  }

  /** Looks at every new line until `find` finds something. */
  async waitFor<T>(find: () => T | null, what: string, timeoutMs = 20_000): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const look = (): void => {
        const found = find()
        if (found === null) return
        finish()
        resolve(found)
      }
      const fail = (why: string): void => {
        finish()
        reject(new Error(`${this.name}: ${why}\n${this.lines.slice(-30).join('\n')}`))
      }
      const timer = setTimeout(() => fail(`no ${what} within ${timeoutMs} ms`), timeoutMs)
      const finish = (): void => {
        clearTimeout(timer)
        this.#listeners.delete(look)
      }
      this.#listeners.add(look)
      void this.exited.then(({ code, signal }) => fail(`ended (${code ?? signal}) before ${what}`))
      look()
    })
  }

  /** SIGTERM; rejects when it has not ended after 10 s, the time that a stop may take. */
  async stop(): Promise<Exit> {
    this.kill('SIGTERM')
    const timer = setTimeout(() => this.kill('SIGKILL'), 11_000)
    const exit = await this.exited
    clearTimeout(timer)
    return exit
  }
}
