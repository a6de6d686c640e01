/**
 * The truth: users and guilds as Discord's own servers hold them, whole and seen by nobody in particular.
 * What a session may see of it is decided in guild-create.ts and render.ts.
 */
import { Dice } from './dice.ts'
import type { JsonObject } from './json.ts'
import { Pool } from './pool.ts'
import { Prose } from './prose.ts'
import { Timeline } from './timeline.ts'

/** A guild member without its `user`, which is kept once for all guilds. */
export interface MemberTruth extends JsonObject {
  readonly roles: readonly bigint[]
  readonly nick: string | null
}

export interface VoiceTruth extends JsonObject {
  readonly channel_id: bigint
  readonly user_id: bigint
}

export interface Guild {
  readonly id: bigint
  /** The guild object without its children, counts and what depends on the reader. */
  base: JsonObject
  readonly joinedAtMs: number
  /** Without guild_id, as in GUILD_CREATE. */
  readonly channels: Pool<JsonObject>
  /** Channels that the bot may not view: it learns nothing of their threads, messages and voice states. */
  readonly hiddenChannels: Set<bigint>
  /** Active threads, with guild_id. */
  readonly threads: Pool<JsonObject>
  readonly archivedThreads: Pool<JsonObject>
  /** Thread id → user ids. */
  readonly threadMembers: Map<bigint, Set<bigint>>
  readonly roles: Pool<JsonObject>
  readonly emojis: Pool<JsonObject>
  readonly stickers: Pool<JsonObject>
  readonly sounds: Pool<JsonObject>
  readonly stageInstances: Pool<JsonObject>
  readonly scheduledEvents: Pool<JsonObject>
  readonly autoModerationRules: Pool<JsonObject>
  readonly integrations: Pool<JsonObject>
  readonly members: Pool<MemberTruth>
  /** Without guild_id and member. */
  readonly voiceStates: Pool<VoiceTruth>
  /** User id → ban {reason, user}. */
  readonly bans: Pool<JsonObject>
  /** The newest messages, oldest first; what edits, reactions and deletions refer to. */
  messages: readonly JsonObject[]
  readonly voiceStatus: Map<bigint, string>
  readonly voiceStartSeconds: Map<bigint, number>
}

export interface UniverseOptions {
  readonly seed: number
  readonly botUserId: bigint
  readonly membersMax: number
  readonly membersMedian: number
  readonly nastyText: boolean
  readonly startMs: number
}

export class Universe {
  readonly options: UniverseOptions
  readonly dice: Dice
  readonly prose: Prose
  readonly timeline: Timeline
  readonly users = new Pool<JsonObject>()
  /** User id → {status, activities, client_status} of those who are not offline. */
  readonly presences = new Pool<JsonObject>()
  /** User id → guilds that it is a member of. */
  readonly guildsOfUser = new Map<bigint, Set<bigint>>()
  readonly guilds = new Pool<Guild>()
  /** Guilds that have an outage, the longest first. */
  readonly outages = new Set<bigint>()
  /** Guilds that the bot was removed from and may join again. */
  readonly leftGuilds = new Pool<Guild>()
  readonly applicationId: bigint
  readonly entitlements = new Pool<JsonObject>()
  readonly subscriptions = new Pool<JsonObject>()

  constructor(options: UniverseOptions) {
    this.options = options
    this.dice = new Dice(options.seed)
    this.prose = new Prose(this.dice, options.nastyText)
    this.timeline = new Timeline(this.dice, options.startMs)
    this.applicationId = options.botUserId
  }

  user(userId: bigint): JsonObject {
    const user = this.users.get(userId)
    if (user === undefined) throw new RangeError(`The world has no user ${userId}`)
    return user
  }

  addMember(guild: Guild, userId: bigint, member: MemberTruth): void {
    guild.members.set(userId, member)
    const guilds = this.guildsOfUser.get(userId)
    if (guilds === undefined) this.guildsOfUser.set(userId, new Set([guild.id]))
    else guilds.add(guild.id)
  }

  removeMember(guild: Guild, userId: bigint): void {
    guild.members.delete(userId)
    guild.voiceStates.delete(userId)
    for (const members of guild.threadMembers.values()) members.delete(userId)
    this.guildsOfUser.get(userId)?.delete(guild.id)
  }

  /** The member object as Discord sends it: with its user. */
  member(guild: Guild, userId: bigint): JsonObject {
    const member = guild.members.get(userId)
    if (member === undefined) throw new RangeError(`Guild ${guild.id} has no member ${userId}`)
    return { user: this.user(userId), ...member }
  }
}
