/**
 * Moves of member_count, which no member event carries. A move counts only with a sequence above the one
 * that the guild's row holds of the same session, so a replay moves nothing twice, and the order towards
 * the rows of the same stage does not matter.
 */
import { idArray, int4Array, int8Array } from './binary-array.ts'

export const MEMBER_COUNTS_SQL = `with moved as (
  select g.id, sum(m.move) as move, max(m.sequence) as sequence
  from unnest($1::int8[], $2::int4[], $3::int8[], $4::text[]) as m (id, move, sequence, session_id)
  join guilds g on g.id = m.id and g.count_session_id = m.session_id and g.count_sequence < m.sequence
  group by g.id
)
update guilds g
set data = case when jsonb_typeof(g.data->'member_count') = 'number'
      then g.data || jsonb_build_object('member_count', (g.data->>'member_count')::numeric + moved.move)
      else g.data end,
    count_sequence = moved.sequence
from moved where g.id = moved.id`

export class MemberCounts {
  readonly #guilds: string[] = []
  readonly #moves: number[] = []
  readonly #sequences: number[] = []
  readonly #sessions: string[] = []
  readonly #shards: number[] = []

  get count(): number {
    return this.#guilds.length
  }

  /** @param guild 8 characters @param move +1 or -1 */
  add(guild: string, move: number, shardId: number, sessionId: string, sequence: number): void {
    this.#guilds.push(guild)
    this.#moves.push(move)
    this.#shards.push(shardId)
    this.#sessions.push(sessionId)
    this.#sequences.push(sequence)
  }

  /** Parameters of one statement; all moves of a guild must be in the same one. Null: nothing to do. */
  parameters(lost: ReadonlySet<number>): unknown[] | null {
    const kept: number[] = []
    for (let i = 0; i < this.#shards.length; i++) if (!lost.has(this.#shards[i]!)) kept.push(i)
    if (kept.length === 0) return null
    return [
      idArray(kept.map((i) => this.#guilds[i]!)),
      int4Array(kept.map((i) => this.#moves[i]!)),
      int8Array(kept.map((i) => this.#sequences[i]!)),
      kept.map((i) => this.#sessions[i]!),
    ]
  }
}
