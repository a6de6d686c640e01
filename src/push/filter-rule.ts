import type { EventFields } from './event-fields.ts'

/**
 * One rule of a filter. All that is given must hold; what is absent always does. An event without the field
 * that is asked for is not let through, but for `isAuthorBot: false`.
 */
export interface FilterRule {
  /** Label in metrics. */
  readonly name: string
  readonly events?: ReadonlySet<string> | undefined
  readonly shards?: ReadonlySet<number> | undefined
  readonly guildIds?: ReadonlySet<bigint> | undefined
  /** Lifecycle classes of GUILD_CREATE and GUILD_DELETE; other events are not concerned. */
  readonly classes?: ReadonlySet<string> | undefined
  readonly channelIds?: ReadonlySet<bigint> | undefined
  readonly types?: ReadonlySet<number> | undefined
  readonly isAuthorBot?: boolean | undefined
  readonly contentPrefixes?: readonly string[] | undefined
}

/** A rule as it is asked for each event: names and shards first, then fields, which must be found. */
export class RuleMatcher {
  readonly rule: FilterRule
  readonly needsFields: boolean
  readonly #contentPrefixes: readonly Buffer[] | undefined

  constructor(rule: FilterRule) {
    const { guildIds, channelIds, types, isAuthorBot, contentPrefixes } = rule
    this.rule = rule
    this.#contentPrefixes = contentPrefixes?.map((prefix) => Buffer.from(prefix))
    this.needsFields = [guildIds, channelIds, types, isAuthorBot, contentPrefixes].some(
      (given) => given !== undefined,
    )
  }

  /** What can be said without looking into the event, but for its name. */
  takesEnvelope(eventName: string, guildClass: string, shardId: number): boolean {
    const { classes, shards } = this.rule
    if (shards !== undefined && !shards.has(shardId)) return false
    if (eventName === 'GUILD_CREATE') {
      return classes === undefined ? guildClass === 'joined' : classes.has(guildClass)
    }
    return classes === undefined || eventName !== 'GUILD_DELETE' || classes.has(guildClass)
  }

  takesFields(fields: EventFields): boolean {
    const { guildIds, channelIds, types, isAuthorBot } = this.rule
    return (
      (guildIds === undefined || has(guildIds, fields.guildId)) &&
      (channelIds === undefined || has(channelIds, fields.channelId)) &&
      (types === undefined || has(types, fields.type)) &&
      (isAuthorBot === undefined || isAuthorBot === fields.isAuthorBot) &&
      (this.#contentPrefixes === undefined || fields.contentStartsWith(this.#contentPrefixes))
    )
  }
}

function has<T>(set: ReadonlySet<T>, value: T | null): boolean {
  return value !== null && set.has(value)
}
