import type { SpillOpened, SpillRange } from './spill-rows.ts'

/** How far `from` of a range may lie below the oldest event that is still held. */
const BUCKET_EVENTS = 1024

/** Events of neighbouring sequences. */
interface Bucket {
  from: number
  to: number
  events: number
}

interface SessionEvents {
  readonly shardId: number
  readonly sessionId: string
  /** Ascending, none reaches into the next. */
  readonly buckets: Bucket[]
}

/** What lies in one spill and is not delivered, as numbers per shard and session. */
export class SpillContents {
  readonly spillId: string
  readonly destination: string
  /** Spills whose events were moved into this one. */
  readonly takenOver: readonly string[]
  /** Counts the changes. */
  version = 0
  readonly #byShard = new Map<number, SessionEvents[]>()

  constructor(destination: string, { spillId, takenOver, ranges }: SpillOpened) {
    this.spillId = spillId
    this.destination = destination
    this.takenOver = takenOver
    for (const { shardId, sessionId, from, to, events } of ranges) {
      this.#at(shardId, sessionId).buckets.push({ from, to, events })
    }
  }

  add(shardId: number, sessionId: string, sequence: number): void {
    this.version++
    const { buckets } = this.#at(shardId, sessionId)
    let index = buckets.length - 1
    while (index > 0 && buckets[index]!.from > sequence) index--
    const bucket = buckets[index]
    const isNew =
      bucket === undefined ||
      (bucket.events >= BUCKET_EVENTS && sequence > bucket.to && index === buckets.length - 1)
    if (isNew) {
      buckets.push({ from: sequence, to: sequence, events: 1 })
    } else {
      bucket.from = Math.min(bucket.from, sequence)
      bucket.to = Math.max(bucket.to, sequence)
      bucket.events++
    }
  }

  /** Delivered, or dropped and counted. What is not known is ignored. */
  remove(shardId: number, sessionId: string, sequence: number): void {
    const sessions = this.#byShard.get(shardId)
    const at = sessions?.findIndex((one) => one.sessionId === sessionId) ?? -1
    if (sessions === undefined || at === -1) return
    this.version++
    const { buckets } = sessions[at]!
    let index = 0
    while (index + 1 < buckets.length && buckets[index + 1]!.from <= sequence) index++
    if (--buckets[index]!.events > 0) return
    buckets.splice(index, 1)
    if (buckets.length > 0) return
    sessions.splice(at, 1)
    if (sessions.length === 0) this.#byShard.delete(shardId)
  }

  clear(): void {
    this.version++
    this.#byShard.clear()
  }

  ranges(): SpillRange[] {
    return [...this.#byShard.values()].flat().map(({ shardId, sessionId, buckets }) => ({
      shardId,
      sessionId,
      from: buckets[0]!.from,
      to: buckets.at(-1)!.to,
      events: buckets.reduce((sum, bucket) => sum + bucket.events, 0),
    }))
  }

  #at(shardId: number, sessionId: string): SessionEvents {
    let sessions = this.#byShard.get(shardId)
    if (sessions === undefined) this.#byShard.set(shardId, (sessions = []))
    let session = sessions.find((one) => one.sessionId === sessionId)
    if (session === undefined) sessions.push((session = { shardId, sessionId, buckets: [] }))
    return session
  }
}
