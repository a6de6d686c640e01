import { nearest } from '../base/index.ts'
import { STATE_KIND_NAMES, type StateKind } from '../discord/index.ts'
import { badValue } from './parse.ts'

/**
 * The kinds of state that a -cache value asks for: `default` (all), `none`, or names separated by commas. With any kind
 * the guild's own object is kept, which says what its lists are worth.
 *
 * @throws ConfigError CONFIG_BAD_VALUE
 */
export function parseCacheKinds(value: string): readonly StateKind[] {
  if (value === 'default') return STATE_KIND_NAMES
  if (value === 'none') return []
  const asked = new Set<string>(['guilds'])
  for (const part of value.split(',')) {
    const name = part.trim().toLowerCase()
    if (name === '') continue
    if (!(STATE_KIND_NAMES as readonly string[]).includes(name)) {
      const guess = nearest(name, [...STATE_KIND_NAMES, 'default', 'none'])
      throw badValue(
        { flag: 'cache', kind: 'text' },
        part.trim(),
        `default, none, or names of ${STATE_KIND_NAMES.join(', ')}${guess === null ? '' : `; did you mean ${guess}`}`,
      )
    }
    asked.add(name)
  }
  return STATE_KIND_NAMES.filter((kind) => asked.has(kind))
}
