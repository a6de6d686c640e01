/** Draws from one seeded generator, so that a seed replays a whole world. */
import { seededRandom } from '../../src/base/index.ts'
import type { Random } from '../../src/base/index.ts'

const HEX = '0123456789abcdef'

export class Dice {
  readonly random: Random

  constructor(seed: number) {
    this.random = seededRandom(seed)
  }

  /** A whole number from `min` to `max`, both included. */
  int(min: number, max: number): number {
    return min + Math.floor(this.random() * (max - min + 1))
  }

  chance(probability: number): boolean {
    return this.random() < probability
  }

  /** One of a list that is not empty. */
  pick<T>(items: readonly T[]): T {
    const item = items[Math.floor(this.random() * items.length)]
    if (item === undefined) throw new RangeError('Nothing to pick from an empty list')
    return item
  }

  /** Up to `count` different ones of a list, in the list's order of drawing. */
  some<T>(items: readonly T[], count: number): T[] {
    const picked = new Set<T>()
    for (let i = 0; i < count && items.length > 0; i++) picked.add(this.pick(items))
    return [...picked]
  }

  /** Log-normal: the sizes of guilds, messages and the like are. */
  logNormal(median: number, sigma: number): number {
    const u = Math.max(this.random(), Number.EPSILON)
    const normal = Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * this.random())
    return median * Math.exp(sigma * normal)
  }

  /** `length` hexadecimal digits, as in an avatar's hash. */
  hex(length: number): string {
    let text = ''
    for (let i = 0; i < length; i++) text += HEX[Math.floor(this.random() * 16)]
    return text
  }
}
