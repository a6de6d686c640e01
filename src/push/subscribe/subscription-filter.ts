import type { EventFields } from '../event-fields.ts'
import { RuleMatcher } from '../filter-rule.ts'
import type { FilterRule } from '../filter-rule.ts'

const UNDECIDED = 0
const WANTED = 1
const UNWANTED = 2

/** What a subscription wants, asked first before an event is queued, then before it is written. */
export class SubscriptionFilter {
  readonly needsFields: boolean
  readonly #rule: RuleMatcher
  readonly #events: ReadonlySet<string> | undefined
  /** By number of the event's name. */
  readonly #wants: number[] = []

  constructor(rule: FilterRule) {
    this.#rule = new RuleMatcher(rule)
    this.#events = rule.events
    this.needsFields = this.#rule.needsFields
  }

  /** Whether an event of this name, class and shard may be for it; fields are looked at later. */
  takesEnvelope(name: number, eventName: string, guildClass: string, shardId: number): boolean {
    let decision = this.#wants[name] ?? UNDECIDED
    if (decision === UNDECIDED) {
      // Member chunks are for who lists them: whose request they answer is not known here.
      const isWanted = this.#events?.has(eventName) ?? eventName !== 'GUILD_MEMBERS_CHUNK'
      decision = isWanted ? WANTED : UNWANTED
      this.#wants[name] = decision
    }
    return decision === WANTED && this.#rule.takesEnvelope(eventName, guildClass, shardId)
  }

  takesFields(fields: EventFields): boolean {
    return this.#rule.takesFields(fields)
  }
}
