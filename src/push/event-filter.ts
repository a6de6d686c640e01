import { type Counter, type Counters, type Log, nearest } from '../base/index.ts'
import { EVENT_NAMES, isEventName } from '../discord/index.ts'
import { EventFields } from './event-fields.ts'
import { type FilterRule, RuleMatcher } from './filter-rule.ts'
import type { PushEvent } from './ports.ts'

/** More names than a destination admits: what is known of them is forgotten. */
const NAMES_MAX = 2048
/** Label of what no rule let through. */
const NO_RULE = 'none'

export interface EventFilterOptions {
  /** Names to push; undefined = every event, [] = none. */
  readonly events?: readonly string[] | undefined
  /** What any of these lets through; undefined = everything, but for GUILD_CREATEs that are no joins. */
  readonly rules?: readonly FilterRule[] | undefined
  /** Somebody behind decides on member chunks and on the classes of GUILD_CREATE. Default false. */
  readonly isDecidedBehind?: boolean | undefined
  /** What is counted for each rule. */
  readonly destination: string
  readonly counters: Counters
}

/** What of a filter may change while the program runs. */
export type Wanted = Pick<EventFilterOptions, 'events' | 'rules'>

/** What an event's name decides: whether it is wanted, and which rules may let it through. */
interface NameDecision {
  readonly isWanted: boolean
  readonly isListed: boolean
  readonly matchers: readonly Matcher[]
}

interface Matcher {
  readonly rule: RuleMatcher
  readonly passed: Counter
}

/**
 * Which events a destination wants. READY and RESUMED concern a session, never a backend; member chunks
 * come if a backend requested them, else only to who lists them; a GUILD_CREATE that is no news (the guild was
 * there before the reconnect) is not pushed, unless a rule asks for its class.
 */
export class EventFilter {
  readonly #options: EventFilterOptions
  readonly #events: ReadonlySet<string> | undefined
  readonly #isDecidedBehind: boolean
  /** Undefined: no rules. */
  readonly #matchers: readonly Matcher[] | undefined
  readonly #left: Counter
  readonly #names = new Map<string, NameDecision>()
  readonly #fields = new EventFields()

  constructor(options: EventFilterOptions) {
    const { events, rules, isDecidedBehind = false, destination, counters } = options
    this.#options = options
    const counterOf = (rule: string): Counter =>
      counters.counter('gateway_push_filter_events_total', { destination, rule })
    this.#events = events === undefined ? undefined : new Set(events)
    this.#isDecidedBehind = isDecidedBehind
    this.#matchers = rules?.map((rule) => ({
      rule: new RuleMatcher(rule),
      passed: counterOf(rule.name),
    }))
    // Registered only where there are rules: a series that stays at zero says nothing.
    this.#left = rules === undefined ? { value: 0 } : counterOf(NO_RULE)
  }

  /** The same for other events. */
  with({ events, rules }: Wanted): EventFilter {
    return new EventFilter({ ...this.#options, events, rules })
  }

  wants(event: PushEvent): boolean {
    const { eventName, guildClass } = event
    const decision = this.#names.get(eventName) ?? this.#decide(eventName)
    if (!decision.isWanted) return false
    if (eventName === 'GUILD_MEMBERS_CHUNK') {
      if (this.#isDecidedBehind || guildClass === 'requested') return true
      if (!decision.isListed) return false
    }
    if (this.#matchers === undefined) {
      return eventName !== 'GUILD_CREATE' || guildClass === 'joined' || this.#isDecidedBehind
    }
    if (this.#isTakenByRule(event, decision.matchers)) return true
    this.#left.value++
    return false
  }

  #isTakenByRule(event: PushEvent, matchers: readonly Matcher[]): boolean {
    const { eventName, guildClass, shardId, bytes, start, end } = event
    let isRead = false
    for (const { rule, passed } of matchers) {
      if (!rule.takesEnvelope(eventName, guildClass, shardId)) continue
      if (rule.needsFields) {
        if (!isRead) this.#fields.read(eventName, bytes, start, end)
        isRead = true
        if (!rule.takesFields(this.#fields)) continue
      }
      passed.value++
      return true
    }
    return false
  }

  #decide(eventName: string): NameDecision {
    const isSession = eventName === 'READY' || eventName === 'RESUMED'
    const isListed = this.#events?.has(eventName) ?? false
    const matchers = (this.#matchers ?? []).filter(
      ({ rule }) => rule.rule.events?.has(eventName) ?? true,
    )
    const decision = {
      isWanted:
        !isSession &&
        (this.#events === undefined || isListed || eventName === 'GUILD_MEMBERS_CHUNK'),
      isListed: isListed || matchers.some(({ rule }) => rule.rule.events?.has(eventName)),
      matchers,
    }
    if (this.#names.size === NAMES_MAX) this.#names.clear()
    this.#names.set(eventName, decision)
    return decision
  }
}

/** Says which listed names no event of Discord's has; they are accepted, Discord adds events at any time. */
export function warnOfUnknownEvents(
  events: readonly string[],
  log: Log,
  fields: Readonly<Record<string, unknown>>,
): void {
  for (const event of events) {
    if (isEventName(event)) continue
    const suggestion = nearest(event, EVENT_NAMES)
    log.warn('unknown event name in the list of events to push', {
      ...fields,
      event,
      ...(suggestion === null ? {} : { didYouMean: suggestion }),
    })
  }
}
