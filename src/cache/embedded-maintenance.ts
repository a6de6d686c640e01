/**
 * What a Postgres server does beside the queries and PGlite, which has one process, does not: checkpoints,
 * without which the log grows and a start after a crash takes ever longer, and vacuum.
 */
import { messageOf, type Timer } from '../base/index.ts'
import type { DatabaseDeps, Queryable } from './database.ts'

const INTERVAL_MS = 60_000
/** Every so many intervals dead rows are removed; about as long as a second of writing takes them. */
const INTERVALS_PER_VACUUM = 10

export class EmbeddedMaintenance {
  readonly #queryable: Queryable
  readonly #deps: DatabaseDeps
  #timer: Timer | undefined
  #intervals = 0
  #isStopped = false
  #position = ''

  constructor(queryable: Queryable, deps: DatabaseDeps) {
    this.#queryable = queryable
    this.#deps = deps
    this.#arm()
  }

  stop(): void {
    this.#isStopped = true
    this.#deps.clock.clearTimeout(this.#timer)
  }

  #arm(): void {
    if (this.#isStopped) return
    this.#timer = this.#deps.clock.setTimeout(() => {
      this.#run()
        .catch((error: unknown) => {
          if (this.#isStopped) return
          this.#deps.log.warn('embedded database maintenance failed', { error: messageOf(error) })
        })
        .finally(() => this.#arm())
    }, INTERVAL_MS)
  }

  async #run(): Promise<void> {
    const [row] = await this.#queryable.query<{ position: string }>(
      'select pg_current_wal_insert_lsn()::text as position',
    )
    const position = row?.position ?? ''
    // Nothing was written since.
    if (position === this.#position) return
    this.#intervals++
    if (this.#intervals % INTERVALS_PER_VACUUM === 0)
      await this.#queryable.query('vacuum (analyze)')
    await this.#queryable.query('checkpoint')
    const [after] = await this.#queryable.query<{ position: string }>(
      'select pg_current_wal_insert_lsn()::text as position',
    )
    this.#position = after?.position ?? ''
  }
}
