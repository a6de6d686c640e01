/** The last lines of the log, for the dashboard: without what is long or could be secret. */
import type { Clock, Log, LogFields } from '../base/index.ts'

export interface RecentLine {
  readonly atMs: number
  readonly level: 'info' | 'warn' | 'error'
  readonly message: string
  readonly shardId: number | null
  /** `cause=queue_full destination=redis` */
  readonly fields: string
}

/** Fields that are short words and numbers of our own. */
const SHOWN = [
  'cause',
  'why',
  'by',
  'destination',
  'closeCode',
  'state',
  'to',
  'from',
  'events',
  'guilds',
  'worker',
  'step',
] as const
const FIELD_CHARS_MAX = 60

/** A log that also keeps its last lines. @returns the lines oldest first */
export function keepRecent(
  log: Log,
  clock: Clock,
  linesMax: number,
): { readonly log: Log; readonly recent: () => readonly RecentLine[] } {
  const lines: RecentLine[] = []
  const keep = (level: RecentLine['level'], message: string, fields: LogFields): void => {
    const { shardId } = fields
    lines.push({
      atMs: clock.now(),
      level,
      message,
      shardId: typeof shardId === 'number' ? shardId : null,
      fields: SHOWN.flatMap((name) => {
        const value = fields[name]
        const isShown = typeof value === 'number' || typeof value === 'string'
        return isShown ? [`${name}=${String(value).slice(0, FIELD_CHARS_MAX)}`] : []
      }).join(' '),
    })
    if (lines.length > linesMax) lines.shift()
  }
  const wrap = (inner: Log, own: LogFields): Log => ({
    debug: (message, fields) => inner.debug(message, fields),
    info(message, fields) {
      keep('info', message, { ...own, ...fields })
      inner.info(message, fields)
    },
    warn(message, fields) {
      keep('warn', message, { ...own, ...fields })
      inner.warn(message, fields)
    },
    error(message, fields) {
      keep('error', message, { ...own, ...fields })
      inner.error(message, fields)
    },
    child: (fields) => wrap(inner.child(fields), { ...own, ...fields }),
  })
  return { log: wrap(log, {}), recent: () => lines }
}
