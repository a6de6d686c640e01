/** What every program of this package does the same way. */
import { existsSync, readFileSync } from 'node:fs'

/** From package.json, which lies beside cmd in a clone and beside dist in an installed program. */
export function programVersion(): string {
  for (const path of ['../package.json', '../../package.json']) {
    const url = new URL(path, import.meta.url)
    if (existsSync(url)) {
      return (JSON.parse(readFileSync(url, 'utf8')) as { version: string }).version
    }
  }
  return 'unknown'
}

/**
 * Calls `stop` once on an error that nobody caught (a rejection too), then ends the process with 1: its
 * state cannot be trusted, but what was read may still be flushed and saved.
 */
export function stopOnDefect(stop: (error: unknown) => Promise<void>): void {
  let isStopping = false
  process.on('uncaughtException', (error: unknown) => {
    if (isStopping) return
    isStopping = true
    process.exitCode = 1
    endAnyway()
    stop(error).then(
      () => process.exit(1),
      () => process.exit(1),
    )
  })
}

/** However a stop hangs, the process ends. */
function endAnyway(): void {
  setTimeout(() => {
    process.stderr.write(`not stopped within ${STOP_MS_MAX} ms, ending anyway\n`)
    process.exit(1)
  }, STOP_MS_MAX).unref()
}

/** What supervisors wait for before they kill. */
const STOP_MS_MAX = 9800

/** The sentence on standard error, and exit code 1 once the loop has ended. */
export function failProgram(sentence: string): void {
  process.stderr.write(`${sentence}\n`)
  process.exitCode = 1
}

/**
 * Calls `stop` on the first SIGTERM or SIGINT; the process ends when it resolves, or at once on a second
 * signal.
 */
export function stopOnSignal(stop: (signal: NodeJS.Signals) => Promise<void>): void {
  let isStopping = false
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (isStopping) process.exit(1)
      isStopping = true
      endAnyway()
      stop(signal).then(
        () => process.exit(process.exitCode ?? 0),
        (error: unknown) => {
          process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
          process.exit(1)
        },
      )
    })
  }
}
