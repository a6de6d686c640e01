import type { Database } from './database.ts'
import type { Fleet } from './fleet.ts'

/** What a worker said last of one shard and session in one of its spills. */
export interface SpillRow {
  readonly spillId: string
  readonly worker: string
  readonly destination: string
  readonly shardId: number
  readonly sessionId: string
  /** Within from and to there are so many events. */
  readonly from: number
  readonly to: number
  readonly events: number
  readonly updatedAt: Date
}

/** bigint comes as text. */
interface Row extends Omit<SpillRow, 'from' | 'to' | 'events'> {
  readonly from: string
  readonly to: string
  readonly events: string
}

const COLUMNS = `spill_id as "spillId", worker, destination, shard as "shardId", session_id as "sessionId",
  first_sequence as "from", last_sequence as "to", events, updated_at as "updatedAt"`

/** What lies in the spills of a fleet, as session-store.ts saves it with the acknowledged sequences. */
export class SpillStore {
  readonly #database: Database
  readonly #fleet: Fleet

  constructor(deps: { readonly database: Database; readonly fleet: Fleet }) {
    this.#database = deps.database
    this.#fleet = deps.fleet
  }

  async all(): Promise<SpillRow[]> {
    const rows = await this.#database.query<Row>(
      `select ${COLUMNS} from gateway_spills where name = $1 order by worker, spill_id, shard, session_id`,
      [this.#fleet.name],
    )
    return rows.map(rowOf)
  }

  /** Forgets what lay in a spill. @returns it; each row is given to one caller only. */
  async take(spillId: string): Promise<SpillRow[]> {
    const rows = await this.#database.query<Row>(
      `delete from gateway_spills where name = $1 and spill_id::text = $2 returning ${COLUMNS}`,
      [this.#fleet.name, spillId],
    )
    return rows.map(rowOf).sort((a, b) => a.shardId - b.shardId)
  }
}

function rowOf({ from, to, events, ...row }: Row): SpillRow {
  return { ...row, from: Number(from), to: Number(to), events: Number(events) }
}
