/**
 * The names that a destination has met, as small numbers. Names come from the wire: new events of
 * Discord's pass, but neither a name of a megabyte nor a million of names becomes keys of a Redis.
 */
const NAME_BYTES_MAX = 100
const NAMES_MAX = 1024
/** What an event name looks like, with room for what Discord may invent: printable, without spaces. */
const NAME_PATTERN = /^[\x21-\x7e]+$/

/** Wanted (no list of names says otherwise), but not a name. */
export const BAD_NAME = -1
/** Wanted, but one name too many. */
export const TOO_MANY_NAMES = -2

export class EventNames {
  readonly #numbers = new Map<string, number>()
  readonly names: string[] = []

  /** @returns the number of a wanted event's name, or why there is none (negative). */
  admit(eventName: string): number {
    return this.#numbers.get(eventName) ?? this.#meet(eventName)
  }

  #meet(eventName: string): number {
    if (eventName.length > NAME_BYTES_MAX || !NAME_PATTERN.test(eventName)) return BAD_NAME
    if (this.names.length === NAMES_MAX) return TOO_MANY_NAMES
    const number = this.names.push(eventName) - 1
    this.#numbers.set(eventName, number)
    return number
  }
}
