/**
 * What a cache must hold after the events that a client received, by Discord's documentation and the promises of
 * docs/architecture.md alone: partial updates merge, whole lists replace, an outage keeps and marks, a removal takes
 * everything along. Knows nothing of the cache's code.
 */
import { ALL_INTENTS, isKindTold, type StateKind } from '../../../src/discord/index.ts'
import { readTerm } from './etf-term.ts'
import { Receipts } from './gaps.ts'
import { GuildRows } from './guild-rows.ts'
import { jsonMap, textOf } from './json-form.ts'
import type { Json, JsonMap } from './json-form.ts'
import { Lifecycle } from './lifecycle.ts'
import type { GapLine, LedgerEnd, LedgerLine } from './ledger.ts'
import type { State, StateTable } from './state.ts'

/** Children of GUILD_CREATE that have tables of their own. */
const CHILDREN = [
  'channels',
  'emojis',
  'members',
  'presences',
  'roles',
  'voice_states',
  'threads',
  'guild_scheduled_events',
  'soundboard_sounds',
  'stage_instances',
] as const
/** Above this GUILD_CREATE lists only presences of those in voice. See [Discord Docs/Gateway Events#guild-create]. */
const PRESENCES_LISTED_MAX = 75_000
/** What a state cache looks at; the rest need not be read. */
const TOUCHING =
  /^(READY|GUILD_|CHANNEL_|THREAD_|STAGE_INSTANCE_|SOUNDBOARD_SOUNDS|VOICE_STATE_UPDATE|PRESENCE_UPDATE)/

export class ClientModel {
  readonly #rows = new GuildRows()
  readonly #lifecycle = new Lifecycle()
  readonly #intents: number
  /** Guilds of which every member is known, or every presence, or what GUILD_CREATE repeats. */
  readonly #allMembers = new Set<string>()
  readonly #allPresences = new Set<string>()
  readonly #listed = new Set<string>()

  /** @param intents  what the session is told of. */
  constructor(intents: number = ALL_INTENTS) {
    this.#intents = intents
  }

  get state(): State {
    const membership = new Map(
      [...this.#lifecycle.guilds].map(([id, state]) => [id, { state }] as const),
    )
    return { ...this.#rows.state, membership }
  }

  /** Whether all entries of the kind are known, and every change of them is told. Bans are never listed. */
  isComplete(kind: StateKind, guild: string): boolean {
    const row = this.#rows.get('guilds', guild, '')
    if (row === undefined || row['unavailable'] === true || kind === 'bans') return false
    if (!isKindTold(kind, this.#intents)) return false
    if (kind === 'members') return this.#allMembers.has(guild)
    return kind === 'presences' ? this.#allPresences.has(guild) : this.#listed.has(guild)
  }

  /** @param d what the line's bytes say. */
  apply(line: LedgerLine, d: JsonMap): void {
    const guildClass = this.#lifecycle.apply(line, d)
    if (line.t === 'READY') this.#afterReady(d)
    else if (line.t === 'GUILD_CREATE') this.#onGuildCreate(d, guildClass)
    else if (line.t === 'GUILD_DELETE') this.#onGuildDelete(d, guildClass)
    else this.#onEvent(line.t, d, guildOf(d))
  }

  #afterReady(d: JsonMap): void {
    // What happened between two sessions was not told.
    for (const { id } of maps(d['guilds'])) {
      for (const marks of [this.#allMembers, this.#allPresences, this.#listed]) {
        marks.delete(textOf(id))
      }
    }
    for (const id of this.#lifecycle.leftByReady.splice(0)) this.#rows.removeGuild(id)
    for (const [id, state] of this.#lifecycle.guilds) {
      if (state === 'unavailable') this.#mark(id)
    }
  }

  #onGuildCreate(d: JsonMap, guildClass: string): void {
    const guild = textOf(d['id'])
    if (guildClass === 'joining') return
    if (guildClass === 'unavailable') return this.#mark(guild)
    const own = new Map(Object.entries(d))
    for (const child of CHILDREN) own.delete(child)
    this.#rows.put('guilds', guild, '', { data: Object.fromEntries(own), unavailable: false })
    this.#replaceList('channels', guild, maps(d['channels']))
    this.#replaceList('roles', guild, maps(d['roles']))
    this.#replaceList('emojis', guild, maps(d['emojis']))
    this.#replaceList('scheduled_events', guild, maps(d['guild_scheduled_events']))
    this.#replaceList('stage_instances', guild, maps(d['stage_instances']))
    this.#replaceList('soundboard_sounds', guild, maps(d['soundboard_sounds']))
    this.#rows.sweep('threads', guild)
    for (const thread of maps(d['threads'])) this.#putThread(guild, thread)
    this.#rows.sweep('voice_states', guild)
    for (const state of maps(d['voice_states'])) this.#putVoiceState(guild, state)
    this.#listed.add(guild)
    const members = maps(d['members'])
    // Only a list of all members says who is no longer there.
    if (members.length >= Number(d['member_count'])) {
      this.#rows.sweep('members', guild)
      this.#allMembers.add(guild)
    } else this.#allMembers.delete(guild)
    for (const member of members) this.#putMember(guild, member)
    if (Number(d['member_count']) <= PRESENCES_LISTED_MAX) {
      this.#rows.sweep('presence', guild)
      this.#allPresences.add(guild)
    } else this.#allPresences.delete(guild)
    for (const presence of maps(d['presences'])) this.#putPresence(guild, presence)
  }

  #onGuildDelete(d: JsonMap, guildClass: string): void {
    const guild = textOf(d['id'])
    if (guildClass === 'left') this.#rows.removeGuild(guild)
    else this.#mark(guild)
  }

  #mark(guild: string): void {
    this.#allMembers.delete(guild)
    this.#allPresences.delete(guild)
    const row = this.#rows.get('guilds', guild, '')
    if (row !== undefined) this.#rows.put('guilds', guild, '', { ...row, unavailable: true })
  }

  #onEvent(t: string, d: JsonMap, guild: string): void {
    switch (t) {
      case 'GUILD_UPDATE': {
        const own = new Map(Object.entries(d))
        for (const child of CHILDREN) own.delete(child)
        this.#rows.merge('guilds', textOf(d['id']), '', Object.fromEntries(own), false)
        return
      }
      case 'CHANNEL_CREATE':
      case 'CHANNEL_UPDATE':
        return this.#rows.put('channels', guild, textOf(d['id']), { data: d })
      case 'CHANNEL_DELETE':
        this.#rows.delete('channels', guild, textOf(d['id']))
        return this.#rows.sweep('threads', guild, (row) => row['parent_id'] === d['id'])
      case 'CHANNEL_PINS_UPDATE': {
        const at = d['last_pin_timestamp']
        if (at === undefined) return
        const pin = { last_pin_timestamp: at }
        const id = textOf(d['channel_id'])
        this.#rows.merge('channels', guild, id, pin, false)
        return this.#rows.merge('threads', guild, id, pin, false)
      }
      case 'GUILD_ROLE_CREATE':
      case 'GUILD_ROLE_UPDATE': {
        const role = d['role'] as JsonMap
        return this.#rows.put('roles', guild, textOf(role['id']), { data: role })
      }
      case 'GUILD_ROLE_DELETE':
        return this.#onRoleDelete(guild, d['role_id'] ?? null)
      case 'GUILD_EMOJIS_UPDATE':
        return this.#replaceList('emojis', guild, maps(d['emojis']))
      case 'GUILD_STICKERS_UPDATE':
        return this.#rows.merge('guilds', guild, '', { stickers: d['stickers'] ?? [] }, false)
      default:
        if (t.startsWith('THREAD_')) this.#onThread(t, d, guild)
        else if (/^(GUILD_SCHEDULED_EVENT|STAGE_INSTANCE|GUILD_SOUNDBOARD_SOUND)_/.test(t)) {
          this.#onChild(t, d, guild)
        } else if (t === 'GUILD_SOUNDBOARD_SOUNDS_UPDATE' || t === 'SOUNDBOARD_SOUNDS') {
          this.#replaceList('soundboard_sounds', guild, maps(d['soundboard_sounds']))
        } else this.#onPerson(t, d, guild)
    }
  }

  /** Discord sends no member update for a deleted role. */
  #onRoleDelete(guild: string, roleId: Json): void {
    this.#rows.delete('roles', guild, textOf(roleId))
    for (const [id, row] of this.#rows.rowsOf('members', guild)) {
      const roles = (row['data'] as JsonMap)['roles']
      if (!Array.isArray(roles) || !roles.includes(roleId)) continue
      const kept = roles.filter((role) => role !== roleId)
      this.#rows.merge('members', guild, id, { roles: kept }, false)
    }
  }

  #onThread(t: string, d: JsonMap, guild: string): void {
    switch (t) {
      case 'THREAD_CREATE':
      case 'THREAD_UPDATE':
        if ((d['thread_metadata'] as JsonMap)['archived'] === true)
          this.#rows.delete('threads', guild, textOf(d['id']))
        else this.#putThread(guild, d)
        return
      case 'THREAD_DELETE':
        return this.#rows.delete('threads', guild, textOf(d['id']))
      case 'THREAD_LIST_SYNC': {
        const channels = d['channel_ids'] as readonly Json[] | undefined
        this.#rows.sweep(
          'threads',
          guild,
          (row) => channels === undefined || channels.includes(row['parent_id'] ?? null),
        )
        for (const thread of maps(d['threads'])) this.#putThread(guild, thread)
        return
      }
      case 'THREAD_MEMBERS_UPDATE':
        return this.#rows.merge('threads', guild, textOf(d['id']), only(d, 'member_count'), false)
      default:
        return
    }
  }

  /** Whole on CREATE and UPDATE. Users of a scheduled event are no state of it. */
  #onChild(t: string, d: JsonMap, guild: string): void {
    const table = t.startsWith('STAGE')
      ? 'stage_instances'
      : t.startsWith('GUILD_SCHEDULED')
        ? 'scheduled_events'
        : 'soundboard_sounds'
    if (/_(CREATE|UPDATE)$/.test(t)) this.#rows.put(table, guild, idOf(d), { data: d })
    else if (/[A-Z]_DELETE$/.test(t)) this.#rows.delete(table, guild, idOf(d))
  }

  #onPerson(t: string, d: JsonMap, guild: string): void {
    switch (t) {
      case 'GUILD_MEMBER_ADD':
        // It may come for who is there already. See [Discord Docs/Gateway Events#guild-member-add].
        if (this.#rows.get('members', guild, userOf(d)) === undefined) this.#count(guild, 1)
        return this.#putMember(guild, d)
      case 'GUILD_MEMBER_UPDATE':
        return this.#rows.merge('members', guild, userOf(d), without(d, ['guild_id']), true)
      case 'GUILD_MEMBER_REMOVE': {
        const id = userOf(d)
        const isKnown = this.#rows.get('members', guild, id) !== undefined
        if (isKnown || !this.#allMembers.has(guild)) this.#count(guild, -1)
        for (const table of ['members', 'voice_states', 'presence'] as const) {
          this.#rows.delete(table, guild, id)
        }
        return
      }
      case 'GUILD_MEMBERS_CHUNK':
        for (const member of maps(d['members'])) this.#putMember(guild, member)
        for (const presence of maps(d['presences'])) this.#putPresence(guild, presence)
        return
      case 'VOICE_STATE_UPDATE':
        return this.#putVoiceState(guild, d)
      case 'PRESENCE_UPDATE':
        return this.#putPresence(guild, d)
      case 'GUILD_BAN_ADD':
        return this.#rows.put('bans', guild, userOf(d), { data: without(d, ['guild_id']) })
      case 'GUILD_BAN_REMOVE':
        return this.#rows.delete('bans', guild, userOf(d))
      default:
        return
    }
  }

  /** No member event carries member_count: it is counted, by the rows where they tell. */
  #count(guild: string, move: number): void {
    const data = this.#rows.get('guilds', guild, '')?.['data'] as JsonMap | undefined
    const count = data?.['member_count']
    if (typeof count !== 'number') return
    this.#rows.merge('guilds', guild, '', { member_count: Math.max(0, count + move) }, false)
  }

  #replaceList(table: StateTable, guild: string, list: readonly JsonMap[]): void {
    this.#rows.sweep(table, guild)
    for (const data of list) this.#rows.put(table, guild, idOf(data), { data })
  }

  #putThread(guild: string, data: JsonMap): void {
    const row = { data, parent_id: data['parent_id'] ?? null }
    this.#rows.put('threads', guild, textOf(data['id']), row)
  }

  #putMember(guild: string, member: JsonMap): void {
    this.#rows.put('members', guild, userOf(member), { data: without(member, ['guild_id']) })
  }

  /** channel_id null: the user left voice. */
  #putVoiceState(guild: string, state: JsonMap): void {
    const id = textOf(state['user_id'])
    if ((state['channel_id'] ?? null) === null) this.#rows.delete('voice_states', guild, id)
    else this.#rows.put('voice_states', guild, id, { data: without(state, ['guild_id', 'member']) })
  }

  #putPresence(guild: string, presence: JsonMap): void {
    const id = userOf(presence)
    if (presence['status'] === 'offline') this.#rows.delete('presence', guild, id)
    else this.#rows.put('presence', guild, id, { data: without(presence, ['guild_id']) })
  }
}

/**
 * The states that State may be in: without the events that only may have been received, and with them. Twice the same
 * when there are none.
 */
export function expectedStates(input: {
  readonly ledger: readonly LedgerLine[]
  readonly ends: readonly LedgerEnd[]
  readonly gaps: readonly GapLine[]
}): State[] {
  const receipts = new Receipts(input.gaps, input.ends)
  const least = new ClientModel()
  const most = new ClientModel()
  let isSure = true
  const canDiffer = input.gaps.length > 0
  for (const line of input.ledger) {
    const receipt = receipts.of(line)
    if (receipt === 'impossible') continue
    if (receipt === 'possible') isSure = false
    if (!TOUCHING.test(line.t)) continue
    if (line.d === null) throw new RangeError(`The ledger has no bytes of ${line.t} ${line.s}`)
    const d = jsonMap(readTerm(line.d))
    if (receipt === 'sure') least.apply(line, d)
    if (canDiffer) most.apply(line, d)
  }
  return isSure ? [least.state] : [least.state, most.state]
}

function maps(value: Json | undefined): readonly JsonMap[] {
  return Array.isArray(value) ? (value as readonly JsonMap[]) : []
}

function without(data: JsonMap, keys: readonly string[]): JsonMap {
  return Object.fromEntries(Object.entries(data).filter(([key]) => !keys.includes(key)))
}

/** '' for what belongs to no guild. */
function guildOf(d: JsonMap): string {
  return d['guild_id'] === undefined ? '' : textOf(d['guild_id'])
}

/** A sound has a `sound_id`. */
function idOf(d: JsonMap): string {
  return textOf(d['id'] ?? d['sound_id'])
}

function userOf(d: JsonMap): string {
  return textOf((d['user'] as JsonMap)['id'])
}

function only(d: JsonMap, key: string): JsonMap {
  return { [key]: d[key] ?? null }
}
