/**
 * The changed rows of one table in an open batch, one per key: a later change of the same row is joined
 * with the earlier one, so a row is written once however often it changed.
 *
 *   columns  |id······|guild···|id······|guild···|        8 bytes each, big-endian: binary int8
 *   arena    |term of row 0|term of row 1|(replaced)|…    objects as ETF, turned into JSON when they leave
 *
 *   then →      PUT      MERGE          PATCH          DELETE
 *   PUT         PUT      PUT merged     PUT merged     DELETE
 *   MERGE       PUT      MERGE merged   MERGE merged   DELETE
 *   PATCH       PUT      MERGE merged   PATCH merged   DELETE
 *   DELETE      PUT      PUT            DELETE         DELETE
 */
import { ByteBuffer, mergeMaps, termToJson } from '../etf/index.ts'
import type { ArenaPool } from './arena-pool.ts'
import { charArray, int8Column, JsonbArray } from './binary-array.ts'
import { DELETE, MERGE, PATCH, PUT, type RowChange, type Table } from './tables.ts'

/** Below this, replaced objects are not worth the copy. */
const COMPACT_BYTES = 1024 * 1024
/** Map entry, key string and array slots of a row, about. */
const ROW_BYTES = 160

export class RowSet {
  readonly table: Table
  readonly #isKept: boolean
  /** Objects as terms without version byte; write one here, then call `set` with its start. */
  arena: ByteBuffer
  #liveBytes = 0
  readonly #stride: number
  readonly #columns: ByteBuffer
  readonly #rows = new Map<string, number>()
  readonly #keys: string[] = []
  readonly #changes: RowChange[] = []
  readonly #starts: number[] = []
  readonly #ends: number[] = []
  readonly #shards: number[] = []
  readonly #sequences: number[] = []
  readonly #texts: string[] = []

  /** @param isKept  false: whatever is set is forgotten. */
  constructor(table: Table, isKept: boolean, arenas: ArenaPool) {
    this.table = table
    this.#isKept = isKept
    this.arena = arenas.take()
    this.#columns = arenas.take()
    this.#stride = table.columns.length * 8
  }

  /** Gives its memory back; of no use afterwards. */
  release(arenas: ArenaPool): void {
    arenas.give(this.arena)
    arenas.give(this.#columns)
  }

  get count(): number {
    return this.#keys.length
  }

  /** Memory held, about. */
  get byteCount(): number {
    return this.arena.length + this.#keys.length * ROW_BYTES
  }

  /**
   * Adds one change.
   *
   * @param ids    the table's columns, 8 bytes each, at the beginning of the buffer.
   * @param start  where the object begins in the arena; it ends at the arena's length. Ignored for DELETE.
   * @param shardId, sequence  where it came from: for the fence, and for the gap's line if it cannot be written.
   * @param text   the table's text column, if it has one.
   */
  set(
    ids: Buffer,
    change: RowChange,
    start: number,
    shardId: number,
    sequence: number,
    text = '',
  ): void {
    if (!this.#isKept) {
      this.arena.length = 0
      return
    }
    const key = ids.toString('latin1', 0, this.table.keyCount * 8)
    const end = change === DELETE ? start : this.arena.length
    const row = this.#rows.get(key)
    if (row === undefined) {
      this.#rows.set(key, this.#keys.length)
      this.#keys.push(key)
      this.#changes.push(change)
      this.#starts.push(start)
      this.#ends.push(end)
      this.#shards.push(shardId)
      this.#sequences.push(sequence)
      this.#texts.push(text)
      this.#columns.writeBytes(ids, 0, this.#stride)
      this.#liveBytes += end - start
      return
    }
    const bytesBefore = this.#ends[row]! - this.#starts[row]!
    this.#join(row, ids, change, start, end, text)
    this.#liveBytes += this.#ends[row]! - this.#starts[row]! - bytesBefore
    if (this.arena.length > COMPACT_BYTES && this.arena.length > this.#liveBytes * 2) {
      this.#compact()
    }
    this.#shards[row] = shardId
    this.#sequences[row] = sequence
  }

  /** What happens to a row so far. @param ids as `set` has it */
  changeOf(ids: Buffer): RowChange | undefined {
    const row = this.#rows.get(ids.toString('latin1', 0, this.table.keyCount * 8))
    return row === undefined ? undefined : this.#changes[row]
  }

  /**
   * Keys of the rows that were put: what a list leaves in the table. A row that is only merged was not
   * in the list: what is stored of it goes first, so that it begins anew.
   */
  putKeys(lost: ReadonlySet<number>): string[] {
    const keys: string[] = []
    for (let row = 0; row < this.#keys.length; row++) {
      if (this.#changes[row] !== PUT || lost.has(this.#shards[row]!)) continue
      keys.push(this.#keys[row]!)
    }
    return keys
  }

  /** Row numbers in the order of their keys, without those of lost shards. */
  order(lost: ReadonlySet<number>): number[] {
    const keys = this.#keys
    const order: number[] = []
    for (let row = 0; row < keys.length; row++) {
      if (lost.size === 0 || !lost.has(this.#shards[row]!)) order.push(row)
    }
    return order.sort((a, b) => (keys[a]! < keys[b]! ? -1 : 1))
  }

  /** Size of the row's object as a term. */
  bytesOf(row: number): number {
    return this.#ends[row]! - this.#starts[row]!
  }

  shardOf(row: number): number {
    return this.#shards[row]!
  }

  /** Sequence of the last event that changed the row. */
  sequenceOf(row: number): number {
    return this.#sequences[row]!
  }

  /** Parameters of the table's statement for these rows. @param scratch free again afterwards */
  parameters(order: readonly number[], scratch: ByteBuffer): unknown[] {
    const columns = this.#columns.bytes
    const values: unknown[] = [charArray(this.#changes, order)]
    for (let column = 0; column < this.table.columns.length; column++) {
      values.push(int8Column(columns, this.#stride, column * 8, order))
    }
    const data = new JsonbArray(scratch)
    const { bytes } = this.arena
    for (const row of order) {
      if (this.#changes[row] === DELETE) data.addNull()
      else {
        data.begin()
        termToJson(bytes, this.#starts[row]!, this.#ends[row]!, scratch, NUL_DROPPED)
        data.end()
      }
    }
    values.push(data.finish())
    if (this.table.hasText) values.push(order.map((row) => this.#texts[row]))
    return values
  }

  #join(
    row: number,
    ids: Buffer,
    change: RowChange,
    start: number,
    end: number,
    text: string,
  ): void {
    const before = this.#changes[row]!
    if (before === DELETE && change === PATCH) return
    const replaces = change === PUT || change === DELETE || before === DELETE
    if (replaces) {
      this.#changes[row] = before === DELETE && change === MERGE ? PUT : change
      this.#starts[row] = start
      this.#ends[row] = end
      this.#texts[row] = text
      this.#columns.bytes.set(ids.subarray(0, this.#stride), row * this.#stride)
      return
    }
    // A merged object keeps the columns and the text of the row that was put.
    const mergedStart = this.arena.length
    const { bytes } = this.arena
    mergeMaps(bytes, this.#starts[row]!, this.#ends[row]!, bytes, start, end, this.arena)
    this.#changes[row] = before === PATCH ? change : before
    this.#starts[row] = mergedStart
    this.#ends[row] = this.arena.length
    if (before === PATCH && change === MERGE) {
      this.#columns.bytes.set(ids.subarray(0, this.#stride), row * this.#stride)
    }
  }

  /** Leaves the replaced objects behind, so that an outage costs memory by rows and not by events. */
  #compact(): void {
    const compacted = new ByteBuffer(this.#liveBytes)
    for (let row = 0; row < this.#keys.length; row++) {
      const start = compacted.length
      compacted.writeBytes(this.arena.bytes, this.#starts[row], this.#ends[row])
      this.#starts[row] = start
      this.#ends[row] = compacted.length
    }
    this.arena = compacted
  }
}

/** jsonb holds no NUL: Postgres refuses \u0000 in text. */
const NUL_DROPPED = { nul: 'drop' } as const
