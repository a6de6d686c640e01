/**
 * The class of each GUILD_CREATE and GUILD_DELETE, replayed from what a shard was sent:
 *
 *   joined       the guild was unknown, or announced as joined
 *   available    it was known
 *   backfill     it was in the first READY that the shard ever had
 *   joining      {unavailable: true} for an unknown guild
 *   unavailable  an outage of a known guild
 *   left         the bot was removed
 */
import { readTerm } from './etf-term.ts'
import { jsonMap, textOf } from './json-form.ts'
import type { Json, JsonMap } from './json-form.ts'
import type { LedgerLine } from './ledger.ts'

export type MembershipState = 'present' | 'joining' | 'unavailable' | 'backfill'

/** A READY that lacks more guilds than this, and more than a fifth of them, is not believed. */
const LEFT_MAX = 10
const LEFT_SHARE_MAX = 0.2

export class Lifecycle {
  /** Guild id → state, of all shards. */
  readonly guilds = new Map<string, MembershipState>()
  readonly #shardOfGuild = new Map<string, number>()
  readonly #filledShards = new Set<number>()

  /**
   * The class of the event, '' where it has none; takes the event into account.
   *
   * @param known what the line's bytes say, if they were read already.
   */
  apply(line: LedgerLine, known?: JsonMap): string {
    if (line.t !== 'READY' && line.t !== 'GUILD_CREATE' && line.t !== 'GUILD_DELETE') return ''
    if (line.d === null) throw new RangeError(`The ledger has no bytes of ${line.t} ${line.s}`)
    const d = known ?? jsonMap(readTerm(line.d))
    if (line.t === 'READY') {
      this.#onReady(line.shard, d)
      return ''
    }
    const id = textOf(d['id'])
    this.#shardOfGuild.set(id, line.shard)
    return line.t === 'GUILD_CREATE' ? this.#onCreate(id, d) : this.#onDelete(id, d)
  }

  /** Guilds that the last READY of their shard no longer had; emptied by the caller's reading. */
  readonly leftByReady: string[] = []

  #onReady(shard: number, d: JsonMap): void {
    const listed = new Set((d['guilds'] as JsonMap[]).map((guild) => textOf(guild['id'])))
    const known = [...this.guilds.keys()].filter((id) => this.#shardOfGuild.get(id) === shard)
    if (!this.#filledShards.has(shard)) {
      this.#filledShards.add(shard)
      for (const id of listed) if (!this.guilds.has(id)) this.#set(id, shard, 'backfill')
    }
    const left = known.filter((id) => !listed.has(id))
    const isDoubtful = left.length > LEFT_MAX && left.length > known.length * LEFT_SHARE_MAX
    for (const id of left) {
      if (isDoubtful) this.guilds.set(id, 'unavailable')
      else {
        this.guilds.delete(id)
        this.leftByReady.push(id)
      }
    }
  }

  #onCreate(id: string, d: JsonMap): string {
    const state = this.guilds.get(id)
    const isNew = state === undefined || state === 'joining'
    if (isTrue(d['unavailable'])) {
      this.guilds.set(id, isNew ? 'joining' : 'unavailable')
      return isNew ? 'joining' : 'unavailable'
    }
    this.guilds.set(id, 'present')
    if (isNew) return 'joined'
    return state === 'backfill' ? 'backfill' : 'available'
  }

  #onDelete(id: string, d: JsonMap): string {
    if (d['unavailable'] === undefined || d['unavailable'] === null) {
      this.guilds.delete(id)
      return 'left'
    }
    const state = this.guilds.get(id)
    const isNew = state === undefined || state === 'joining'
    this.guilds.set(id, isNew ? 'joining' : 'unavailable')
    return isNew ? 'joining' : 'unavailable'
  }

  #set(id: string, shard: number, state: MembershipState): void {
    this.guilds.set(id, state)
    this.#shardOfGuild.set(id, shard)
  }
}

function isTrue(value: Json | undefined): boolean {
  return value === true
}
