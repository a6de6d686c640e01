import { nearest } from '../../base/index.ts'
import { EVENT_NAMES, isEventName, isSnowflake } from '../../discord/index.ts'

/** What a subscriber asked for, checked. */
export interface Subscription {
  readonly name: string
  /** undefined = all. */
  readonly events: readonly string[] | undefined
  readonly shards: ReadonlySet<number> | undefined
  readonly guildIds: ReadonlySet<bigint> | undefined
  readonly encoding: 'etf' | 'json'
  /** Listed names that no event of Discord's has, each with its nearest if there is one. */
  readonly unknownEvents: readonly string[]
}

/** gateway.SubscribeRequest as proto-loader hands it over (keepCase, longs and enums as strings). */
export interface SubscribeRequest {
  readonly filter?: {
    readonly events?: readonly string[]
    readonly shards?: readonly number[]
    readonly guild_ids?: readonly string[]
  } | null
  readonly encoding?: string | number
  readonly name?: string
}

const EVENTS_MAX = 1000
const SHARDS_MAX = 100_000
const GUILDS_MAX = 250_000
const NAME_CHARS_MAX = 100

/** @returns the subscription, or the sentence that says what is wrong with the request. */
export function readSubscribeRequest(request: SubscribeRequest): Subscription | string {
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
  const encoding = encodingOf(request.encoding)
  if (encoding === null) {
    return `encoding ${request.encoding} is not known: EVENT_ENCODING_ETF or EVENT_ENCODING_JSON`
  }
  return {
    name: (request.name ?? '').slice(0, NAME_CHARS_MAX),
    events: events.length === 0 ? undefined : events,
    shards: shards.length === 0 ? undefined : new Set(shards),
    guildIds: guildIds.length === 0 ? undefined : new Set(guildIds.map(BigInt)),
    encoding,
    unknownEvents: events.filter((event) => !isEventName(event)).map(withNearest),
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
