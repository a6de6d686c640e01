import { BaseError, messageOf } from '../../../src/base/index.ts'

/** One line of `gateway -check`. `unknown` is no failure: nobody tells. */
export interface CheckRow {
  readonly part: string
  readonly state: 'ok' | 'not ok' | 'unknown'
  /** What was found. */
  readonly found: string
  /** What to do; empty when nothing is to be done. */
  readonly cure: string
}

export function ok(part: string, found: string): CheckRow {
  return { part, state: 'ok', found, cure: '' }
}

export function notOk(part: string, found: string, cure: string): CheckRow {
  return { part, state: 'not ok', found, cure }
}

export function unknown(part: string, found: string, cure: string): CheckRow {
  return { part, state: 'unknown', found, cure }
}

/** An error of a room says the cure itself. */
export function failed(part: string, error: unknown): CheckRow {
  if (!(error instanceof BaseError)) return notOk(part, messageOf(error), 'See the message.')
  const sentences = error.message.replace(`[${error.code}] `, '')
  return notOk(part, sentences, `docs/errors.md#${error.code.toLowerCase()}`)
}

/**
 * The table, for people and for grep: state, part, what was found; below it the cure.
 *
 *   ok       Postgres             postgres://user:***@db/gateway, 15.6
 *   not ok   bots: durability     appendonly is no
 *            → CONFIG SET appendonly yes
 */
export function renderRows(rows: readonly CheckRow[]): string {
  const width = Math.max(...rows.map(({ part }) => part.length))
  const lines = rows.flatMap(({ part, state, found, cure }) => [
    `${state.padEnd(8)} ${part.padEnd(width)}  ${found}`,
    ...(cure === '' ? [] : [`         → ${cure}`]),
  ])
  const bad = rows.filter(({ state }) => state === 'not ok').length
  return [...lines, '', bad === 0 ? 'ready to start' : `${bad} not ok`].join('\n')
}
