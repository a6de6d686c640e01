/**
 * Members, presences, voice states and bans. A member's object has its user inside; a user has no row.
 * See [Discord Docs/Gateway Events] for the shapes; which of them are partial: protocol notes beside each.
 */
import { FieldReader, integerAt, isNil, ListReader, textAt } from '../etf/index.ts'
import type { Batch } from './batch.ts'
import type { CacheEvent, EventHandler } from './cache-event.ts'
import { Ids } from './ids.ts'
import { MemberLists } from './member-lists.ts'
import { writeObject, writeWhole } from './objects.ts'
import type { RowSet } from './row-set.ts'
import {
  BANS,
  DELETE,
  MEMBERS,
  MERGE,
  PRESENCE,
  PUT,
  type RowChange,
  VOICE_STATES,
} from './tables.ts'

/** A row knows its guild; the lists of GUILD_CREATE and of chunks do not repeat it either. */
const WITHOUT_GUILD = { drop: ['guild_id'] } as const
const WITHOUT_GUILD_AND_MEMBER = { drop: ['guild_id', 'member'] } as const

export class MemberEvents {
  readonly #ids = new Ids()
  readonly #member = new FieldReader(['guild_id', 'user.id'])
  readonly #presence = new FieldReader(['guild_id', 'user.id', 'status'])
  readonly #voice = new FieldReader(['guild_id', 'user_id', 'channel_id'])
  readonly #chunk = new FieldReader([
    'guild_id',
    'members',
    'presences',
    'nonce',
    'chunk_index',
    'chunk_count',
  ])
  readonly #list = new ListReader()
  readonly #lists = new MemberLists()
  readonly #isWholeList: (nonce: string) => boolean

  /** @param isWholeList  whether chunks with this nonce are all members of their guild. */
  constructor(isWholeList: (nonce: string) => boolean) {
    this.#isWholeList = isWholeList
  }

  handlers(): readonly (readonly [string, EventHandler])[] {
    return [
      ['GUILD_MEMBER_ADD', (event, batch) => this.#onMember(event, batch, PUT, +1)],
      // Partial: nick, premium_since, deaf, mute, pending and more may be missing.
      ['GUILD_MEMBER_UPDATE', (event, batch) => this.#onMember(event, batch, MERGE, 0)],
      ['GUILD_MEMBER_REMOVE', (event, batch) => this.#onMemberRemove(event, batch)],
      ['GUILD_MEMBERS_CHUNK', (event, batch) => this.#onChunk(event, batch)],
      ['PRESENCE_UPDATE', (event, batch) => this.#onPresence(event, batch)],
      ['VOICE_STATE_UPDATE', (event, batch) => this.#onVoiceState(event, batch)],
      ['GUILD_BAN_ADD', (event, batch) => this.#onBan(event, batch, PUT)],
      ['GUILD_BAN_REMOVE', (event, batch) => this.#onBan(event, batch, DELETE)],
    ]
  }

  /** The guild's changes were not all seen: a list on its way does not complete it. @param guild 8 characters */
  forget(guild: string): void {
    this.#lists.forget(guild)
  }

  forgetShard(shardId: number): void {
    this.#lists.forgetShard(shardId)
  }

  /** Puts a list of members of the guild. @returns how many have an id. */
  putMembers(
    event: CacheEvent,
    batch: Batch,
    guild: string,
    start: number,
    end: number,
    users: string[] | null = null,
  ): number {
    const list = this.#list
    if (!list.open(event.bytes, start, end)) return 0
    const rows = batch.rows(guild, MEMBERS)
    const ids = this.#ids
    ids.write(0, guild)
    let count = 0
    while (list.next()) {
      if (this.#member.read(list.bytes, list.start, list.end) < 0) continue
      if (!ids.read(1, list.bytes, this.#member.starts[1]!, this.#member.ends[1]!)) continue
      const at = writeWhole(rows.arena, list.bytes, list.start, list.end)
      rows.set(ids.bytes, PUT, at, event.shardId, event.sequence)
      users?.push(ids.text(1))
      count++
    }
    return count
  }

  /** Puts a list of presences of the guild; the offline ones are removed. */
  putPresences(event: CacheEvent, batch: Batch, guild: string, start: number, end: number): void {
    const list = this.#list
    if (!list.open(event.bytes, start, end)) return
    while (list.next()) {
      this.#putPresence(event, batch, guild, list.bytes, list.start, list.end)
    }
  }

  /** Puts a list of voice states of the guild. */
  putVoiceStates(event: CacheEvent, batch: Batch, guild: string, start: number, end: number): void {
    const list = this.#list
    if (!list.open(event.bytes, start, end)) return
    while (list.next()) {
      this.#putVoiceState(event, batch, guild, list.bytes, list.start, list.end)
    }
  }

  #onMember(event: CacheEvent, batch: Batch, change: RowChange, move: number): void {
    const guild = this.#readMember(event)
    if (guild === null) return
    const rows = batch.rows(guild, MEMBERS)
    if (move !== 0) this.#count(event, batch, guild, rows, move)
    const at = writeObject(rows.arena, event.bytes, event.start, event.end, WITHOUT_GUILD)
    rows.set(this.#ids.bytes, change, at, event.shardId, event.sequence)
    if (change === PUT) this.#lists.joined(guild, this.#ids.text(1))
  }

  #onMemberRemove(event: CacheEvent, batch: Batch): void {
    const guild = this.#readMember(event)
    if (guild === null) return
    const ids = this.#ids
    const { shardId, sequence } = event
    const rows = batch.rows(guild, MEMBERS)
    this.#count(event, batch, guild, rows, -1)
    rows.set(ids.bytes, DELETE, 0, shardId, sequence)
    batch.rows(guild, VOICE_STATES).set(ids.bytes, DELETE, 0, shardId, sequence)
    const user = ids.text(1)
    ids.write(0, user)
    ids.write(1, guild)
    batch.rows(guild, PRESENCE).set(ids.bytes, DELETE, 0, shardId, sequence)
  }

  /** member_count is in no member event: it is kept by counting. Before the row is changed. */
  #count(event: CacheEvent, batch: Batch, guild: string, rows: RowSet, move: number): void {
    const change = rows.changeOf(this.#ids.bytes)
    const known = change === undefined ? 'unknown' : change === DELETE ? 'absent' : 'present'
    const row = batch.kept.has('members') ? known : 'none'
    const member = { guild, user: this.#ids.text(1), row } as const
    batch.counting(guild).add(member, move, event.shardId, event.sessionId, event.sequence)
  }

  #onChunk(event: CacheEvent, batch: Batch): void {
    const chunk = this.#chunk
    const { bytes, shardId } = event
    if (chunk.read(bytes, event.start, event.end) < 0) return
    const { starts, ends } = chunk
    if (!this.#ids.read(0, bytes, starts[0]!, ends[0]!)) return
    const guild = this.#ids.text(0)
    const nonce = starts[3]! < 0 ? null : textAt(bytes, starts[3]!, ends[3]!)
    const index = starts[4]! < 0 ? null : integerAt(bytes, starts[4]!, ends[4]!)
    const count = starts[5]! < 0 ? null : integerAt(bytes, starts[5]!, ends[5]!)
    const isWhole = nonce !== null && index !== null && count !== null && this.#isWholeList(nonce)
    const users = isWhole ? this.#lists.chunk(guild, shardId, nonce, index) : null
    const added = this.putMembers(event, batch, guild, starts[1]!, ends[1]!, users)
    this.putPresences(event, batch, guild, starts[2]!, ends[2]!)
    if (users === null || !isWhole) return
    const all = this.#lists.end(guild, nonce, count, added)
    if (all !== null) batch.after(guild).wholeMembers.set(guild, { shardId, users: all })
  }

  #onPresence(event: CacheEvent, batch: Batch): void {
    const fields = this.#presence
    if (fields.read(event.bytes, event.start, event.end) < 0) return
    if (!this.#ids.read(0, event.bytes, fields.starts[0]!, fields.ends[0]!)) return
    const guild = this.#ids.text(0)
    this.#putPresence(event, batch, guild, event.bytes, event.start, event.end)
  }

  /** Of `user` only the id is guaranteed. See [Discord Docs/Gateway Events#presence-update]. */
  #putPresence(
    event: CacheEvent,
    batch: Batch,
    guild: string,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): void {
    const fields = this.#presence
    if (fields.read(bytes, start, end) < 0) return
    const ids = this.#ids
    if (!ids.read(0, bytes, fields.starts[1]!, fields.ends[1]!)) return
    ids.write(1, guild)
    const rows = batch.rows(guild, PRESENCE)
    const { shardId, sequence } = event
    if (textAt(bytes, fields.starts[2]!, fields.ends[2]!) === 'offline') {
      rows.set(ids.bytes, DELETE, 0, shardId, sequence)
      return
    }
    const at = writeObject(rows.arena, bytes, start, end, WITHOUT_GUILD)
    rows.set(ids.bytes, PUT, at, shardId, sequence)
  }

  #onVoiceState(event: CacheEvent, batch: Batch): void {
    const fields = this.#voice
    if (fields.read(event.bytes, event.start, event.end) < 0) return
    if (!this.#ids.read(0, event.bytes, fields.starts[0]!, fields.ends[0]!)) return
    const guild = this.#ids.text(0)
    this.#putVoiceState(event, batch, guild, event.bytes, event.start, event.end)
  }

  #putVoiceState(
    event: CacheEvent,
    batch: Batch,
    guild: string,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): void {
    const fields = this.#voice
    if (fields.read(bytes, start, end) < 0) return
    const ids = this.#ids
    ids.write(0, guild)
    if (!ids.read(1, bytes, fields.starts[1]!, fields.ends[1]!)) return
    const rows = batch.rows(guild, VOICE_STATES)
    const { shardId, sequence } = event
    // No channel: the user left it. See [Discord Docs/Voice#voice-state-object].
    if (fields.starts[2]! < 0 || isNil(bytes, fields.starts[2]!, fields.ends[2]!)) {
      rows.set(ids.bytes, DELETE, 0, shardId, sequence)
      return
    }
    const at = writeObject(rows.arena, bytes, start, end, WITHOUT_GUILD_AND_MEMBER)
    rows.set(ids.bytes, PUT, at, shardId, sequence)
  }

  #onBan(event: CacheEvent, batch: Batch, change: RowChange): void {
    const guild = this.#readMember(event)
    if (guild === null) return
    const rows = batch.rows(guild, BANS)
    const at = writeObject(rows.arena, event.bytes, event.start, event.end, WITHOUT_GUILD)
    rows.set(this.#ids.bytes, change, at, event.shardId, event.sequence)
  }

  /** Reads guild and user into the ids. @returns the guild, or null when either is missing. */
  #readMember(event: CacheEvent): string | null {
    const fields = this.#member
    if (fields.read(event.bytes, event.start, event.end) < 0) return null
    const ids = this.#ids
    if (!ids.read(0, event.bytes, fields.starts[0]!, fields.ends[0]!)) return null
    if (!ids.read(1, event.bytes, fields.starts[1]!, fields.ends[1]!)) return null
    return ids.text(0)
  }
}
