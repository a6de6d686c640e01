/** What a row takes on the disk beside its payload, about. */
export const ROW_BYTES = 100

/**
 * Events on their way between a queue and its spill, as columns: typed arrays and one block of bytes cross
 * to the thread of the disk without an object per event.
 */
export interface SpillRows {
  /** Ascending over the life of a file. */
  readonly ids: Float64Array
  readonly names: readonly string[]
  readonly channels: Int32Array
  readonly shards: Int32Array
  readonly sessions: readonly string[]
  readonly sequences: Float64Array
  readonly receivedAtMs: Float64Array
  readonly lengths: Int32Array
  /** The payloads, one behind the other. */
  readonly bytes: Uint8Array
}

/** An event that the spill had to drop: its bound was reached. */
export interface SpillDrop {
  readonly eventName: string
  readonly shardId: number
  readonly sessionId: string
  readonly sequence: number
}

/** What one shard and session still has in a spill. */
export interface SpillRange {
  readonly shardId: number
  readonly sessionId: string
  readonly from: number
  readonly to: number
  readonly events: number
}

export interface SpillOpened {
  /** Where it lies. */
  readonly path: string
  /** What an earlier process left. */
  readonly events: number
  readonly bytes: number
  /** The highest id in use, 0 for none. */
  readonly lastId: number
  readonly ranges: readonly SpillRange[]
  /** Names the file for its life, wherever it lies. */
  readonly spillId: string
  /** It was made by this opening. */
  readonly isNew: boolean
  /** Ids of files whose events were moved into this one. */
  readonly takenOver: readonly string[]
  /** Files that were left alone, with the reason, and damaged ones that were moved aside. */
  readonly warnings: readonly { readonly path: string; readonly cause: string }[]
}

export type SpillRequest =
  | {
      readonly kind: 'open'
      readonly folder: string
      readonly name: string
      readonly form: string
      readonly bytesMax: number
    }
  /** Rows up to `keptTo` are with the queue as well: they are not read. */
  | { readonly kind: 'write'; readonly rows: SpillRows; readonly keptTo: number }
  | { readonly kind: 'read'; readonly eventsMax: number; readonly bytesMax: number }
  | { readonly kind: 'remove'; readonly ids: Float64Array }
  /** @param keepsFile also when nothing lies in it. */
  | { readonly kind: 'close'; readonly keepsFile: boolean }

export interface SpillAnswers {
  readonly open: SpillOpened
  readonly write: { readonly drops: readonly SpillDrop[]; readonly droppedBytes: number }
  readonly read: SpillRows
  readonly remove: null
  readonly close: null
}
