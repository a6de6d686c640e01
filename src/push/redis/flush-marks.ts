import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import { PushError } from '../errors.ts'
import type { EventQueue } from '../event-queue.ts'
import type { PushEvent } from '../ports.ts'

/** How long Redis remembers the last flush of a process: an outage that is longer may repeat that one flush. */
const FLUSH_KEY_SECONDS = 7 * 24 * 3600
const MULTI = Buffer.from('*1\r\n$5\r\nMULTI\r\n')

/** A shard's events in one lane, of one session; numbers are sequences. */
interface Chain {
  readonly shardId: number
  readonly lane: number
  readonly field: string
  readonly sessionId: string
  /** An earlier run has pushed everything up to this one. */
  pushed: number
  /** The highest that this process has pushed. */
  highest: number
  /** The highest in the flush under way, 0 for none. */
  pending: number
  /** The lowest that a refused key keeps waiting. */
  held: number
  isTouched: boolean
}

interface ShardChains {
  readonly sessionId: string
  /** `position - sequence`: another one when the session was taken over (again). */
  readonly base: number
  /** Direct, and after the cache. */
  readonly lanes: readonly [Chain, Chain]
}

/**
 * What -redis-marks keeps in Redis, written with each flush in one transaction:
 *
 *   MULTI  RPUSH key …  RPUSH key …  HSET gateway:v1:marks:<owner> <shard>:<lane> <session>:<sequence> …
 *          SET gateway:v1:flush:<uuid> <number> EX …  EXEC  WATCH gateway:v1:flush:<uuid>
 *
 * A flush takes a lane's events in their order, so what lies at or below the mark of its session is in the lists:
 * whoever resumes the session pushes only what lies above. The flush's number tells, after a broken connection,
 * whether the last flush was carried out; the WATCH keeps one that is still on its way from being carried out
 * after that was asked. See [Redis Docs/Transactions](https://redis.io/docs/latest/develop/using-commands/transactions/).
 */
export class FlushMarks {
  readonly key: string
  readonly #flushKey = `gateway:v1:flush:${randomUUID()}`
  readonly #queue: EventQueue
  readonly #shards: (ShardChains | undefined)[] = []
  readonly #unread = new Set<number>()
  #touched: Chain[] = []
  /** Chains whose mark stands below what was pushed. */
  #behind: Chain[] = []
  #flush = 0
  /** Marks in Redis are to be written again, though nothing may be ready. */
  isDirty = false

  /** @param owner whose sessions these are, and which lists: `<fleet>:<prefix>`. */
  constructor(owner: string, queue: EventQueue) {
    this.key = `gateway:v1:marks:${owner}`
    this.#queue = queue
  }

  /** The marks of some shard must be read before the next flush. */
  get isUnread(): boolean {
    return this.#unread.size > 0
  }

  /** An event was put into the queue. */
  meet({ shardId, sessionId, sequence, position }: PushEvent): void {
    const known = this.#shards[shardId]
    const base = position - sequence
    if (known !== undefined && known.base === base && known.sessionId === sessionId) return
    const lanes = [newChain(shardId, 0, sessionId), newChain(shardId, 1, sessionId)] as const
    this.#shards[shardId] = { sessionId, base, lanes }
    this.#unread.add(shardId)
  }

  /** Reads the marks of the shards that were met. Rejects as the client does. */
  async read(client: Redis): Promise<void> {
    const shards = [...this.#unread].map((shardId) => ({ shardId, chains: this.#shards[shardId]! }))
    const chains = shards.flatMap((shard) => shard.chains.lanes)
    const values = await client.hmget(this.key, ...chains.map(({ field }) => field))
    for (const [index, chain] of chains.entries()) {
      chain.pushed = sequenceIn(values[index] ?? '', chain.sessionId)
      chain.highest = Math.max(chain.highest, chain.pushed)
    }
    for (const shard of shards) {
      if (this.#shards[shard.shardId] === shard.chains) this.#unread.delete(shard.shardId)
    }
  }

  /** A flush is about to be chosen. */
  begin(): void {
    this.#untouch()
    for (const chain of this.#behind) {
      // The field may belong to a later session by now.
      if (this.#shards[chain.shardId]?.lanes[chain.lane] === chain) this.#touch(chain)
    }
    this.#behind = []
  }

  /** @returns whether an earlier run has pushed the event; else it moves the mark. */
  take(slot: number): boolean {
    const chain = this.#chainOf(slot)
    if (chain === undefined) return false
    const sequence = this.#queue.sequenceOf(slot)
    if (sequence <= chain.pushed) return true
    this.#touch(chain)
    chain.pending = Math.max(chain.pending, sequence)
    return false
  }

  /** The event waits in a key that Redis refuses, while others of its lane may leave: the mark stays below it. */
  hold(slot: number): void {
    const chain = this.#chainOf(slot)
    const sequence = this.#queue.sequenceOf(slot)
    if (chain === undefined || sequence <= chain.pushed) return
    this.#touch(chain)
    chain.held = Math.min(chain.held, sequence)
  }

  get head(): Buffer {
    return MULTI
  }

  /** What stands behind the commands of the keys, with the number of the flush. */
  tail(): Buffer {
    const flushKey = this.#flushKey
    const commands = [
      ['SET', flushKey, String(++this.#flush), 'EX', String(FLUSH_KEY_SECONDS)],
      ['EXEC'],
      ['WATCH', flushKey],
    ]
    if (this.#touched.length > 0) {
      commands.unshift([
        'HSET',
        this.key,
        ...this.#touched.flatMap((chain) => [chain.field, `${chain.sessionId}:${markOf(chain)}`]),
      ])
    }
    return Buffer.from(commands.map(commandText).join(''))
  }

  /** Replies to head and tail: before and with EXEC, and to the WATCH. */
  get tailReplies(): number {
    return this.#touched.length > 0 ? 4 : 3
  }

  /** The flush was carried out. @param isRefused some key of it was refused nevertheless. */
  accepted(isRefused: boolean): void {
    for (const chain of this.#touched) {
      chain.highest = Math.max(chain.highest, chain.pending)
      if (chain.held < Number.POSITIVE_INFINITY) this.#behind.push(chain)
    }
    this.isDirty = isRefused
  }

  /** Nothing of the flush was carried out. */
  refused(): void {
    this.#behind = [...this.#touched]
  }

  /** The keys that keep something back may be fewer now. */
  onKeyAccepted(): void {
    this.isDirty ||= this.#behind.length > 0
  }

  /** @throws PushError PUSH_MARKS_CLUSTER: marks and lists would lie on different nodes. */
  async refuseCluster(client: Redis, address: string): Promise<void> {
    const info = await client.info('cluster').catch(() => '')
    if (!/^cluster_enabled:1/m.test(info)) return
    throw new PushError(
      'PUSH_MARKS_CLUSTER',
      `Redis at ${address} is a Redis Cluster: -redis-marks needs its marks and its lists on one server. Give a single Redis, or leave -redis-marks away.`,
      { address },
    )
  }

  /**
   * From now on nothing that was sent on an earlier connection is carried out any more.
   *
   * @returns whether the last flush was.
   */
  async fence(client: Redis): Promise<boolean> {
    if (this.#flush === 0) {
      await client.watch(this.#flushKey)
      return false
    }
    for (;;) {
      await client.watch(this.#flushKey)
      const last = await client.get(this.#flushKey)
      // The same value again: it ends the WATCH of the earlier connection, and is still there when the answer is lost.
      const done = await client
        .multi()
        .set(this.#flushKey, last ?? '', 'EX', FLUSH_KEY_SECONDS)
        .exec()
      // The earlier connection was faster.
      if (done === null) continue
      await client.watch(this.#flushKey)
      return last === String(this.#flush)
    }
  }

  /** Which of the keys hold something that is no list. */
  async othersAmong(client: Redis, keys: readonly string[]): Promise<ReadonlySet<string>> {
    const types = await Promise.all(keys.map((key) => client.type(key)))
    return new Set(keys.filter((_, index) => types[index] !== 'list' && types[index] !== 'none'))
  }

  /** None for what comes from the disk, which is accepted already, or of an earlier session, which nobody resumes. */
  #chainOf(slot: number): Chain | undefined {
    const queue = this.#queue
    if (queue.isSaved(slot)) return undefined
    const shard = this.#shards[queue.shardOf(slot)]
    if (shard?.sessionId !== queue.sessionOf(slot)) return undefined
    return shard.lanes[queue.laneOf(slot)]
  }

  #touch(chain: Chain): void {
    if (chain.isTouched) return
    chain.isTouched = true
    this.#touched.push(chain)
  }

  #untouch(): void {
    for (const chain of this.#touched) {
      chain.isTouched = false
      chain.pending = 0
      chain.held = Number.POSITIVE_INFINITY
    }
    this.#touched = []
  }
}

function newChain(shardId: number, lane: number, sessionId: string): Chain {
  return {
    shardId,
    lane,
    field: `${shardId}:${lane}`,
    sessionId,
    pushed: 0,
    highest: 0,
    pending: 0,
    held: Number.POSITIVE_INFINITY,
    isTouched: false,
  }
}

function markOf({ highest, pending, held }: Chain): number {
  return Math.min(Math.max(highest, pending), held - 1)
}

/** The sequence of a mark of this session, else 0. */
function sequenceIn(value: string, sessionId: string): number {
  const end = value.lastIndexOf(':')
  if (end === -1 || value.slice(0, end) !== sessionId) return 0
  const sequence = Number(value.slice(end + 1))
  return Number.isSafeInteger(sequence) ? sequence : 0
}

function commandText(args: readonly string[]): string {
  const bulks = args.map((arg) => `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`)
  return `*${args.length}\r\n${bulks.join('')}`
}
