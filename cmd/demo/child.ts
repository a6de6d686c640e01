/** A program of ours as a child process: its lines, its end. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

/** Programs run as this one does: from source, or from dist. */
const EXTENSION = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
const STOP_TIMEOUT_MS = 12_000

export class Child {
  readonly name: string
  readonly lines: string[] = []
  readonly exited: Promise<number | null>
  readonly #process: ChildProcess
  readonly #listeners = new Set<(line: string) => void>()

  /** @param program path below the project without extension: `cmd/gateway/main`. */
  constructor(
    name: string,
    program: string,
    argv: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ) {
    this.name = name
    const path = fileURLToPath(new URL(`../../${program}.${EXTENSION}`, import.meta.url))
    this.#process = spawn(process.execPath, [path, ...argv], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      // Ctrl-C of the terminal reaches the demo alone, which then stops its programs in order.
      detached: true,
    })
    this.exited = new Promise((resolve) => this.#process.once('exit', (code) => resolve(code)))
    for (const stream of [this.#process.stdout!, this.#process.stderr!]) {
      createInterface({ input: stream }).on('line', (line) => {
        this.lines.push(line)
        if (this.lines.length > 500) this.lines.shift()
        for (const listener of this.#listeners) listener(line)
      })
    }
    process.once('exit', () => this.#process.kill('SIGKILL'))
  }

  onLine(listener: (line: string) => void): void {
    this.#listeners.add(listener)
  }

  /**
   * Resolves with what `find` returns for a line that was or will be printed.
   *
   * @throws Error with the last lines when the program ends or the time is over before.
   */
  async waitFor<T>(find: (line: string) => T | null, what: string, timeoutMs: number): Promise<T> {
    for (const line of this.lines) {
      const found = find(line)
      if (found !== null) return found
    }
    let onLine: (line: string) => void = () => undefined
    let timer: NodeJS.Timeout | undefined
    try {
      return await new Promise<T>((resolve, reject) => {
        onLine = (line) => {
          const found = find(line)
          if (found !== null) resolve(found)
        }
        this.#listeners.add(onLine)
        const fail = (why: string): void =>
          reject(new Error(`${this.name}: ${why}\n${this.tail()}`))
        timer = setTimeout(() => fail(`no ${what} within ${timeoutMs} ms`), timeoutMs)
        void this.exited.then((code) => fail(`ended with code ${code} before ${what}`))
      })
    } finally {
      clearTimeout(timer)
      this.#listeners.delete(onLine)
    }
  }

  /** The last lines it printed. */
  tail(count = 15): string {
    return this.lines.slice(-count).join('\n')
  }

  /** SIGTERM, and SIGKILL when that takes too long. */
  async stop(): Promise<number | null> {
    if (this.#process.exitCode === null) this.#process.kill('SIGTERM')
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), STOP_TIMEOUT_MS)
    const code = await this.exited
    clearTimeout(timer)
    return code
  }
}
