/**
 * Changes of durable membership in one stage, one per guild.
 *
 *   PUT    state with the event that made it so: a join, or the announcement of one
 *   KEEP   state alone: the guild is shown again, or hidden by an outage; the event of the join stays
 *   DELETE the bot was removed
 */
import { charArray, idArray, int8Array } from './binary-array.ts'
import type { MembershipRow } from './guild-membership.ts'

const PUT = 0x50 // 'P'
const KEEP = 0x4b // 'K'
const DELETE = 0x44 // 'D'

/** $1 "char"[] of changes, $2 guilds, $3 states, $4 sessions, $5 sequences. */
export const MEMBERSHIP_SQL = `merge into guilds_persistent t
using unnest($1::"char"[], $2::int8[], $3::text[], $4::text[], $5::int8[]) as i (op, id, state, session_id, sequence)
on t.id = i.id
when matched and i.op = 'D' then delete
when matched and i.op = 'P' and (t.state, t.session_id, t.sequence) is distinct from (i.state, i.session_id, i.sequence)
  then update set state = i.state, session_id = i.session_id, sequence = i.sequence,
    since = case when t.state = i.state then t.since else now() end
when matched and i.op = 'K' and t.state <> i.state then update set state = i.state, since = now()
when not matched and i.op <> 'D' then insert (id, state, session_id, sequence) values (i.id, i.state, i.session_id, i.sequence)`

interface Change {
  op: typeof PUT | typeof KEEP | typeof DELETE
  state: MembershipRow['state']
  sessionId: string
  sequence: number
  shardId: number
}

export class MembershipChanges {
  readonly #changes = new Map<string, Change>()

  get count(): number {
    return this.#changes.size
  }

  /** @param guild 8 characters */
  put(
    guild: string,
    state: MembershipRow['state'],
    shardId: number,
    sessionId: string,
    sequence: number,
  ): void {
    this.#changes.set(guild, { op: PUT, state, sessionId, sequence, shardId })
  }

  keep(guild: string, state: MembershipRow['state'], shardId: number): void {
    const before = this.#changes.get(guild)
    if (before === undefined) {
      this.#changes.set(guild, { op: KEEP, state, sessionId: '', sequence: 0, shardId })
    } else if (before.op === DELETE) {
      this.#changes.set(guild, { op: PUT, state, sessionId: '', sequence: 0, shardId })
    } else {
      before.state = state
    }
  }

  delete(guild: string, shardId: number): void {
    this.#changes.set(guild, { op: DELETE, state: 'present', sessionId: '', sequence: 0, shardId })
  }

  /** Parameters of MEMBERSHIP_SQL in ascending order of guilds; null: nothing to do. */
  parameters(lost: ReadonlySet<number>): unknown[] | null {
    const entries = [...this.#changes].filter(([, change]) => !lost.has(change.shardId))
    if (entries.length === 0) return null
    entries.sort(([a], [b]) => (a < b ? -1 : 1))
    const changes = entries.map(([, change]) => change)
    return [
      charArray(
        changes.map((change) => change.op),
        changes.map((_, index) => index),
      ),
      idArray(entries.map(([guild]) => guild)),
      changes.map((change) => change.state),
      changes.map((change) => change.sessionId),
      int8Array(changes.map((change) => change.sequence)),
    ]
  }
}
