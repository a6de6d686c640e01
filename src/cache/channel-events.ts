/**
 * Channels and threads. Threads have a table of their own, as in the ancestor; only active ones are kept,
 * because Discord shows no others. See [Discord Docs/Threads] and [Discord Docs/Gateway Events#channels].
 */
import { FieldReader, isNil, isTrue, ListReader } from '../etf/index.ts'
import type { Batch } from './batch.ts'
import type { CacheEvent, EventHandler } from './cache-event.ts'
import { Ids } from './ids.ts'
import { writeField, writeObject } from './objects.ts'
import { CHANNELS, DELETE, MERGE, PATCH, PUT, type RowChange, THREADS } from './tables.ts'

const WITHOUT_GUILD = { drop: ['guild_id'] } as const
/** Says something about the event, not about the thread. */
const NOT_OF_THREAD = ['newly_created', 'guild_id']
/** SMALL_BIG_EXT of an id: | 110 | 8 | 0 | 8 bytes, least significant first. */
const ID_TERM_BYTES = 11

export class ChannelEvents {
  readonly #ids = new Ids()
  readonly #channel = new FieldReader(['id', 'guild_id'])
  readonly #pins = new FieldReader(['channel_id', 'guild_id', 'last_pin_timestamp'])
  readonly #thread = new FieldReader([
    'id',
    'guild_id',
    'owner_id',
    'parent_id',
    'thread_metadata.archived',
  ])
  readonly #sync = new FieldReader(['guild_id', 'channel_ids', 'threads'])
  readonly #members = new FieldReader(['id', 'guild_id', 'member_count'])
  readonly #list = new ListReader()
  /** `guild_id` as a term, for threads that came without it. */
  readonly #guildTerm: Buffer = Buffer.from([110, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0])

  handlers(): readonly (readonly [string, EventHandler])[] {
    return [
      ['CHANNEL_CREATE', (event, batch) => this.#onChannel(event, batch)],
      ['CHANNEL_UPDATE', (event, batch) => this.#onChannel(event, batch)],
      ['CHANNEL_DELETE', (event, batch) => this.#onChannelDelete(event, batch)],
      ['CHANNEL_PINS_UPDATE', (event, batch) => this.#onPins(event, batch)],
      ['THREAD_CREATE', (event, batch) => this.#onThread(event, batch, PUT)],
      // Full but for `member`, which only THREAD_CREATE and the lists carry.
      ['THREAD_UPDATE', (event, batch) => this.#onThread(event, batch, MERGE)],
      ['THREAD_DELETE', (event, batch) => this.#onThreadDelete(event, batch)],
      ['THREAD_LIST_SYNC', (event, batch) => this.#onThreadListSync(event, batch)],
      ['THREAD_MEMBERS_UPDATE', (event, batch) => this.#onThreadMembers(event, batch)],
    ]
  }

  putChannels(event: CacheEvent, batch: Batch, guild: string, start: number, end: number): void {
    const list = this.#list
    if (!list.open(event.bytes, start, end)) return
    while (list.next()) {
      this.#putChannel(event, batch, guild, list.bytes, list.start, list.end)
    }
  }

  putThreads(event: CacheEvent, batch: Batch, guild: string, start: number, end: number): void {
    const list = this.#list
    if (!list.open(event.bytes, start, end)) return
    while (list.next()) {
      if (this.#thread.read(list.bytes, list.start, list.end) < 0) continue
      this.#putThread(event, batch, guild, list.bytes, list.start, list.end, PUT)
    }
  }

  #onChannel(event: CacheEvent, batch: Batch): void {
    const guild = this.#guildOf(this.#channel, event)
    // A direct message's channel is in no guild; since v8 none is announced.
    if (guild === null) return
    this.#putChannel(event, batch, guild, event.bytes, event.start, event.end)
  }

  #putChannel(
    event: CacheEvent,
    batch: Batch,
    guild: string,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): void {
    const fields = this.#channel
    if (fields.read(bytes, start, end) < 0) return
    const ids = this.#ids
    if (!ids.read(0, bytes, fields.starts[0]!, fields.ends[0]!)) return
    ids.write(1, guild)
    const rows = batch.rows(guild, CHANNELS)
    const at = writeObject(rows.arena, bytes, start, end, WITHOUT_GUILD)
    rows.set(ids.bytes, PUT, at, event.shardId, event.sequence)
  }

  /** The channel goes with its threads, for which Discord sends nothing. */
  #onChannelDelete(event: CacheEvent, batch: Batch): void {
    const guild = this.#guildOf(this.#channel, event)
    const fields = this.#channel
    if (guild === null) return
    if (!this.#ids.read(0, event.bytes, fields.starts[0]!, fields.ends[0]!)) return
    batch.after(guild).closedChannels.set(this.#ids.text(0), event.shardId)
  }

  #onPins(event: CacheEvent, batch: Batch): void {
    const guild = this.#guildOf(this.#pins, event)
    const fields = this.#pins
    if (guild === null || fields.starts[2]! < 0) return
    const ids = this.#ids
    if (!ids.read(0, event.bytes, fields.starts[0]!, fields.ends[0]!)) return
    ids.write(1, guild)
    ids.clear(2)
    ids.clear(3)
    // The pins of a thread come under the same name: one of the two tables has the id.
    for (const table of [CHANNELS, THREADS]) {
      const rows = batch.rows(guild, table)
      const at = writeField(
        rows.arena,
        'last_pin_timestamp',
        event.bytes,
        fields.starts[2]!,
        fields.ends[2]!,
      )
      rows.set(ids.bytes, PATCH, at, event.shardId, event.sequence)
    }
  }

  #onThread(event: CacheEvent, batch: Batch, change: RowChange): void {
    const guild = this.#guildOf(this.#thread, event)
    if (guild === null) return
    this.#putThread(event, batch, guild, event.bytes, event.start, event.end, change)
  }

  /** After `#thread` has read the object. */
  #putThread(
    event: CacheEvent,
    batch: Batch,
    guild: string,
    bytes: Uint8Array,
    start: number,
    end: number,
    change: RowChange,
  ): void {
    const { starts, ends } = this.#thread
    const ids = this.#ids
    if (!ids.read(0, bytes, starts[0]!, ends[0]!)) return
    ids.write(1, guild)
    ids.read(2, bytes, starts[2]!, ends[2]!)
    ids.read(3, bytes, starts[3]!, ends[3]!)
    const rows = batch.rows(guild, THREADS)
    const { shardId, sequence } = event
    if (starts[4]! >= 0 && isTrue(bytes, starts[4]!, ends[4]!)) {
      rows.set(ids.bytes, DELETE, 0, shardId, sequence)
      return
    }
    const edit = { drop: NOT_OF_THREAD, set: [['guild_id', this.#termOf(guild)]] } as const
    const at = writeObject(rows.arena, bytes, start, end, edit)
    rows.set(ids.bytes, change, at, shardId, sequence)
  }

  #onThreadDelete(event: CacheEvent, batch: Batch): void {
    const guild = this.#guildOf(this.#thread, event)
    const fields = this.#thread
    const ids = this.#ids
    if (guild === null || !ids.read(0, event.bytes, fields.starts[0]!, fields.ends[0]!)) return
    ids.write(1, guild)
    ids.clear(2)
    ids.clear(3)
    batch.rows(guild, THREADS).set(ids.bytes, DELETE, 0, event.shardId, event.sequence)
  }

  /** Without `channel_ids` the list is the whole guild's. See [Discord Docs/Gateway Events#thread-list-sync]. */
  #onThreadListSync(event: CacheEvent, batch: Batch): void {
    const guild = this.#guildOf(this.#sync, event)
    const fields = this.#sync
    if (guild === null) return
    const { bytes, shardId } = event
    const stage = batch.replacing(guild)
    const channels = fields.starts[1]!
    if (channels < 0 || isNil(bytes, channels, fields.ends[1]!)) {
      stage.replace(THREADS, guild, shardId)
    } else if (this.#list.open(bytes, channels, fields.ends[1]!)) {
      const list = this.#list
      while (list.next()) {
        if (!this.#ids.read(0, list.bytes, list.start, list.end)) continue
        stage.replacedThreads.set(this.#ids.text(0), shardId)
      }
    }
    this.putThreads(event, batch, guild, fields.starts[2]!, fields.ends[2]!)
  }

  /** Lists who came and went; the row has the number, which Discord stops at 50. */
  #onThreadMembers(event: CacheEvent, batch: Batch): void {
    const guild = this.#guildOf(this.#members, event)
    const { starts, ends } = this.#members
    if (guild === null || starts[2]! < 0) return
    const ids = this.#ids
    if (!ids.read(0, event.bytes, starts[0]!, ends[0]!)) return
    ids.write(1, guild)
    ids.clear(2)
    ids.clear(3)
    const rows = batch.rows(guild, THREADS)
    const at = writeField(rows.arena, 'member_count', event.bytes, starts[2]!, ends[2]!)
    rows.set(ids.bytes, PATCH, at, event.shardId, event.sequence)
  }

  /** Reads the event's fields. @returns its guild_id, wherever it is among the reader's paths */
  #guildOf(fields: FieldReader, event: CacheEvent): string | null {
    if (fields.read(event.bytes, event.start, event.end) < 0) return null
    const at = fields.paths.indexOf('guild_id')
    if (!this.#ids.read(1, event.bytes, fields.starts[at]!, fields.ends[at]!)) return null
    return this.#ids.text(1)
  }

  #termOf(guild: string): Uint8Array {
    const term = this.#guildTerm
    for (let byte = 0; byte < 8; byte++) {
      term[ID_TERM_BYTES - 1 - byte] = guild.charCodeAt(byte)
    }
    return term
  }
}
