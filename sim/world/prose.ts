/**
 * Names and texts as people write them: mostly plain words, often emoji, quotes, combining characters, now
 * and then a control character. With `nasty` also what breaks databases and parsers: NUL, long runs of
 * combining marks, separators that JavaScript once took for line ends, names of JavaScript's own properties.
 */
import type { Dice } from './dice.ts'

const WORDS =
  'moon river pixel ghost lantern maple orbit silent cobalt ember quiet storm velvet harbor tiny rocket fern willow echo noodle crimson glass winter saffron turbo badger comet drift mango static raven polar biscuit meadow copper nova thistle pepper origin salt wave kite onyx tofu prism vapor basil flint hazel'.split(
    ' ',
  )
const FILLER =
  'the a and then we you it was is for with after before maybe really just never always about what who when how this that here there more less good bad new old one two some any today tomorrow'.split(
    ' ',
  )
const SPICE = [
  '🌙',
  '👩‍👩‍👧‍👦',
  '🏳️‍🌈',
  'é',
  'é',
  'Zalgo̷̧',
  '日本語',
  'мир',
  'سلام',
  '"quoted"',
  "it's",
  '\\o/',
  '<b>',
  '%s',
  '\u200b',
  '\t',
  '\u0007',
  '🇩🇪',
  'ﬁ',
  '𝔊𝔬𝔱𝔥',
  '`rm`',
  '{}',
  '$1',
]
const NASTY = [
  '\u0000',
  'a\u0000b',
  '\u2028',
  '\u2029',
  '\ufffd',
  '\uffff',
  '__proto__',
  'constructor',
  'é'.repeat(40),
  '\\u0000',
  '\u202e',
  "'; drop table guilds; --",
  '\u001b[31m',
  '%00',
]

export class Prose {
  readonly #dice: Dice
  readonly #nasty: boolean

  constructor(dice: Dice, nasty: boolean) {
    this.#dice = dice
    this.#nasty = nasty
  }

  /** A display name of one to three words. */
  name(): string {
    const words: string[] = []
    for (let i = this.#dice.int(1, 3); i > 0; i--) words.push(this.#dice.pick(WORDS))
    if (this.#dice.chance(0.25)) words.push(this.#dice.pick(SPICE))
    if (this.#nasty && this.#dice.chance(0.1)) words.push(this.#dice.pick(NASTY))
    return words.join(' ')
  }

  /** A username: lower case letters, digits, dot and underscore. */
  handle(): string {
    return `${this.#dice.pick(WORDS)}${this.#dice.pick(['', '.', '_'])}${this.#dice.pick(WORDS)}${this.#dice.int(0, 9999)}`
  }

  /** A channel's name: words joined by hyphens. */
  slug(): string {
    return `${this.#dice.pick(WORDS)}-${this.#dice.pick(WORDS)}${this.#dice.chance(0.15) ? this.#dice.pick(['🌙', '│chat', 'é']) : ''}`
  }

  /** Running text of about `words` words. */
  text(words: number): string {
    const parts: string[] = []
    for (let i = 0; i < words; i++) {
      parts.push(this.#dice.pick(this.#dice.chance(0.5) ? WORDS : FILLER))
      if (this.#dice.chance(0.04)) parts.push(this.#dice.pick(SPICE))
      if (this.#dice.chance(0.02)) parts.push('\n')
      if (this.#nasty && this.#dice.chance(0.02)) parts.push(this.#dice.pick(NASTY))
    }
    return parts.join(' ')
  }
}
