import { nearest } from '../base/index.ts'
import { INTENT_PRESETS, INTENTS } from '../discord/index.ts'
import { badValue } from './parse.ts'

/**
 * The bits that an -intents value asks for: a preset, names separated by commas, or a number.
 *
 * @throws ConfigError CONFIG_BAD_VALUE
 */
export function parseIntents(value: string): number {
  const option = { flag: 'intents', kind: 'text' } as const
  if (/^[0-9]+$/.test(value)) {
    const number = Number(value)
    if (number > 2 ** 31 - 1) throw badValue(option, value, 'a number below 2^31')
    return number
  }
  if (Object.hasOwn(INTENT_PRESETS, value)) {
    return INTENT_PRESETS[value as keyof typeof INTENT_PRESETS]
  }
  let bits = 0
  for (const part of value.split(',')) {
    const name = part.trim().toUpperCase()
    if (name === '') continue
    if (!Object.hasOwn(INTENTS, name)) {
      const guess = nearest(name, [...Object.keys(INTENTS), ...Object.keys(INTENT_PRESETS)])
      throw badValue(
        option,
        part.trim(),
        `default, all, fast, names of intents or a number${guess === null ? '' : `; did you mean ${guess}`}`,
      )
    }
    bits |= INTENTS[name as keyof typeof INTENTS]
  }
  return bits
}
