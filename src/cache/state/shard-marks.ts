import type { Clock } from '../../base/index.ts'
import { isKindTold, shardOfGuild, type StateKind } from '../../discord/index.ts'
import type { QueryPort } from './merged-lookup.ts'

/** An older mark says less than is true, never more. */
const AGE_MS_MAX = 1000

const SHARD_MARKS = {
  name: 'state_shard_marks',
  text: `select f.shard_count as "shardCount", f.intents, f.cached, s.shard, s.updated_at as "updatedAt"
    from gateway_fleet f left join gateway_sessions s
      on s.name = f.name and s.shard_count = f.shard_count and s.session_id is not null`,
} as const

interface Mark {
  readonly shardCount: number | null
  readonly intents: number | null
  readonly cached: readonly string[] | null
  readonly shard: number | null
  readonly updatedAt: Date | null
}

/** What the fleet's and the shards' rows say of all answers, read at most once a second. */
export class ShardMarks {
  readonly #db: QueryPort
  readonly #clock: Clock
  #read: Promise<readonly Mark[]> | null = null
  #readAt = 0

  constructor(db: QueryPort, clock: Clock) {
    this.#db = db
    this.#clock = clock
  }

  /**
   * The oldest acknowledgement among the shards that feed an answer: the guild's, or all. To be read
   * before the rows. Null while one of them has never acknowledged anything.
   */
  async oldest(guildId: string | null): Promise<Date | null> {
    const marks = await this.#marks()
    const shardCount = marks[0]?.shardCount
    if (typeof shardCount !== 'number') return null
    if (guildId !== null) {
      const shard = shardOfGuild(BigInt(guildId), shardCount)
      return marks.find((mark) => mark.shard === shard)?.updatedAt ?? null
    }
    if (marks.length < shardCount) return null
    let oldest: Date | null = null
    for (const { updatedAt } of marks) {
      if (updatedAt === null) return null
      if (oldest === null || updatedAt < oldest) oldest = updatedAt
    }
    return oldest
  }

  /** Whether rows of the kind are written; true where no gateway said so yet. */
  async isKept(kind: StateKind): Promise<boolean> {
    const marks = await this.#marks()
    return marks[0]?.cached?.includes(kind) ?? true
  }

  /** Whether Discord tells of every change of the kind. */
  async isTold(kind: StateKind): Promise<boolean> {
    const marks = await this.#marks()
    return isKindTold(kind, marks[0]?.intents ?? 0)
  }

  #marks(): Promise<readonly Mark[]> {
    const now = this.#clock.monotonic()
    if (this.#read === null || now - this.#readAt > AGE_MS_MAX) {
      this.#readAt = now
      const read = this.#db.query<Mark>(SHARD_MARKS.text, [], SHARD_MARKS.name)
      this.#read = read
      read.catch(() => {
        if (this.#read === read) this.#read = null
      })
    }
    return this.#read
  }
}
