import { nearest } from '../../base/index.ts'
import type { FilterRule } from '../filter-rule.ts'
import { EVENT_NAMES, isEventName, isSnowflake } from '../../discord/index.ts'

/** What becomes of a subscription that is behind by half of the queue. */
export type WhenSlow = 'cut-off' | 'drop-oldest' | 'block'

/** What a subscriber asked for, checked. */
export interface Subscription {
  readonly name: string
  readonly filter: FilterRule
  readonly encoding: 'etf' | 'json'
  /** Of Consume; null for Subscribe. */
  readonly durable: DurableOptions | null
  /** Listed names that no event of Discord's has, each with its nearest if there is one. */
  readonly unknownEvents: readonly string[]
}

export interface DurableOptions {
  readonly name: string
  readonly whenSlow: WhenSlow
  readonly unacknowledgedMax: number
  readonly acknowledgeMs: number
  readonly keepMs: number
}

/** gateway.SubscribeRequest as proto-loader hands it over (keepCase, longs and enums as strings). */
export interface SubscribeRequest {
  readonly filter?: {
    readonly events?: readonly string[]
    readonly shards?: readonly number[]
    readonly guild_ids?: readonly string[]
    readonly classes?: readonly string[]
    readonly channel_ids?: readonly string[]
    readonly types?: readonly number[]
    readonly author_bot?: boolean
    /** `author_bot`, if it was given: a proto3 optional. */
    readonly _author_bot?: string
    readonly content_prefixes?: readonly string[]
  } | null
  readonly encoding?: string | number
  readonly name?: string
  readonly subscription?: string
  readonly when_slow?: string | number
  readonly unacknowledged_max?: number
  readonly acknowledge_seconds?: number
  readonly keep_seconds?: number
}

const SLOW_POLICIES: ReadonlyMap<string | number, WhenSlow> = new Map<string | number, WhenSlow>([
  [0, 'cut-off'],
  ['SLOW_POLICY_CUT_OFF', 'cut-off'],
  [1, 'drop-oldest'],
  ['SLOW_POLICY_DROP_OLDEST', 'drop-oldest'],
  [2, 'block'],
  ['SLOW_POLICY_BLOCK', 'block'],
])
const UNACKNOWLEDGED = { default: 1000, max: 100_000 }
const ACKNOWLEDGE_SECONDS = { default: 30, max: 3600 }
const KEEP_SECONDS = { default: 300, max: 86_400 }
const PREFIXES_MAX = 100
const SUBSCRIPTION_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$/
const EVENTS_MAX = 1000
const SHARDS_MAX = 100_000
const GUILDS_MAX = 250_000
const NAME_CHARS_MAX = 100

/** @returns the subscription, or the sentence that says what is wrong with the request. */
export function readSubscribeRequest(
  request: SubscribeRequest,
  isDurable: boolean,
): Subscription | string {
  const events = request.filter?.events ?? []
  const shards = request.filter?.shards ?? []
  const guildIds = request.filter?.guild_ids ?? []
  if (events.length > EVENTS_MAX) return `filter.events has more than ${EVENTS_MAX} names`
  if (shards.length > SHARDS_MAX) return `filter.shards has more than ${SHARDS_MAX} ids`
  if (guildIds.length > GUILDS_MAX) return `filter.guild_ids has more than ${GUILDS_MAX} ids`
  const badEvent = events.find((event) => !/^[\x21-\x7e]{1,100}$/.test(event))
  if (badEvent !== undefined) {
    return 'filter.events holds a text that is no event name: write names such as MESSAGE_CREATE'
  }
  const badShard = shards.find((shard) => shard < 0)
  if (badShard !== undefined) return `filter.shards: ${badShard} is no shard id`
  const badGuild = guildIds.find((id) => !isSnowflake(id))
  if (badGuild !== undefined) return `filter.guild_ids: ${badGuild} is no guild id`
  const channelIds = request.filter?.channel_ids ?? []
  const prefixes = request.filter?.content_prefixes ?? []
  if (channelIds.length > GUILDS_MAX) return `filter.channel_ids has more than ${GUILDS_MAX} ids`
  const badChannel = channelIds.find((id) => !isSnowflake(id))
  if (badChannel !== undefined) return `filter.channel_ids: ${badChannel} is no channel id`
  if (prefixes.length > PREFIXES_MAX || prefixes.includes('')) {
    return `filter.content_prefixes takes at most ${PREFIXES_MAX} texts, none of them empty`
  }
  const durable = isDurable ? readDurable(request) : null
  if (typeof durable === 'string') return durable
  const encoding = encodingOf(request.encoding)
  if (encoding === null) {
    return `encoding ${request.encoding} is not known: EVENT_ENCODING_ETF or EVENT_ENCODING_JSON`
  }
  return {
    name: (request.name ?? '').slice(0, NAME_CHARS_MAX),
    filter: {
      name: '',
      events: setOf(events),
      shards: setOf(shards),
      guildIds: setOf(guildIds.map(BigInt)),
      classes: setOf(request.filter?.classes ?? []),
      channelIds: setOf(channelIds.map(BigInt)),
      types: setOf(request.filter?.types ?? []),
      isAuthorBot:
        request.filter?._author_bot === undefined ? undefined : request.filter.author_bot,
      contentPrefixes: prefixes.length === 0 ? undefined : prefixes,
    },
    encoding,
    durable,
    unknownEvents: events.filter((event) => !isEventName(event)).map(withNearest),
  }
}

/** An empty list means that anything will do. */
function setOf<T>(values: readonly T[]): ReadonlySet<T> | undefined {
  return values.length === 0 ? undefined : new Set(values)
}

function readDurable(request: SubscribeRequest): DurableOptions | string {
  const name = request.subscription ?? ''
  if (!SUBSCRIPTION_PATTERN.test(name)) {
    return 'subscription: a name of letters, digits and . _ : - is needed, at most 64 of them'
  }
  const whenSlow = SLOW_POLICIES.get(request.when_slow ?? 0)
  if (whenSlow === undefined) return `when_slow ${request.when_slow} is not known`
  const bounded = (value: number | undefined, range: { default: number; max: number }): number =>
    Math.min(value === undefined || value === 0 ? range.default : value, range.max)
  return {
    name,
    whenSlow,
    unacknowledgedMax: bounded(request.unacknowledged_max, UNACKNOWLEDGED),
    acknowledgeMs: bounded(request.acknowledge_seconds, ACKNOWLEDGE_SECONDS) * 1000,
    keepMs: bounded(request.keep_seconds, KEEP_SECONDS) * 1000,
  }
}

function encodingOf(encoding: string | number | undefined): 'etf' | 'json' | null {
  if (encoding === undefined || encoding === 0 || encoding === 'EVENT_ENCODING_ETF') return 'etf'
  return encoding === 1 || encoding === 'EVENT_ENCODING_JSON' ? 'json' : null
}

function withNearest(event: string): string {
  const suggestion = nearest(event, EVENT_NAMES)
  return suggestion === null ? event : `${event} (did you mean ${suggestion}?)`
}
