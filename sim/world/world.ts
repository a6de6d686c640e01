/** A seeded Discord: guilds and people that change by themselves, and what each session may see of it. */
import { LARGE_GUILD_MEMBERS, shardOfGuild } from '../../src/discord/index.ts'
import { guildCreateFor } from './guild-create.ts'
import type { JsonLike, JsonObject } from './json.ts'
import { makeGuild } from './make-guild.ts'
import { MUTATIONS, weightedKind } from './mutations/index.ts'
import type { MutationKind } from './mutations/index.ts'
import { presenceEvents } from './mutations/presence.ts'
import { writeMessage } from './mutations/messages.ts'
import { leaveVoice, setVoice } from './mutations/voice.ts'
import { unavailableGuild } from './mutations/guilds.ts'
import { makeBotUser } from './people.ts'
import { makeVoiceState } from './places.ts'
import { renderEvent } from './render.ts'
import { channelInfoOf, memberChunks, soundboardSoundsOf } from './requests.ts'
import type { MembersRequest } from './requests.ts'
import { guildSnapshot } from './snapshot.ts'
import { Universe } from './universe.ts'
import type { Guild } from './universe.ts'
import { event } from './world-event.ts'
import type { ClientView, WorldEvent } from './world-event.ts'

export interface WorldOptions {
  readonly seed: number
  readonly guilds: number
  readonly botUserId?: bigint
  /** Members of the largest guild; the first guild has as many as that, if it is 1,200 or less. */
  readonly membersMax?: number
  /** Half of the guilds have fewer. */
  readonly membersMedian?: number
  /** NUL and other hard text in names. */
  readonly nastyText?: boolean
  /** Members above which GUILD_CREATE lists only the bot and who is in voice. */
  readonly largeGuildMembers?: number
  /** The world's time at the beginning, in ms since the Unix epoch. */
  readonly startMs?: number
}

const DEFAULT_BOT_USER_ID = 1_100_000_000_000_000_001n
/** 2026-11-01. The world has its own time, so that a seed replays it exactly. */
const DEFAULT_START_MS = 1_793_491_200_000
/** The first guild is this large: above every large_threshold, and more than one chunk of op 8. */
const FIRST_GUILD_MEMBERS = 1200
const MEMBERS_MAX = 1500
const STEP_MS_MAX = 20
const RECOVERY_CHANCE = 0.01
const TRIES_MAX = 40

export class World {
  readonly #universe: Universe
  readonly #largeGuildMembers: number
  #steps = 0

  constructor(options: WorldOptions) {
    const membersMax = options.membersMax ?? MEMBERS_MAX
    this.#largeGuildMembers = options.largeGuildMembers ?? LARGE_GUILD_MEMBERS
    this.#universe = new Universe({
      seed: options.seed,
      botUserId: options.botUserId ?? DEFAULT_BOT_USER_ID,
      membersMax,
      membersMedian: options.membersMedian ?? 40,
      nastyText: options.nastyText ?? false,
      startMs: options.startMs ?? DEFAULT_START_MS,
    })
    makeBotUser(this.#universe)
    for (let index = 0; index < options.guilds; index++) {
      const first = index === 0 ? Math.min(membersMax, FIRST_GUILD_MEMBERS) : undefined
      const guild = makeGuild(this.#universe, first)
      this.#universe.guilds.set(guild.id, guild)
    }
  }

  get botUser(): JsonObject {
    return this.#universe.user(this.#universe.options.botUserId)
  }

  get application(): JsonObject {
    return { id: this.#universe.applicationId, flags: 565_248 }
  }

  /** Steps taken so far. */
  get steps(): number {
    return this.#steps
  }

  /** The world's time in ms since the Unix epoch. */
  get nowMs(): number {
    return this.#universe.timeline.nowMs
  }

  /** Guilds of a shard, those in an outage among them. */
  guildIds(shardId: number, shardCount: number): bigint[] {
    return [...this.#universe.guilds.keys()].filter(
      (id) => shardOfGuild(id, shardCount) === shardId,
    )
  }

  isUnavailable(guildId: bigint): boolean {
    return this.#universe.outages.has(guildId)
  }

  /** `{id, unavailable: true}` while the guild has an outage. */
  guildCreate(guildId: bigint, view: ClientView): JsonObject {
    return guildCreateFor(this.#universe, this.#guild(guildId), view, this.#largeGuildMembers)
  }

  /** One random change of the world, and the events that Discord would send for it, in its order. */
  step(): WorldEvent[] {
    const { dice, timeline } = this.#universe
    this.#steps++
    timeline.advance(dice.int(0, STEP_MS_MAX))
    if (this.#universe.outages.size > 0 && dice.chance(RECOVERY_CHANCE)) {
      return this.#apply('GUILD_RECOVERY')
    }
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const events = this.#apply(weightedKind(dice.random()))
      if (events.length > 0) return events
    }
    return []
  }

  /** One change of this kind; what it needs to be possible happens before it. */
  mutate(kind: MutationKind): WorldEvent[] {
    this.#steps++
    this.#universe.timeline.advance(1)
    for (let tries = 0; tries < TRIES_MAX * 10; tries++) {
      const events = this.#apply(kind)
      if (events.length > 0) return events
    }
    throw new RangeError(`No guild of this world can have a change of kind ${kind}`)
  }

  /**
   * What a session gets of an event; null: nothing. Call it before the next step, GUILD_CREATE is made from the
   * world as it stands. Equal to `event.d` by reference where every session gets the same.
   */
  render(event: WorldEvent, view: ClientView): JsonObject | null {
    return renderEvent(this.#universe, event, view, this.#largeGuildMembers)
  }

  /** Op 8. No chunk at all for a guild that the bot is not in or that has an outage. */
  requestMembers(request: MembersRequest, view: ClientView): { readonly chunks: JsonObject[] } {
    const guild = this.#universe.guilds.get(request.guildId)
    if (guild === undefined || this.#universe.outages.has(guild.id)) return { chunks: [] }
    return { chunks: memberChunks(this.#universe, guild, request, view) }
  }

  /** Op 4 of the bot: its voice state, and the server to connect to when it is in a channel. */
  updateVoiceState(request: {
    readonly guildId: bigint
    readonly channelId: bigint | null
    readonly selfMute: boolean
    readonly selfDeaf: boolean
  }): WorldEvent[] {
    const guild = this.#universe.guilds.get(request.guildId)
    if (guild === undefined || this.#universe.outages.has(guild.id)) return []
    const bot = this.#universe.options.botUserId
    if (request.channelId === null) return leaveVoice(this.#universe, guild, bot)
    if (!guild.channels.has(request.channelId)) return []
    const session = guild.voiceStates.get(bot)?.['session_id']
    const state = {
      ...makeVoiceState(
        this.#universe,
        request.channelId,
        bot,
        typeof session === 'string' ? session : undefined,
      ),
      self_mute: request.selfMute,
      self_deaf: request.selfDeaf,
    }
    const server = {
      token: this.#universe.dice.hex(16),
      guild_id: guild.id,
      endpoint: `voice-${this.#universe.dice.hex(4)}.example:443`,
    }
    return [setVoice(this.#universe, guild, state), event('VOICE_SERVER_UPDATE', guild.id, server)]
  }

  /** Op 3 of the bot, in every guild that it is in. */
  updatePresence(request: {
    readonly status: string
    readonly activities: readonly unknown[]
  }): WorldEvent[] {
    const bot = this.#universe.options.botUserId
    const presence: JsonObject = {
      status: request.status === 'invisible' ? 'offline' : request.status,
      client_status: request.status === 'invisible' ? {} : { web: request.status },
      activities: request.activities as readonly JsonLike[],
    }
    if (presence['status'] === 'offline') this.#universe.presences.delete(bot)
    else this.#universe.presences.set(bot, presence)
    return presenceEvents(this.#universe, bot, presence)
  }

  /**
   * A message of the bot, or of some person; without a channel in any.
   *
   * @returns its MESSAGE_CREATE, none where nobody can write it.
   */
  writeMessage(request: {
    readonly channelId: bigint | null
    readonly content: string
    readonly isBot: boolean
  }): WorldEvent[] {
    const { channelId, content, isBot } = request
    const { guilds, outages, timeline } = this.#universe
    timeline.advance(1)
    for (const guild of guilds.values()) {
      if (outages.has(guild.id)) continue
      const isHere =
        channelId === null || guild.channels.has(channelId) || guild.threads.has(channelId)
      const events = isHere ? writeMessage(this.#universe, guild, channelId, content, isBot) : []
      if (events.length > 0) return events
    }
    return []
  }

  /** SOUNDBOARD_SOUNDS, the answer to op 31. */
  soundboardSounds(guildId: bigint): JsonObject {
    return soundboardSoundsOf(this.#guild(guildId))
  }

  /** CHANNEL_INFO, the answer to op 43. */
  channelInfo(guildId: bigint): JsonObject {
    return channelInfoOf(this.#guild(guildId))
  }

  /** The whole truth about one guild. */
  guild(guildId: bigint): JsonObject {
    return guildSnapshot(this.#universe, this.#guild(guildId))
  }

  /** The whole truth. */
  snapshot(): JsonObject {
    const guilds = [...this.#universe.guilds.values()]
    return {
      steps: this.#steps,
      now_ms: this.nowMs,
      bot_user: this.botUser,
      guilds: guilds.map((guild) => guildSnapshot(this.#universe, guild)),
    }
  }

  #apply(kind: MutationKind): WorldEvent[] {
    const guild = this.#someGuild()
    if (guild === undefined && kind !== 'GUILD_CREATE' && kind !== 'GUILD_RECOVERY') return []
    // The last guilds stay: a world without guilds has nothing left to change.
    if (kind === 'GUILD_DELETE' && this.#universe.guilds.size < 2) return []
    const subject = guild ?? unavailableGuild(this.#universe)
    return subject === undefined ? [] : MUTATIONS[kind](this.#universe, subject)
  }

  /** An available guild; of two the larger one, for there more happens. */
  #someGuild(): Guild | undefined {
    const { dice, guilds } = this.#universe
    let best: Guild | undefined
    for (let i = 0; i < 4; i++) {
      const guild = guilds.pick(dice)
      if (guild === undefined || this.#universe.outages.has(guild.id)) continue
      if (best === undefined || guild.members.size > best.members.size) best = guild
      if (i > 0) break
    }
    return best
  }

  #guild(guildId: bigint): Guild {
    const guild = this.#universe.guilds.get(guildId)
    if (guild === undefined) throw new RangeError(`The bot is not in guild ${guildId}`)
    return guild
  }
}
