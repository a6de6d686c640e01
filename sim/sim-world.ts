/**
 * The world as the server needs it. sim/world's World has this shape; tests give smaller ones.
 */
import type { WireMap, WireValue } from './wire/value.ts'

export interface WorldEvent {
  readonly t: string
  /** Null goes to shard 0: direct messages, entitlements, subscriptions. */
  readonly guildId: bigint | null
  readonly d: WireMap
  /** Any of these bits makes it come, 0 = always; without it the table in src/discord decides. */
  readonly intents?: number
}

export interface ClientView {
  readonly intents: number
  readonly largeThreshold: number
  readonly botUserId: bigint
}

export interface MembersRequest {
  readonly guildId: bigint
  readonly query?: string
  readonly limit?: number
  readonly userIds?: readonly bigint[]
  readonly presences?: boolean
  readonly nonce?: string
}

export interface VoiceRequest {
  readonly guildId: bigint
  readonly channelId: bigint | null
  readonly selfMute: boolean
  readonly selfDeaf: boolean
}

export interface SimWorld {
  readonly botUser: WireMap
  readonly application: WireMap
  guildIds(shardId: number, shardCount: number): bigint[]
  /** GUILD_CREATE's `d` as this session may see it. */
  guildCreate(guildId: bigint, view: ClientView): WireMap
  /** One change of the world, and what Discord would say of it. */
  step(): WorldEvent[]
  /** `d` as this session sees it; null when it gets nothing. `event.d` itself where all see the same. */
  render(event: WorldEvent, view: ClientView): WireMap | null
  /** Op 8: GUILD_MEMBERS_CHUNK events. */
  requestMembers(request: MembersRequest, view: ClientView): { readonly chunks: WireMap[] }
  /** Op 3. */
  updatePresence(request: {
    readonly status: string
    readonly activities: readonly WireValue[]
  }): WorldEvent[]
  /** Op 4: the bot joins, moves or leaves (null) voice. */
  updateVoiceState(request: VoiceRequest): WorldEvent[]
  /** MESSAGE_CREATE of a message of the bot or of a person; none when nobody can write there. */
  writeMessage(request: {
    readonly channelId: bigint | null
    readonly content: string
    readonly isBot: boolean
  }): WorldEvent[]
  /** Op 31: SOUNDBOARD_SOUNDS of a guild that the bot is in. */
  soundboardSounds(guildId: bigint): WireMap
  /** Op 43: CHANNEL_INFO of a guild that the bot is in, with every field. */
  channelInfo(guildId: bigint): WireMap
  /** Everything, for the control endpoint. */
  snapshot(): WireMap
}
