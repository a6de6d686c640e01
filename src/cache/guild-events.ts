/**
 * Guilds, roles, emojis and membership. A guild's object is GUILD_CREATE without the lists that have
 * tables of their own; stickers and the like stay inside.
 */
import { isKindTold, LARGE_GUILD_MEMBERS, type StateKind } from '../discord/index.ts'
import { FieldReader, integerAt, isNil, isTrue, ListReader, type MapEdit } from '../etf/index.ts'
import type { Batch } from './batch.ts'
import type { CacheEvent, EventHandler } from './cache-event.ts'
import type { ChannelEvents } from './channel-events.ts'
import { Ids } from './ids.ts'
import type { MemberEvents } from './member-events.ts'
import { writeField, writeObject, writeWhole } from './objects.ts'
import {
  CHANNELS,
  DELETE,
  EMOJIS,
  GUILDS,
  MEMBERS,
  PATCH,
  PRESENCE,
  PUT,
  ROLES,
  SCHEDULED_EVENTS,
  SOUNDBOARD_SOUNDS,
  STAGE_INSTANCES,
  type Table,
  THREADS,
  VOICE_STATES,
  WHOLE_BANS,
  WHOLE_MEMBERS,
  WHOLE_PRESENCES,
} from './tables.ts'

/** The lists of a guild that have tables of their own; paths of the reader below, in this order. */
const LISTS = [
  'channels',
  'emojis',
  'members',
  'presences',
  'roles',
  'threads',
  'voice_states',
  'guild_scheduled_events',
  'soundboard_sounds',
  'stage_instances',
]
const LIST_TABLES: readonly Table[] = [
  CHANNELS,
  EMOJIS,
  MEMBERS,
  PRESENCE,
  ROLES,
  THREADS,
  VOICE_STATES,
  SCHEDULED_EVENTS,
  SOUNDBOARD_SOUNDS,
  STAGE_INSTANCES,
]
const MEMBERS_LIST = LISTS.indexOf('members')
const PRESENCES_LIST = LISTS.indexOf('presences')

export class GuildEvents {
  readonly #channels: ChannelEvents
  readonly #members: MemberEvents
  readonly #ids = new Ids()
  readonly #guild = new FieldReader(['id', 'unavailable'])
  readonly #full = new FieldReader([...LISTS, 'member_count'])
  readonly #ready = new FieldReader(['guilds'])
  readonly #role = new FieldReader(['guild_id', 'role', 'role.id'])
  readonly #roleDelete = new FieldReader(['guild_id', 'role_id'])
  readonly #emojis = new FieldReader(['guild_id', 'emojis', 'stickers'])
  readonly #object = new FieldReader(['id', 'sound_id'])
  readonly #child = new FieldReader(['guild_id', 'id', 'sound_id', 'soundboard_sounds'])
  readonly #list = new ListReader()
  readonly #intents: number
  readonly #kept: ReadonlySet<StateKind>
  /** What of a guild's object has tables of its own, or is not kept. */
  readonly #withoutLists: MapEdit

  /** @param deps.intents  a list that no event keeps up to date is never whole. */
  constructor(deps: {
    readonly channels: ChannelEvents
    readonly members: MemberEvents
    readonly intents: number
    readonly kept: ReadonlySet<StateKind>
  }) {
    this.#kept = deps.kept
    this.#withoutLists = { drop: deps.kept.has('stickers') ? LISTS : [...LISTS, 'stickers'] }
    this.#channels = deps.channels
    this.#members = deps.members
    this.#intents = deps.intents
  }

  handlers(): readonly (readonly [string, EventHandler])[] {
    return [
      ['READY', (event, batch) => this.#onReady(event, batch)],
      ['GUILD_CREATE', (event, batch) => this.#onCreate(event, batch)],
      ['GUILD_UPDATE', (event, batch) => this.#onUpdate(event, batch)],
      ['GUILD_DELETE', (event, batch) => this.#onDelete(event, batch)],
      ['GUILD_ROLE_CREATE', (event, batch) => this.#onRole(event, batch)],
      ['GUILD_ROLE_UPDATE', (event, batch) => this.#onRole(event, batch)],
      ['GUILD_ROLE_DELETE', (event, batch) => this.#onRoleDelete(event, batch)],
      ['GUILD_EMOJIS_UPDATE', (event, batch) => this.#onEmojis(event, batch)],
      ['GUILD_STICKERS_UPDATE', (event, batch) => this.#onStickers(event, batch)],
      ...this.#childHandlers('GUILD_SCHEDULED_EVENT', SCHEDULED_EVENTS),
      ...this.#childHandlers('STAGE_INSTANCE', STAGE_INSTANCES),
      ...this.#childHandlers('GUILD_SOUNDBOARD_SOUND', SOUNDBOARD_SOUNDS),
      ['GUILD_SOUNDBOARD_SOUNDS_UPDATE', (event, batch) => this.#onSounds(event, batch)],
      ['SOUNDBOARD_SOUNDS', (event, batch) => this.#onSounds(event, batch)],
    ]
  }

  /** What membership alone needs: no objects are kept. */
  membershipHandlers(): readonly (readonly [string, EventHandler])[] {
    return [
      ['READY', (event, batch) => this.#onReady(event, batch)],
      ['GUILD_CREATE', (event, batch) => this.#onPresent(event, batch)],
      ['GUILD_DELETE', (event, batch) => this.#onDelete(event, batch)],
    ]
  }

  /** Only a shard that was never filled takes its guilds from here; who left, the lifecycle tells. */
  #onReady(event: CacheEvent, batch: Batch): void {
    this.#members.forgetShard(event.shardId)
    const guilds: string[] = []
    const fields = this.#ready
    if (fields.read(event.bytes, event.start, event.end) < 0) return
    const list = this.#list
    if (!list.open(event.bytes, fields.starts[0]!, fields.ends[0]!)) return
    while (list.next()) {
      if (this.#object.read(list.bytes, list.start, list.end) < 0) continue
      if (!this.#ids.read(0, list.bytes, this.#object.starts[0]!, this.#object.ends[0]!)) continue
      guilds.push(this.#ids.text(0))
    }
    const stage = batch.barrier()
    stage.filled.set(event.shardId, guilds)
    // A new session: what happened since the last one was not told.
    stage.missed.set(event.shardId, guilds)
  }

  #onPresent(event: CacheEvent, batch: Batch): void {
    const guild = this.#readAvailable(event, batch)
    if (guild !== null) this.#keepMembership(event, batch, guild)
  }

  #onCreate(event: CacheEvent, batch: Batch): void {
    const guild = this.#readAvailable(event, batch)
    if (guild === null) return
    const { bytes, shardId, sessionId, sequence } = event
    const whole = this.#replaceLists(event, batch, guild)
    const ids = this.#ids
    ids.write(0, guild)
    ids.writeNumber(1, sequence)
    ids.writeNumber(2, whole)
    const rows = batch.rows(guild, GUILDS)
    const at = writeObject(rows.arena, bytes, event.start, event.end, this.#withoutLists)
    rows.set(ids.bytes, PUT, at, shardId, sequence, sessionId)
    // Behind the lists and rows: before them it would make a stage of its own.
    this.#keepMembership(event, batch, guild)
  }

  /** The guild's id in 8 characters; null when the event has none or tells of an outage, which is noted. */
  #readAvailable(event: CacheEvent, batch: Batch): string | null {
    const guild = this.#readGuild(event)
    if (guild === null) return null
    this.#members.forget(guild)
    const { starts, ends } = this.#guild
    if (!isTrue(event.bytes, starts[1]!, ends[1]!)) return guild
    this.#onOutage(event, batch, guild)
    return null
  }

  #keepMembership(event: CacheEvent, batch: Batch, guild: string): void {
    const { shardId, sessionId, sequence, guildClass } = event
    const { membership, replayClasses } = batch.membership(guild)
    if (guildClass === 'joined') {
      membership.put(guild, 'present', shardId, sessionId, sequence)
      replayClasses.note(guild, 'joined', event)
    } else membership.keep(guild, 'present', shardId)
  }

  /**
   * What the lists hold replaces what is stored. Members go only if the list is complete: of a large guild,
   * or without the presence intent, it is not. Presences of the largest guilds are only those in voice. See [Discord Docs/Gateway Events#guild-create].
   *
   * @returns the bits of `whole`.
   */
  #replaceLists(event: CacheEvent, batch: Batch, guild: string): number {
    const { bytes, shardId } = event
    const fields = this.#full
    if (fields.read(bytes, event.start, event.end) < 0) return 0
    const seesBans = isKindTold('bans', this.#intents) && this.#kept.has('bans')
    let whole = seesBans ? WHOLE_BANS : 0
    const { starts, ends } = fields
    const memberCount = integerAt(bytes, starts[LISTS.length]!, ends[LISTS.length]!)
    const stage = batch.replacing(guild)
    const isListed: boolean[] = []
    for (let index = 0; index < LISTS.length; index++) {
      const isList = this.#list.open(bytes, starts[index]!, ends[index]!)
      const isWanted = isList && this.#kept.has(LIST_TABLES[index]!.kind)
      isListed.push(isWanted)
      if (!isWanted) continue
      const isComplete =
        index === MEMBERS_LIST
          ? memberCount !== null && this.#list.length >= memberCount
          : index !== PRESENCES_LIST || memberCount === null || memberCount <= LARGE_GUILD_MEMBERS
      if (!isComplete) continue
      stage.replace(LIST_TABLES[index]!, guild, shardId)
      if (index === MEMBERS_LIST && isKindTold('members', this.#intents)) {
        whole |= WHOLE_MEMBERS
      }
      if (index === PRESENCES_LIST && isKindTold('presences', this.#intents)) {
        whole |= WHOLE_PRESENCES
      }
    }
    const put = (
      index: number,
      write: (event: CacheEvent, batch: Batch, guild: string, start: number, end: number) => void,
    ): void => {
      if (isListed[index]) write(event, batch, guild, starts[index]!, ends[index]!)
    }
    put(0, this.#channels.putChannels.bind(this.#channels))
    put(1, (...range) => this.#putObjects(EMOJIS, ...range))
    put(2, this.#members.putMembers.bind(this.#members))
    put(3, this.#members.putPresences.bind(this.#members))
    put(4, (...range) => this.#putObjects(ROLES, ...range))
    put(5, this.#channels.putThreads.bind(this.#channels))
    put(6, this.#members.putVoiceStates.bind(this.#members))
    for (const index of [7, 8, 9]) {
      put(index, (...range) => this.#putObjects(LIST_TABLES[index]!, ...range))
    }
    return whole
  }

  /** GUILD_UPDATE has none of what only GUILD_CREATE knows: merged, never replaced, and never a first sight. */
  #onUpdate(event: CacheEvent, batch: Batch): void {
    const guild = this.#readGuild(event)
    if (guild === null) return
    const ids = this.#ids
    ids.clear(1)
    ids.clear(2)
    const rows = batch.rows(guild, GUILDS)
    const at = writeObject(rows.arena, event.bytes, event.start, event.end, this.#withoutLists)
    rows.set(ids.bytes, PATCH, at, event.shardId, event.sequence)
  }

  #onDelete(event: CacheEvent, batch: Batch): void {
    const guild = this.#readGuild(event)
    if (guild === null) return
    this.#members.forget(guild)
    const { starts, ends } = this.#guild
    // The key `unavailable` set: an outage, the data stays. Absent: the bot was removed.
    if (starts[1]! >= 0 && !isNil(event.bytes, starts[1]!, ends[1]!)) {
      this.#onOutage(event, batch, guild)
    } else {
      batch.membership(guild).replayClasses.note(guild, 'left', event)
      this.remove(batch, guild, event.shardId)
    }
  }

  /** The bot is no longer in the guild: everything of it goes. @param guild 8 characters */
  remove(batch: Batch, guild: string, shardId: number): void {
    batch.membership(guild).membership.delete(guild, shardId)
    batch.after(guild).removedGuilds.set(guild, shardId)
  }

  /** The guild's data stays and is marked. @param guild 8 characters */
  hide(batch: Batch, guild: string, shardId: number): void {
    batch.membership(guild).membership.keep(guild, 'unavailable', shardId)
    batch.after(guild).unavailableGuilds.set(guild, shardId)
  }

  #onOutage(event: CacheEvent, batch: Batch, guild: string): void {
    if (event.guildClass === 'joining') {
      const { membership, replayClasses } = batch.membership(guild)
      membership.put(guild, 'joining', event.shardId, '', 0)
      replayClasses.note(guild, 'joining', event)
    } else {
      this.hide(batch, guild, event.shardId)
    }
  }

  #onRole(event: CacheEvent, batch: Batch): void {
    const fields = this.#role
    if (fields.read(event.bytes, event.start, event.end) < 0) return
    const { starts, ends } = fields
    const ids = this.#ids
    if (!ids.read(1, event.bytes, starts[0]!, ends[0]!)) return
    if (!ids.read(0, event.bytes, starts[2]!, ends[2]!)) return
    const rows = batch.rows(ids.text(1), ROLES)
    const at = writeWhole(rows.arena, event.bytes, starts[1]!, ends[1]!)
    rows.set(ids.bytes, PUT, at, event.shardId, event.sequence)
  }

  /** Discord sends no member updates for it: the role is taken from the members here. */
  #onRoleDelete(event: CacheEvent, batch: Batch): void {
    const fields = this.#roleDelete
    if (fields.read(event.bytes, event.start, event.end) < 0) return
    const ids = this.#ids
    if (!ids.read(0, event.bytes, fields.starts[0]!, fields.ends[0]!)) return
    if (!ids.read(1, event.bytes, fields.starts[1]!, fields.ends[1]!)) return
    const guild = ids.text(0)
    batch.after(guild).strippedRoles.set(guild + ids.text(1), event.shardId)
  }

  #onEmojis(event: CacheEvent, batch: Batch): void {
    const guild = this.#readExpressions(event)
    const { starts, ends } = this.#emojis
    if (guild === null || !this.#list.open(event.bytes, starts[1]!, ends[1]!)) return
    batch.replacing(guild).replace(EMOJIS, guild, event.shardId)
    this.#putObjects(EMOJIS, event, batch, guild, starts[1]!, ends[1]!)
  }

  /** Stickers are kept inside the guild's object. */
  #onStickers(event: CacheEvent, batch: Batch): void {
    const guild = this.#readExpressions(event)
    const { starts, ends } = this.#emojis
    if (guild === null || starts[2]! < 0) return
    this.#ids.clear(1)
    this.#ids.clear(2)
    const rows = batch.rows(guild, GUILDS)
    const at = writeField(rows.arena, 'stickers', event.bytes, starts[2]!, ends[2]!)
    rows.set(this.#ids.bytes, PATCH, at, event.shardId, event.sequence)
  }

  /** Events of one child each: whole on CREATE and UPDATE, with an id at least on DELETE. */
  #childHandlers(name: string, table: Table): (readonly [string, EventHandler])[] {
    const put: EventHandler = (event, batch) => this.#onChild(event, batch, table, PUT)
    const remove: EventHandler = (event, batch) => this.#onChild(event, batch, table, DELETE)
    return [
      [`${name}_CREATE`, put],
      [`${name}_UPDATE`, put],
      [`${name}_DELETE`, remove],
    ]
  }

  #onChild(
    event: CacheEvent,
    batch: Batch,
    table: Table,
    change: typeof PUT | typeof DELETE,
  ): void {
    const fields = this.#child
    if (fields.read(event.bytes, event.start, event.end) < 0) return
    const ids = this.#ids
    if (!ids.read(1, event.bytes, fields.starts[0]!, fields.ends[0]!)) return
    const at = fields.starts[1]! >= 0 ? 1 : 2
    if (!ids.read(0, event.bytes, fields.starts[at]!, fields.ends[at]!)) return
    const rows = batch.rows(ids.text(1), table)
    const start = change === PUT ? writeWhole(rows.arena, event.bytes, event.start, event.end) : 0
    rows.set(ids.bytes, change, start, event.shardId, event.sequence)
  }

  #onSounds(event: CacheEvent, batch: Batch): void {
    const fields = this.#child
    const guild = this.#readFirst(fields, event)
    const { starts, ends } = fields
    if (guild === null || !this.#list.open(event.bytes, starts[3]!, ends[3]!)) return
    batch.replacing(guild).replace(SOUNDBOARD_SOUNDS, guild, event.shardId)
    this.#putObjects(SOUNDBOARD_SOUNDS, event, batch, guild, starts[3]!, ends[3]!)
  }

  #putObjects(
    table: Table,
    event: CacheEvent,
    batch: Batch,
    guild: string,
    start: number,
    end: number,
  ): void {
    const list = this.#list
    if (!list.open(event.bytes, start, end)) return
    const rows = batch.rows(guild, table)
    const ids = this.#ids
    ids.write(1, guild)
    while (list.next()) {
      const fields = this.#object
      if (fields.read(list.bytes, list.start, list.end) < 0) continue
      const idAt = fields.starts[0]! >= 0 ? 0 : 1
      if (!ids.read(0, list.bytes, fields.starts[idAt]!, fields.ends[idAt]!)) continue
      const at = writeWhole(rows.arena, list.bytes, list.start, list.end)
      rows.set(ids.bytes, PUT, at, event.shardId, event.sequence)
    }
  }

  #readGuild(event: CacheEvent): string | null {
    return this.#readFirst(this.#guild, event)
  }

  #readExpressions(event: CacheEvent): string | null {
    return this.#readFirst(this.#emojis, event)
  }

  /** Reads the event's fields. @returns the id at the first path */
  #readFirst(fields: FieldReader, event: CacheEvent): string | null {
    if (fields.read(event.bytes, event.start, event.end) < 0) return null
    if (!this.#ids.read(0, event.bytes, fields.starts[0]!, fields.ends[0]!)) return null
    return this.#ids.text(0)
  }
}
