/**
 * A bounded first-in-first-out queue over one preallocated array.
 *
 *   items  | c | d | · | · | a | b |      headIndex = 4, size = 4
 *                ^tail       ^head        (tail = (head + size) mod capacity)
 */
export class Ring<T> {
  readonly capacity: number
  readonly #items: (T | undefined)[]
  #headIndex = 0
  #size = 0

  constructor(capacity: number) {
    this.capacity = capacity
    this.#items = new Array<T | undefined>(capacity).fill(undefined)
  }

  get size(): number {
    return this.#size
  }

  /** @returns false, and changes nothing, when the ring is full. */
  push(item: T): boolean {
    if (this.#size === this.capacity) return false
    this.#items[(this.#headIndex + this.#size) % this.capacity] = item
    this.#size++
    return true
  }

  peek(): T | undefined {
    return this.#size === 0 ? undefined : this.#items[this.#headIndex]
  }

  shift(): T | undefined {
    if (this.#size === 0) return undefined
    const item = this.#items[this.#headIndex]
    this.#items[this.#headIndex] = undefined
    this.#headIndex = (this.#headIndex + 1) % this.capacity
    this.#size--
    return item
  }
}
