import type { Log, LogFields } from '../base/index.ts'

/** Warnings and errors on standard error, one line each: what a consumer says when it was given no log. */
export const consoleLog: Log = logWith({})

function logWith(bound: LogFields): Log {
  const write = (level: string, message: string, fields: LogFields = {}): void => {
    process.stderr.write(`${level} ${message} ${JSON.stringify({ ...bound, ...fields })}\n`)
  }
  return {
    debug: () => undefined,
    info: () => undefined,
    warn: (message, fields) => write('warn', message, fields),
    error: (message, fields) => write('error', message, fields),
    child: (fields) => logWith({ ...bound, ...fields }),
  }
}
