import type { Log, LogFields } from '../base/index.ts'
import pino from 'pino'
import pretty from 'pino-pretty'

export interface LoggerOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  /** JSON lines instead of text. */
  readonly isJson: boolean
  /** File descriptor; standard error by default, so that standard output stays free for data. */
  readonly fd?: number
}

/**
 * The program's log. Writes are synchronous: a line that was logged before a crash is there, and the
 * control plane logs little (at most one line per change of a shard).
 */
export function createLog(options: LoggerOptions): Log {
  const fd = options.fd ?? 2
  const destination = options.isJson
    ? pino.destination({ fd, sync: true })
    : pretty({
        destination: fd,
        sync: true,
        colorize: process.stderr.isTTY === true && process.env.NO_COLOR === undefined,
        translateTime: 'SYS:HH:MM:ss.l',
        ignore: 'pid,hostname',
        singleLine: true,
        // An error is one line already.
        errorLikeObjectKeys: [],
      })
  const logger = pino(
    {
      level: options.level,
      base: null,
      redact: { paths: ['token', '*.token', 'password', '*.password'], censor: '[redacted]' },
      serializers: { error: serializeError },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  )
  return wrap(logger)
}

function wrap(logger: pino.Logger): Log {
  return {
    debug: (message: string, fields: LogFields = {}) => logger.debug(fields, message),
    info: (message: string, fields: LogFields = {}) => logger.info(fields, message),
    warn: (message: string, fields: LogFields = {}) => logger.warn(fields, message),
    error: (message: string, fields: LogFields = {}) => logger.error(fields, message),
    child: (fields: LogFields) => wrap(logger.child(fields)),
  }
}

/** An error as fields: its message (which begins with the code) and causes, without stack on one line. */
function serializeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const causes: string[] = []
  let cause: unknown = error.cause
  while (cause instanceof Error && causes.length < 5) {
    causes.push(cause.message)
    cause = cause.cause
  }
  return causes.length === 0 ? error.message : `${error.message} ← ${causes.join(' ← ')}`
}
