import { type Log, nearest } from '../base/index.ts'
import { EVENT_NAMES, isEventName } from '../discord/index.ts'

export interface EventFilterOptions {
  /** Names to push; undefined = every event, [] = none. */
  readonly events?: readonly string[] | undefined
  /** Lets member chunks pass although no list names them: somebody behind decides. Default false. */
  readonly takesChunks?: boolean | undefined
}

/**
 * Which events a destination wants. READY and RESUMED concern a session, never a backend; member chunks
 * come if a backend requested them, else only to who lists them; a GUILD_CREATE that is no news (the guild was
 * there before the reconnect) is not pushed.
 */
export class EventFilter {
  readonly #events: ReadonlySet<string> | undefined
  readonly #takesChunks: boolean

  constructor(options: EventFilterOptions = {}) {
    this.#events = options.events === undefined ? undefined : new Set(options.events)
    this.#takesChunks = options.takesChunks ?? false
  }

  /** Whether events of this name are wanted at all; fixed for a run. */
  wantsName(eventName: string): boolean {
    if (eventName === 'READY' || eventName === 'RESUMED') return false
    return (
      this.#events === undefined ||
      eventName === 'GUILD_MEMBERS_CHUNK' ||
      this.#events.has(eventName)
    )
  }

  /** Of events with a wanted name: whether this one is. */
  wantsClass(eventName: string, guildClass: string): boolean {
    if (eventName === 'GUILD_CREATE') return guildClass === 'joined'
    if (eventName !== 'GUILD_MEMBERS_CHUNK') return true
    if (this.#takesChunks || guildClass === 'requested') return true
    return this.#events?.has(eventName) ?? false
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
