/**
 * Moves of member_count, which no member event carries. A move counts only with a (session, sequence) above what the
 * guild's row holds, so a replay moves nothing twice. And Discord may tell a thing again under another sequence, so what
 * the rows tell of the member counts as well, where members are kept:
 *
 *   added     moves unless there is a row: who is there may be added again
 *   removed   moves if there is a row; without one only in a list that is not complete: he may have been in it
 *
 * See [Discord Docs/Gateway Events#guild-member-add].
 */
import { charArray, idArray, int4Array, int8Array } from './binary-array.ts'

const UNKNOWN = 0x3f // '?': the database tells
const PRESENT = 0x50 // 'P'
const ABSENT = 0x41 // 'A'
const NO_ROWS = 0x4e // 'N': members are not kept

/**
 * $1 guilds, $2 users, $3 "char"[] of rows before, $4 moves, $5 sequences (0: not a new one), $6 sessions. `between` as `isRow` in
 * tables.ts.
 */
export const MEMBER_COUNTS_SQL = `with moved as (
  select g.id, max(m.sequence) filter (where m.session_id = g.count_session_id) as sequence, sum(case
    when m.session_id <> g.count_session_id or m.sequence <= g.count_sequence then 0
    when m.was = 'N' then m.move
    when case m.was when '?' then t.user_id is not null else m.was = 'P' end then least(m.move, 0)
    when m.move > 0 then 1
    when g.members_complete then 0
    else -1 end) as move
  from unnest($1::int8[], $2::int8[], $3::"char"[], $4::int4[], $5::int8[], $6::text[])
    as m (id, user_id, was, move, sequence, session_id)
  join guilds g on g.id = m.id
  left join members t on m.was = '?' and t.guild_id = m.id and t.user_id between m.user_id and m.user_id
  group by g.id
)
update guilds g
set data = case when jsonb_typeof(g.data->'member_count') = 'number' and moved.move <> 0
      then g.data || jsonb_build_object('member_count', greatest((g.data->>'member_count')::numeric + moved.move, 0))
      else g.data end,
    count_sequence = greatest(g.count_sequence, moved.sequence)
from moved where g.id = moved.id and (moved.move <> 0 or moved.sequence > g.count_sequence)`

const CODES = { present: PRESENT, absent: ABSENT, unknown: UNKNOWN, none: NO_ROWS } as const

interface Member {
  /** 8 characters each. */
  readonly guild: string
  readonly user: string
  /** Whether there is a row, as far as the batch tells; else whether only the database does, or nobody. */
  readonly row: 'present' | 'absent' | 'unknown' | 'none'
}

export class MemberCounts {
  readonly #guilds: string[] = []
  readonly #users: string[] = []
  readonly #were: number[] = []
  readonly #moves: number[] = []
  readonly #sequences: number[] = []
  readonly #sessions: string[] = []
  readonly #shards: number[] = []
  /** Guild → the last move's session and sequence: a replay within the batch is none. */
  readonly #last = new Map<string, { readonly sessionId: string; readonly sequence: number }>()

  get count(): number {
    return this.#guilds.length
  }

  /** @param move +1 or -1 */
  add(member: Member, move: number, shardId: number, sessionId: string, sequence: number): void {
    const { guild, user, row } = member
    const last = this.#last.get(guild)
    const isNew = last?.sessionId !== sessionId || last.sequence < sequence
    if (isNew) this.#last.set(guild, { sessionId, sequence })
    this.#guilds.push(guild)
    this.#users.push(user)
    this.#were.push(CODES[row])
    this.#moves.push(move)
    this.#shards.push(shardId)
    this.#sessions.push(sessionId)
    this.#sequences.push(isNew ? sequence : 0)
  }

  /** Parameters of one statement; all moves of a guild must be in the same one. Null: nothing to do. */
  parameters(lost: ReadonlySet<number>): unknown[] | null {
    const kept: number[] = []
    for (let i = 0; i < this.#shards.length; i++) if (!lost.has(this.#shards[i]!)) kept.push(i)
    if (kept.length === 0) return null
    return [
      idArray(kept.map((i) => this.#guilds[i]!)),
      idArray(kept.map((i) => this.#users[i]!)),
      charArray(this.#were, kept),
      int4Array(kept.map((i) => this.#moves[i]!)),
      int8Array(kept.map((i) => this.#sequences[i]!)),
      kept.map((i) => this.#sessions[i]!),
    ]
  }
}
