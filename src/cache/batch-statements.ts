/**
 * A batch as statements, made one by one while the database works on those before, so that no large
 * batch stalls the event loop at once.
 */
import { ByteBuffer } from '../etf/index.ts'
import type { Batch } from './batch.ts'
import { MEMBER_COUNTS_SQL } from './member-counts.ts'
import { MEMBERSHIP_SQL } from './membership-changes.ts'
import { REPLAY_CLASSES_SQL } from './replay-classes.ts'
import type { RowSet } from './row-set.ts'
import type { Stage } from './stage.ts'
import { GUILDS } from './tables.ts'
import { changesAfter, changesBefore, type WideStatement } from './wide-changes.ts'

/** Objects of one statement, as terms: what is turned into JSON at a time, without a pause. */
const BYTES_MAX = 256 * 1024

/** A statement of rows knows them, so that it can be made again for a part of them. */
export interface BatchStatement extends WideStatement {
  readonly rows: RowSet | null
  readonly order: readonly number[]
}

/** A row that cannot be written. */
export interface PoisonRow {
  readonly table: string
  readonly shardId: number
  /** Of the last event that changed it; 0 when it is not known. */
  readonly sequence: number
  readonly cause: unknown
}

export class BatchStatements {
  readonly #rowsPerStatementMax: number
  readonly #scratch = new ByteBuffer(64 * 1024)

  constructor(deps: { readonly rowsPerStatementMax: number }) {
    this.#rowsPerStatementMax = deps.rowsPerStatementMax
  }

  /**
   * @param lost      shards whose rows are left out.
   * @param onPoison  told of each row whose object has no JSON; it is left out.
   */
  *of(
    batch: Batch,
    fleetName: string,
    lost: ReadonlySet<number>,
    onPoison: (row: PoisonRow) => void,
  ): Generator<BatchStatement> {
    for (const stage of batch.stages) {
      for (const change of changesBefore(stage, fleetName, lost)) yield whole(change)
      let isCounted = false
      for (const rows of stage.tables()) {
        if (!isCounted && rows.table !== GUILDS) {
          isCounted = true
          yield* countsOf(stage, lost)
        }
        for (const part of this.#parts(rows, rows.order(lost))) {
          const statement = this.ofRows(rows, part, onPoison)
          if (statement !== null) yield statement
        }
      }
      if (!isCounted) yield* countsOf(stage, lost)
      const membership = stage.membership.parameters(lost)
      if (membership !== null) {
        yield whole({ name: 'gateway_membership', text: MEMBERSHIP_SQL, values: membership })
      }
      const classes = stage.replayClasses.parameters(fleetName, lost)
      if (classes !== null) {
        yield whole({ name: 'gateway_replay_classes', text: REPLAY_CLASSES_SQL, values: classes })
      }
      for (const change of changesAfter(stage, lost)) yield whole(change)
    }
  }

  /** Cuts rows by the bounds of a statement. */
  *#parts(rows: RowSet, order: readonly number[]): Generator<readonly number[]> {
    let from = 0
    let bytes = 0
    for (let index = 0; index < order.length; index++) {
      const rowBytes = rows.bytesOf(order[index]!)
      const isFull = index - from === this.#rowsPerStatementMax || bytes + rowBytes > BYTES_MAX
      if (isFull && index > from) {
        yield order.slice(from, index)
        from = index
        bytes = 0
      }
      bytes += rowBytes
    }
    if (from < order.length) yield order.slice(from)
  }

  /** The statement of some rows of a table; null when none of them can be written. */
  ofRows(
    rows: RowSet,
    order: readonly number[],
    onPoison: (row: PoisonRow) => void,
  ): BatchStatement | null {
    if (order.length === 0) return null
    const base = { name: `gateway_write_${rows.table.name}`, text: rows.table.sql, rows }
    try {
      return { ...base, order, values: rows.parameters(order, this.#scratch) }
    } catch (cause) {
      // A term that JSON cannot say. The others go on without it.
      if (order.length === 1) {
        const row = order[0]!
        onPoison({
          table: rows.table.name,
          shardId: rows.shardOf(row),
          sequence: rows.sequenceOf(row),
          cause,
        })
        return null
      }
      const sound = order.filter((row) => {
        const alone = this.ofRows(rows, [row], onPoison)
        return alone !== null
      })
      return sound.length === 0
        ? null
        : { ...base, order: sound, values: rows.parameters(sound, this.#scratch) }
    }
  }
}

/** Behind the guilds, and before the members, whose rows tell who was there. */
function* countsOf(stage: Stage, lost: ReadonlySet<number>): Generator<BatchStatement> {
  const values = stage.counts.parameters(lost)
  if (values !== null) {
    yield whole({ name: 'gateway_member_counts', text: MEMBER_COUNTS_SQL, values })
  }
}

function whole(change: WideStatement): BatchStatement {
  return { ...change, rows: null, order: [] }
}
