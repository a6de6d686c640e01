/**
 * A map by snowflake from which a random entry is drawn in constant time. Iterates in insertion order.
 *
 *   #keys   | 71 | 85 | 12 |      a deletion moves the last key into the hole
 *   #slots  71 → {0, value}  85 → {1, value}  12 → {2, value}
 */
import type { Dice } from './dice.ts'

interface Slot<V> {
  index: number
  value: V
}

export class Pool<V> {
  readonly #keys: bigint[] = []
  readonly #slots = new Map<bigint, Slot<V>>()

  get size(): number {
    return this.#keys.length
  }

  has(key: bigint): boolean {
    return this.#slots.has(key)
  }

  get(key: bigint): V | undefined {
    return this.#slots.get(key)?.value
  }

  set(key: bigint, value: V): void {
    const slot = this.#slots.get(key)
    if (slot !== undefined) {
      slot.value = value
      return
    }
    this.#slots.set(key, { index: this.#keys.length, value })
    this.#keys.push(key)
  }

  delete(key: bigint): boolean {
    const slot = this.#slots.get(key)
    if (slot === undefined) return false
    const last = this.#keys.pop()!
    if (last !== key) {
      this.#keys[slot.index] = last
      this.#slots.get(last)!.index = slot.index
    }
    return this.#slots.delete(key)
  }

  clear(): void {
    this.#keys.length = 0
    this.#slots.clear()
  }

  /** A random key, or undefined when there is none. */
  pickKey(dice: Dice): bigint | undefined {
    return this.#keys.length === 0 ? undefined : dice.pick(this.#keys)
  }

  /** A random value, or undefined when there is none. */
  pick(dice: Dice): V | undefined {
    const key = this.pickKey(dice)
    return key === undefined ? undefined : this.#slots.get(key)?.value
  }

  *keys(): Generator<bigint> {
    yield* this.#slots.keys()
  }

  *values(): Generator<V> {
    for (const slot of this.#slots.values()) yield slot.value
  }

  *entries(): Generator<[bigint, V]> {
    for (const [key, slot] of this.#slots) yield [key, slot.value]
  }

  filter(wanted: (value: V) => boolean): V[] {
    const found: V[] = []
    for (const slot of this.#slots.values()) if (wanted(slot.value)) found.push(slot.value)
    return found
  }
}
