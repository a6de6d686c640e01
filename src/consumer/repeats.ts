/**
 * The events that were taken last, so that a repeat is known. Two generations of sets: when the younger is
 * full the older is forgotten, so that between half and all of `eventsMax` are remembered.
 */
export class Repeats {
  readonly #half: number
  #younger = new Set<string>()
  #older = new Set<string>()

  constructor(eventsMax: number) {
    this.#half = Math.ceil(eventsMax / 2)
  }

  /** Remembers the event. @returns whether it was taken before. */
  isRepeat(id: string): boolean {
    if (this.#younger.has(id) || this.#older.has(id)) return true
    if (this.#younger.size >= this.#half) {
      this.#older = this.#younger
      this.#younger = new Set()
    }
    this.#younger.add(id)
    return false
  }

  /** The event was not handled after all: when it comes again it is no repeat. */
  forget(id: string): void {
    this.#younger.delete(id)
    this.#older.delete(id)
  }
}
