/** The `filter` of a destination: rules, of which one must let an event through. */
import type { Node } from 'yaml'
import { nearest } from '../base/index.ts'
import { EVENT_NAMES, isEventName } from '../discord/index.ts'
import type { FilterRuleConfig } from './destination-config.ts'
import { ConfigError } from './errors.ts'
import type { YamlReader } from './yaml-reader.ts'

const RULES_MAX = 32
const ITEMS_MAX = 250_000
const PREFIXES_MAX = 100
const NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$/
/** What no rule lets through is counted under this name. */
const RESERVED_NAME = 'none'
const KEYS = [
  'name',
  'events',
  'shards',
  'guilds',
  'classes',
  'channels',
  'types',
  'author-bot',
  'content-prefix',
]
/** docs/architecture.md, guild lifecycle. */
const CLASSES = ['joined', 'joining', 'available', 'backfill', 'unavailable', 'left'] as const

/** @throws ConfigError CONFIG_DESTINATIONS_FILE, CONFIG_UNKNOWN_KEY, CONFIG_UNKNOWN_EVENT */
export function readFilterRules(yaml: YamlReader, list: Node): FilterRuleConfig[] {
  const items = yaml.list(list, 'rules for `filter`')
  if (items.length === 0 || items.length > RULES_MAX) {
    throw yaml.bad(list, `expected 1 to ${RULES_MAX} rules`)
  }
  const names = new Set<string>()
  return items.map((item, index) => {
    const rule = readRule(yaml, item, String(index + 1))
    if (names.has(rule.name)) throw yaml.bad(item, `expected rules with different names`)
    names.add(rule.name)
    return rule
  })
}

function readRule(yaml: YamlReader, item: Node | null, number: string): FilterRuleConfig {
  const map = yaml.map(item, 'each rule')
  const fields = yaml.fields(map, KEYS)
  if (fields.size === 0) throw yaml.bad(map, `expected at least one of ${KEYS.join(', ')}`)
  const set = <T>(key: string, read: (node: Node | null) => T): ReadonlySet<T> | undefined => {
    const node = fields.get(key)
    return node === undefined ? undefined : new Set(items(yaml, node, key, ITEMS_MAX).map(read))
  }
  const given = <K extends keyof FilterRuleConfig>(
    key: K,
    value: FilterRuleConfig[K] | undefined,
  ): Pick<FilterRuleConfig, K> | object => (value === undefined ? {} : { [key]: value })
  const events = fields.get('events')
  const bot = fields.get('author-bot')
  const prefix = fields.get('content-prefix')
  return {
    name: nameOf(yaml, fields.get('name'), number),
    ...given('events', events === undefined ? undefined : readEventNames(yaml, events)),
    ...given(
      'shards',
      set('shards', (node) => yaml.integer(node, 'shards', 0, 1_000_000)),
    ),
    ...given(
      'guildIds',
      set('guilds', (node) => yaml.id(node, 'guilds')),
    ),
    ...given(
      'classes',
      set<string>('classes', (node) => yaml.choice(node, 'classes', CLASSES)),
    ),
    ...given(
      'channelIds',
      set('channels', (node) => yaml.id(node, 'channels')),
    ),
    ...given(
      'types',
      set('types', (node) => yaml.integer(node, 'types', 0, 1_000_000)),
    ),
    ...given('isAuthorBot', bot === undefined ? undefined : yaml.boolean(bot, 'author-bot')),
    ...given('contentPrefixes', prefix === undefined ? undefined : readPrefixes(yaml, prefix)),
  }
}

/** @throws ConfigError CONFIG_UNKNOWN_EVENT */
export function readEventNames(yaml: YamlReader, list: Node): ReadonlySet<string> {
  const names = new Set<string>()
  for (const item of yaml.list(list, 'event names')) {
    const name = yaml.text(item, 'events').trim().toUpperCase()
    if (!isEventName(name)) {
      const guess = nearest(name, EVENT_NAMES)
      throw new ConfigError(
        'CONFIG_UNKNOWN_EVENT',
        `${yaml.where(item)}: ${JSON.stringify(name)} is not an event of Discord's${guess === null ? '' : `; did you mean ${guess}`}.`,
        { file: yaml.path, event: name },
      )
    }
    names.add(name)
  }
  return names
}

function nameOf(yaml: YamlReader, node: Node | undefined, number: string): string {
  if (node === undefined) return number
  const name = yaml.text(node, 'name')
  if (NAME_PATTERN.test(name) && name !== RESERVED_NAME) return name
  throw yaml.bad(
    node,
    `expected a \`name\` of letters, digits and . _ : -, other than ${RESERVED_NAME}`,
  )
}

function items(
  yaml: YamlReader,
  node: Node,
  key: string,
  itemsMax: number,
): readonly (Node | null)[] {
  const list = yaml.list(node, `\`${key}\``)
  if (list.length > 0 && list.length <= itemsMax) return list
  throw yaml.bad(node, `expected 1 to ${itemsMax} values for \`${key}\``)
}

/** One text, or a list of texts. */
function readPrefixes(yaml: YamlReader, node: Node): string[] {
  if (!yaml.isList(node)) return [yaml.text(node, 'content-prefix')]
  return items(yaml, node, 'content-prefix', PREFIXES_MAX).map((item) =>
    yaml.text(item, 'content-prefix'),
  )
}
